"""What trainings and fits of predictive families are made of, against SciPy, quadrature and numbers of 40 digits."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize, special, stats

from degmm.calibration import EMOS, FAMILIES, Forecast
from degmm.calibration.families import narrow_gamma
from degmm.calibration.families.gamma_quantile import gamma_quantile
from degmm.calibration.families.incomplete_gamma import gamma_cdf, log_gamma_cdf
from degmm.calibration.families.normal_tail import mills, survival
from degmm.calibration.linear import Cases, narrowed, objective, starts, widened
from degmm.calibration.minimisation import Result, minimise
from degmm.calibration.training_score import training_crps
from degmm.precision import precision_of

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

ALL = ["truncated_normal", "censored_logistic", pytest.param("censored_gamma", marks=pytest.mark.slow)]
"""The families of these tests; that of the longest programs is left to the slow ones"""


def points(rng, n):
    """Return shapes of six decades, and values about their distributions and in the lower tails."""
    a = 10 ** rng.uniform(-3, 3, n)
    x = a * np.exp(rng.normal(0, 2, n) / np.sqrt(np.maximum(a, 0.3)))
    return a, np.where(rng.uniform(size=n) < 0.1, a * 10 ** rng.uniform(-4, 0, n), np.maximum(x, 1e-30))


EXACT = [
    (0.001, 1e-06, -0.01323911795868165, -0.01306580970832132),
    (0.02, 3.0, -0.0002710064227038799, -0.0002810755940167696),
    (0.3, 0.05, -0.80198738307518, -0.3842200824377619),
    (0.8, 12.0, -3.161698685535549e-6, -8.919036821914953e-6),
    (3.0, 0.1, -8.774326206041762, -0.001654024702222489),
    (7.0, 9.5, -0.1802627707101467, -0.6357371735042118),
    (25.0, 14.0, -5.294346736219015, -0.07999690325335126),
    (60.0, 95.0, -4.897357971215336e-5, -0.001448821576917403),
    (400.0, 380.0, -1.841680801285664, -4.880371388558774),
    (900.0, 650.0, -45.92955963667094, -3.343521761457768e-18),
]
"""a, x, log P(a, x) and a times the derivative of P by a, by mpmath with 40 digits"""


def test_incomplete_gamma_function_is_exact():
    a, x, log_value, slope = np.array(EXACT).T
    more_a, more_x = points(np.random.default_rng(0), 500)

    def all_of(a, x):
        return gamma_cdf(a, x), log_gamma_cdf(a, x), jax.grad(lambda a: gamma_cdf(a, x).sum())(a)

    with precision_of(np.float64):
        arguments = np.concatenate([a, more_a]), np.concatenate([x, more_x])
        found = jax.jit(all_of, compiler_options=QUICK)(*arguments)
    value, logarithm, by_a = (np.asarray(part) for part in found)
    np.testing.assert_allclose(value, special.gammainc(*arguments), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(logarithm[: len(a)], log_value, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(by_a[: len(a)] * a, slope, rtol=1e-11, atol=1e-12)


def test_incomplete_gamma_function_in_single_precision():
    a, x = (part.astype(np.float32) for part in points(np.random.default_rng(1), 2000))
    both = jax.jit(jax.vmap(jax.value_and_grad(gamma_cdf)), compiler_options=QUICK)
    value, by_a = (np.asarray(part, float) for part in both(a, x))
    a, x = a.astype(float), x.astype(float)
    np.testing.assert_allclose(value, special.gammainc(a, x), atol=1e-4)
    h = 1e-5 * a
    slope = (special.gammainc(a + h, x) - special.gammainc(a - h, x)) / (2 * h)
    np.testing.assert_allclose(by_a * a, slope * a, atol=1e-2)
    np.testing.assert_allclose((by_a * a)[a < 50], (slope * a)[a < 50], atol=2e-4)


def test_gamma_quantiles_are_roots():
    rng = np.random.default_rng(2)
    a, p = (
        10 ** rng.uniform(-2, 3, 300),
        np.concatenate([rng.uniform(0, 1, 280), np.geomspace(1e-12, 0.01, 20)]),
    )
    with precision_of(np.float64):
        x = jax.jit(gamma_quantile, compiler_options=QUICK)(a, p)
    sound = special.gammaincinv(a, p) > 1e-250
    np.testing.assert_allclose(special.gammainc(a, x)[sound], p[sound], rtol=1e-9, atol=1e-13)


def test_gamma_quantiles_at_the_far_ends_are_those_of_scipy():
    """Near 1 what is left is not lost in the rounding of the cdf, and near 0 all is relative."""
    near = np.array([1e-12, 1e-10, 1e-8, 1e-6, 1e-3])
    a, p = np.meshgrid(10 ** np.linspace(-2, 3, 26), np.concatenate([near, [0.3, 0.7], 1 - near]))
    with precision_of(np.float64):
        x = jax.jit(gamma_quantile, compiler_options=QUICK)(a.ravel(), p.ravel())
    wanted = stats.gamma.ppf(p.ravel(), a.ravel())
    sound = wanted > 1e-250
    np.testing.assert_allclose(np.asarray(x)[sound], wanted[sound], rtol=1e-10)


NARROW = [
    (1000.0, 1040.0, 0.8959730884568929, 0.10402691154310705),
    (1000.0, 850.0, 2.970812600711691e-07, 0.99999970291874),
    (1000.0, 1200.0, 0.9999999987118394, 1.2881606086281433e-09),
    (10000.0, 9400.0, 4.64852460812127e-10, 0.9999999995351475),
    (10000.0, 10600.0, 0.9999999980378075, 1.962192482133047e-09),
    (40000.0, 40100.0, 0.6919024970246469, 0.30809750297535315),
]
"""a, x, P(a, x) and 1 − P, from the sum over whole numbers below a with 80 digits"""


def test_narrow_gamma_distributions_are_exact():
    rng = np.random.default_rng(4)
    a = 10 ** rng.uniform(3, 12, 400)
    t = rng.normal(0, 4, 400)
    t = np.where(a > 1e5, np.clip(t, -4, 4), t)  # SciPy's sum for what is lower ends too early
    r = a**-0.5
    a_of, x, lower, upper = np.array(NARROW).T

    def all_of(t, r):
        return (*narrow_gamma.tails(t, r), narrow_gamma.log_density(t, r), *narrow_gamma.log_tails(t, r))

    with precision_of(np.float64):
        function = jax.jit(all_of, compiler_options=QUICK)
        found = [np.asarray(part) for part in function(t, r)]
        exact = [np.asarray(part) for part in jax.vmap(all_of)((x - a_of) * a_of**-0.5, a_of**-0.5)]
        p = np.concatenate(
            [rng.uniform(size=360), np.geomspace(1e-14, 1e-3, 20), 1 - np.geomspace(1e-14, 1e-3, 20)]
        )
        quantile = np.asarray(jax.jit(narrow_gamma.narrow_quantile, compiler_options=QUICK)(r, p))
        back = [np.asarray(part) for part in function(quantile, r)]
    below, above, _, log_density, log_below, log_above = found
    blur = 1e-15 / r * (1 + np.abs(t))  # of x = a + t √a
    plain = stats.gamma(a)
    assert (np.abs(below - plain.cdf(a + t / r)) <= 1e-12 + blur).all()
    assert (np.abs(above - plain.sf(a + t / r)) <= 1e-12 + blur).all()
    few = a < 1e5  # of larger shapes SciPy's is a small difference of large numbers
    expected = plain.logpdf(a + t / r) - np.log(r)
    np.testing.assert_allclose(log_density[few], expected[few], rtol=1e-8, atol=1e-7)
    np.testing.assert_allclose(log_below, np.log(below), atol=1e-12)
    np.testing.assert_allclose(log_above, np.log(above), atol=1e-12)
    np.testing.assert_allclose(exact[0], lower, rtol=1e-13)
    np.testing.assert_allclose(exact[1], upper, rtol=1e-13)
    np.testing.assert_allclose(back[0][p < 0.5], p[p < 0.5], rtol=1e-12)
    np.testing.assert_allclose(back[1][p > 0.5], 1 - p[p > 0.5], rtol=1e-12)


@pytest.mark.parametrize(("dtype", "near"), [(np.float64, 1e-13), (np.float32, 2e-6)])
def test_normal_tails_are_those_of_scipy(dtype, near):
    rng = np.random.default_rng(3)
    z = np.concatenate([np.linspace(0, 60, 500), np.geomspace(60, 1e4, 50)]).astype(dtype)
    u, d = rng.normal(0, 5, 500).astype(dtype), np.abs(rng.normal(0, 3, 500)).astype(dtype)
    with precision_of(dtype):
        ratio = mills(jnp.asarray(z))
        both = jax.jit(jax.vmap(jax.value_and_grad(survival, 1)), compiler_options=QUICK)
        alive, by_u = both(jnp.asarray(d), jnp.asarray(u))
    exact = np.sqrt(np.pi / 2) * special.erfcx(z.astype(float) / np.sqrt(2))
    np.testing.assert_allclose(ratio, exact, rtol=near)
    d, u, h = d.astype(float), u.astype(float), 1e-5

    def of_scipy(u):
        return np.exp(stats.norm.logsf(u + d) - stats.norm.logsf(u))

    np.testing.assert_allclose(alive, of_scipy(u), atol=near)
    np.testing.assert_allclose(by_u, (of_scipy(u + h) - of_scipy(u - h)) / (2 * h), atol=max(near, 1e-8) * 20)


def mixtures(name, rng, n=40, K=3):
    location, scale = rng.gamma(2, 0.6, (n, K)) + 0.05, np.exp(rng.normal(-0.3, 0.5, (n, K)))
    parts = [rng.dirichlet(np.ones(K), n), location, scale]
    if FAMILIES[name].shifted:
        parts.append(np.full((n, K), 0.2))
    return np.maximum(rng.normal(0.7, 1, n), 0), parts


@pytest.mark.parametrize("name", ALL)
def test_score_of_trainings(name):
    y, parts = mixtures(name, np.random.default_rng(4))
    exact = Forecast(*parts, family=name).crps(y)
    family = FAMILIES[name]
    with precision_of(np.float64):
        held = [jnp.asarray(part) for part in parts]

        def totals(*parts):
            values = training_crps(family, y, *(part.T for part in parts))
            return values.sum(), values

        both = jax.value_and_grad(totals, tuple(range(len(held))), has_aux=True)
        value = jax.jit(both, compiler_options=QUICK)
        (_, quick), slopes = value(*held)
        np.testing.assert_allclose(quick, exact, atol=2e-3)
        assert np.abs(quick - exact).mean() < 1e-4
        # the weights move along their simplex, as those of a gate do
        rng = np.random.default_rng(5)
        for j in range(len(held)):
            along = rng.normal(size=parts[j].shape)
            along = along - along.mean(axis=1, keepdims=True) if j == 0 else along * parts[j]
            h = 1e-4
            ends = [[*held[:j], held[j] + sign * h * along, *held[j + 1 :]] for sign in (-1, 1)]
            # the nodes move with the parameters, which the derivative leaves out: as precise as the nodes
            slope = float(value(*ends[1])[0][0] - value(*ends[0])[0][0]) / (2 * h)
            assert float((slopes[j] * along).sum()) == pytest.approx(slope, rel=2e-3, abs=2e-3)


def test_training_score_of_one_component_is_its_own():
    y, (_, location, scale) = mixtures("censored_logistic", np.random.default_rng(6), K=1)
    with precision_of(np.float64):
        found = training_crps(FAMILIES["censored_logistic"], y, np.ones_like(scale.T), location.T, scale.T)
    for i in range(3):
        F = partial(stats.logistic.cdf, loc=location[i, 0], scale=scale[i, 0])
        below = integrate.quad(lambda x, F=F: F(x) ** 2, 0, y[i], epsabs=1e-11)[0]
        above = integrate.quad(lambda x, F=F: (1 - F(x)) ** 2, y[i], y[i] + 60, epsabs=1e-11)[0]
        assert found[i] == pytest.approx(below + above, abs=1e-8)


# --- minima ----------------------------------------------------------------------------------------


def rosenbrock(x, scale):
    return (scale * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def cliff(x, scale):
    return jnp.where(x[0] > 0, x[0] - scale * jnp.log(x[0]) + x[1] ** 2, jnp.nan)


def falling(x, scale):
    return -scale * x.sum()


def test_minima_of_narrow_valleys():
    first = np.array([[-1.2, 1.0, 0.5], [3.0, -2.0, 1.0]])
    found = minimise(rosenbrock, first, np.float64(100.0), 500)
    assert found.result is Result.CONVERGED
    np.testing.assert_allclose(found.parameters, 1, atol=1e-6)
    assert 0 < found.n_iter < 200


def test_minima_beside_what_is_no_number():
    found = minimise(cliff, np.array([[50.0, 3.0], [-1.0, 0.0]]), np.float64(2.0), 100)
    assert found.result is Result.CONVERGED
    np.testing.assert_allclose(found.parameters, [2, 0], atol=1e-6)
    assert minimise(cliff, np.array([[-1.0, 0.0]]), np.float64(2.0), 100).result is Result.NON_FINITE


def test_a_search_without_end_is_told_of():
    assert minimise(falling, np.zeros((1, 2)), np.float64(1.0), 7).result is Result.MAX_ITERATIONS


@pytest.mark.parametrize("name", ALL)
def test_optima_are_those_of_scipy(name):
    rng = np.random.default_rng(7)
    n, family = 300, FAMILIES[name]
    X = rng.normal(size=(n, 2))
    y = np.maximum(0.8 + 0.7 * X[:, 0] + np.exp(-0.5 + 0.3 * X[:, 1]) * rng.normal(size=n), 0)
    columns = np.column_stack([np.ones(n), X])
    cases = Cases(y, columns, columns, np.full(n, 1 / n))
    first = starts(family, cases, 2, rng)
    found = minimise(objective(name, "crps"), widened(first, 3), cases.filled(), 500)
    assert found.result is Result.CONVERGED
    with precision_of(np.float64):
        value = jax.jit(
            jax.value_and_grad(partial(objective(name, "crps"), cases=cases)), compiler_options=QUICK
        )
        peers = [
            optimize.minimize(
                lambda p: tuple(np.asarray(part, float) for part in value(jnp.asarray(p))),
                start,
                jac=True,
                method="BFGS",
                options={"gtol": 1e-9},
            )
            for start in first
        ]
    best = min(peers, key=lambda peer: peer.fun)
    assert found.value == pytest.approx(best.fun, abs=1e-9)
    np.testing.assert_allclose(narrowed(found.parameters, 3), best.x, atol=1e-5)


def test_columns_of_zeros_change_nothing():
    rng = np.random.default_rng(8)
    parameters = rng.normal(size=(2, 7))
    wide = widened(parameters, 3)
    assert wide.shape == (2, 9)
    assert (wide[:, [3, 7]] == 0).all()
    np.testing.assert_array_equal([narrowed(row, 3) for row in wide], parameters)


def test_a_fit_with_context_shares_the_program_of_one_without():
    from degmm.calibration.minimisation import _compiled

    rng = np.random.default_rng(9)
    X = rng.normal(size=(90, 5))
    y = X.mean(axis=1) + rng.normal(size=90)
    EMOS().fit(X, y)
    before = _compiled(objective("normal", "crps")).programs_made
    EMOS().fit(X[:70], y[:70], context=rng.normal(size=(70, 2)))
    assert _compiled(objective("normal", "crps")).programs_made == before
