"""Predictive families and their mixtures, against scoringrules, quadrature and finite differences."""

import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scoringrules as sr
from scipy import integrate, special, stats

from degmm.calibration import FAMILIES, Forecast, find_family
from degmm.precision import precision_of

N = 64
NAMES = list(FAMILIES)
LONG = ("truncated_normal", "censored_gamma")
"""Families whose functions take long to compile"""
PART_SLOW = [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in NAMES]


def parameters_of(name, rng, shape=(N,)):
    location, scale = rng.normal(1, 3, shape), np.exp(rng.normal(0, 0.7, shape))
    if not FAMILIES[name].shifted:
        return location, scale
    location = np.exp(rng.normal(0.5, 0.7, shape))
    return location, location * np.exp(rng.normal(0, 0.7, shape)), np.exp(rng.normal(-1, 1, shape))


def values_of(name, rng, shape=(N,)):
    y = rng.normal(1, 4, shape)
    return np.where(rng.uniform(size=shape) < 0.2, 0, np.abs(y)) if FAMILIES[name].from_zero else y


def reference(name, y, location, scale, shift=None):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        if name == "normal":
            return sr.crps_normal(y, location, scale, backend="numpy")
        if name == "truncated_normal":
            return sr.crps_tnormal(y, location, scale, 0.0, np.inf, backend="numpy")
        if name == "censored_logistic":
            upper = np.maximum(np.maximum(location, y), 0) + 36 * scale  # infinity gives NaN there
            return sr.crps_clogistic(y, location, scale, 0.0, upper, backend="numpy")
        shape = (location / scale) ** 2
        return sr.crps_csg0(y, shape=shape, rate=shape / location, shift=shift, backend="numpy")


def scipy_cdf(name, x, location, scale, shift=None):
    """Return F(x) by SciPy, an independent route."""
    if name == "normal":
        return stats.norm.cdf(x, location, scale)
    if name == "truncated_normal":
        return stats.truncnorm.cdf(x, -location / scale, np.inf, location, scale)
    if name == "censored_logistic":
        return np.where(x < 0, 0, special.expit((x - location) / scale))
    shape = (location / scale) ** 2
    return np.where(x < 0, 0, special.gammainc(shape, np.maximum(x + shift, 0) * shape / location))


def quadrature(cdf, y, low, high, breaks):
    """Return ∫ (F − 1{y ≤ x})² dx, ∫ (1 − F) and ∫ 2 x (1 − F) dx by Gauss–Legendre panels."""
    near = low + np.geomspace(1e-12, 1, 40)  # where a gamma distribution may be steep
    ends = np.unique(np.clip(np.concatenate([[low, high, y], near, breaks]), low, high))
    nodes, masses = np.polynomial.legendre.leggauss(40)
    half = (ends[1:] - ends[:-1])[:, None] / 2
    x, w = ends[:-1, None] + half * (1 + nodes), half * masses
    F = cdf(x)
    return (w * (F - (x >= y)) ** 2).sum(), (w * (1 - F)).sum(), (w * 2 * x * (1 - F)).sum()


QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Functions are compiled once and called once or twice here"""


def in_double(function, *arguments):
    with precision_of(np.float64):
        return np.asarray(jax.jit(function, compiler_options=QUICK)(*map(jnp.asarray, arguments)))


@pytest.mark.parametrize("name", NAMES)
def test_crps_is_that_of_scoringrules(name):
    rng = np.random.default_rng(0)
    y, theta = values_of(name, rng), parameters_of(name, rng)
    expected = reference(name, y, *theta)
    # scoringrules' truncated normal loses digits, and is 0/0, far below 0
    sound = (theta[0] / theta[1] > -2) | (name != "truncated_normal")
    assert sound.mean() > 0.7
    found = in_double(FAMILIES[name].crps, y, *theta)
    np.testing.assert_allclose(found[sound], expected[sound], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", PART_SLOW)
def test_scores_and_moments_are_those_of_quadrature(name):
    rng = np.random.default_rng(1)
    y, theta = values_of(name, rng), parameters_of(name, rng)
    family = FAMILIES[name]
    levels = np.array([1e-16, 1e-12, *np.linspace(0.001, 0.999, 40), 1 - 1e-6, 1 - 1e-10, 1 - 1e-15])
    quantiles = in_double(family.quantile, levels[:, None], *theta)
    crps, mean, std = (
        in_double(function, *arguments)
        for function, arguments in ((family.crps, (y, *theta)), (family.mean, theta), (family.std, theta))
    )
    for i in range(0, N, 4):
        own = [part[i] for part in theta]
        low = 0.0 if family.from_zero else min(quantiles[0, i], y[i])
        high = max(quantiles[-1, i], y[i])
        score, first, second = quadrature(
            lambda x, own=own: scipy_cdf(name, x, *own), y[i], low, high, quantiles[:, i]
        )
        assert crps[i] == pytest.approx(score, abs=1e-8)
        assert mean[i] == pytest.approx(low + first, abs=1e-8)
        assert std[i] == pytest.approx(np.sqrt(low**2 + second - (low + first) ** 2), abs=1e-6)


@pytest.mark.parametrize("name", PART_SLOW)
def test_distribution_functions_agree(name):
    rng = np.random.default_rng(2)
    family, theta = FAMILIES[name], parameters_of(name, rng)
    p = rng.uniform(0.001, 0.999, N)
    y = in_double(family.quantile, p, *theta)
    F = in_double(family.cdf, y, *theta)
    np.testing.assert_allclose(F, scipy_cdf(name, y, *theta), atol=1e-10)
    inside = y > 0 if family.from_zero else np.full(N, True)
    np.testing.assert_allclose(F[inside], p[inside], atol=1e-11)
    assert (F[~inside] >= p[~inside]).all()
    h = 1e-5
    slope = (scipy_cdf(name, y + h, *theta) - scipy_cdf(name, y - h, *theta)) / (2 * h)
    away = inside & (y > 1e-3 if family.from_zero else True)
    log_density = in_double(family.logpdf, y, *theta)
    np.testing.assert_allclose(np.exp(log_density)[away], slope[away], rtol=1e-4, atol=1e-7)
    if name.startswith("censored"):
        at_zero = in_double(family.logpdf, np.zeros(N), *theta)
        np.testing.assert_allclose(np.exp(at_zero), scipy_cdf(name, np.zeros(N), *theta), atol=1e-11)
    if family.from_zero:
        below = -np.ones(N)
        assert (in_double(family.logpdf, below, *theta) == -np.inf).all()
        assert (in_double(family.cdf, below, *theta) == 0).all()
        apart = in_double(family.crps, below, *theta) - in_double(family.crps, 0 * below, *theta)
        np.testing.assert_allclose(apart, 1, rtol=1e-12)


@pytest.mark.parametrize("name", PART_SLOW)
def test_derivatives_are_finite_differences(name):
    rng = np.random.default_rng(3)
    family, theta = FAMILIES[name], parameters_of(name, rng, (24,))
    y, p = values_of(name, rng, (24,)), rng.uniform(0.05, 0.95, 24)
    if family.shifted:  # some so narrow that they are computed in another form
        location, scale, shift = (part[16:] for part in theta)
        scale[:] = location * 10 ** rng.uniform(-3, -1.6, 8)
        y[16:] = np.maximum(location - shift + scale * rng.normal(size=8), 0)
    functions = {
        "crps": lambda *t: family.crps(y, *t),
        "logpdf": lambda *t: family.logpdf(y, *t),
        "quantile": lambda *t: family.quantile(p, *t),
        "std": family.std,
    }
    places = range(len(theta))
    with precision_of(np.float64):
        held = [jnp.asarray(part) for part in theta]
        for what, function in functions.items():
            value = jax.jit(function, compiler_options=QUICK)
            of_sum = jax.grad(lambda *t, f=function: f(*t).sum(), argnums=tuple(places))
            slopes = jax.jit(of_sum, compiler_options=QUICK)(*held)
            for j in places:
                h = 1e-5 * np.minimum(np.abs(theta[j]), theta[1])
                moved = [[part + (k == j) * sign * h for k, part in enumerate(theta)] for sign in (-1, 1)]
                low, high = (np.asarray(value(*map(jnp.asarray, part))) for part in moved)
                expected = (high - low) / (2 * h)
                unit = 1 / theta[1] if what == "logpdf" else 1.0
                np.testing.assert_allclose(
                    slopes[j] / unit, expected / unit, rtol=2e-4, atol=2e-6, err_msg=what
                )


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *(pytest.param(*one.values, np.float64, marks=one.marks) for one in PART_SLOW),
        ("normal", np.float32),
    ],
)
def test_extreme_arguments_give_no_nan(name, dtype):
    family = FAMILIES[name]
    large = 1e8 if dtype == np.float64 else 1e4
    location = [-large, -1e3, -50, -8.0001, -1, 0, 1e-6, 1, 30, large]
    if family.shifted:
        location = [value for value in location if value > 0]
    grids = [[0, 1e-6, 1, large], location, [1 / large, 1e-2, 1, 1e3, large]]
    grids += [[1e-6, 1.0, 100.0]] * family.shifted
    y, *theta = np.array(list(itertools.product(*grids))).astype(dtype).T
    places = tuple(range(len(theta)))
    with precision_of(dtype):
        for what in ("crps", "logpdf", "std"):
            function = getattr(family, what)
            first = () if what == "std" else (jnp.asarray(y),)

            def total(*t, function=function, first=first):
                values = function(*first, *t)
                return jnp.where(jnp.isfinite(values), values, 0).sum(), values

            both = jax.jit(jax.value_and_grad(total, places, has_aux=True), compiler_options=QUICK)
            (_, values), slopes = both(*map(jnp.asarray, theta))
            assert np.isfinite(values).all() or (dtype == np.float32 and not np.isnan(values).any()), what
            assert not any(np.isnan(slope).any() for slope in slopes), what


@pytest.mark.parametrize("name", NAMES)
def test_ends_of_quantiles(name):
    rng = np.random.default_rng(4)
    family, theta = FAMILIES[name], parameters_of(name, rng)
    assert (in_double(family.quantile, np.ones(N), *theta) == np.inf).all()
    least = in_double(family.quantile, np.zeros(N), *theta)
    np.testing.assert_allclose(least, 0 if family.from_zero else -np.inf, atol=1e-10)
    held = [jnp.asarray(part, jnp.float32) for part in theta]
    of_sum = jax.grad(lambda *t: family.quantile(jnp.linspace(0, 1, N), *t)[1:-1].sum())
    slope = jax.jit(of_sum, compiler_options=QUICK)(*held)
    assert not np.isnan(slope).any()


def test_truncated_normal_far_below_zero_is_nearly_exponential():
    location, scale = np.array([-1e3, -1e6]), np.ones(2)
    rate = -location
    family = FAMILIES["truncated_normal"]
    y = 0.7 / rate
    exponential = y + (2 * np.exp(-rate * y) - 1.5) / rate
    np.testing.assert_allclose(in_double(family.crps, y, location, scale), exponential, rtol=1e-5)
    np.testing.assert_allclose(in_double(family.std, location, scale), 1 / rate, rtol=1e-5)
    np.testing.assert_allclose(
        in_double(family.quantile, np.full(2, 0.3), location, scale), -np.log(0.7) / rate, rtol=1e-5
    )


def test_unknown_family_is_named():
    assert find_family("truncated-normal") is FAMILIES["truncated_normal"]
    with pytest.raises(ValueError, match="family: expected one of 'normal'"):
        find_family("gumbel")


# --- mixtures and the forecast -------------------------------------------------------------------


def forecast_of(name, rng, shape):
    weights = rng.dirichlet(np.ones(shape[-1]), shape[:-1])
    return Forecast(weights, *parameters_of(name, rng, shape), family=name)


def parts_of(forecast, i):
    theta = [forecast.locations[i], forecast.scales[i]]
    return forecast.weights[i], theta if forecast.shifts is None else [*theta, forecast.shifts[i]]


def test_crps_of_normal_mixtures_is_grimits():
    rng = np.random.default_rng(5)
    forecast, y = forecast_of("normal", rng, (30, 4)), rng.normal(1, 5, 30)
    found = forecast.crps(y)
    expected = sr.crps_mixnorm(y, forecast.locations, forecast.scales, forecast.weights, backend="numpy")
    np.testing.assert_allclose(found, expected, atol=1e-10)
    for i in range(5):
        w, theta = parts_of(forecast, i)

        def cdf(x, w=w, theta=theta):
            return w @ stats.norm.cdf(x, *theta)

        below = integrate.quad(lambda x: cdf(x) ** 2, y[i] - 80, y[i], epsabs=1e-11, limit=400)[0]
        above = integrate.quad(lambda x: (1 - cdf(x)) ** 2, y[i], y[i] + 80, epsabs=1e-11, limit=400)[0]
        assert found[i] == pytest.approx(below + above, abs=1e-8)


@pytest.mark.parametrize("name", ["normal", "censored_logistic", "censored_gamma"])
def test_mixtures_by_quadrature(name):
    rng = np.random.default_rng(6)
    forecast, y = forecast_of(name, rng, (12, 3)), values_of(name, rng, (12,))
    crps, mean, std = forecast.crps(y), forecast.mean(), forecast.std()
    low_q, high_q = 1e-15, 1 - 1e-15
    for i in range(12):
        w, theta = parts_of(forecast, i)
        levels = np.array([low_q, *np.linspace(0.001, 0.999, 60), 1 - 1e-6, 1 - 1e-10, high_q])
        ends = in_double(FAMILIES[name].quantile, levels[:, None], *theta).ravel()
        low = 0.0 if FAMILIES[name].from_zero else min(ends.min(), y[i])
        score, first, second = quadrature(
            lambda x, w=w, t=theta: (w * scipy_cdf(name, x[..., None], *t)).sum(-1),
            y[i],
            low,
            max(ends.max(), y[i]),
            ends,
        )
        assert crps[i] == pytest.approx(score, abs=1e-8)
        assert mean[i] == pytest.approx(low + first, abs=1e-8)
        assert std[i] == pytest.approx(np.sqrt(low**2 + second - (low + first) ** 2), abs=1e-6)


@pytest.mark.parametrize("name", ["normal", "censored_logistic"])
def test_quantiles_of_mixtures(name):
    rng = np.random.default_rng(7)
    forecast = forecast_of(name, rng, (20, 3))
    q = np.array([0.01, 0.2, 0.5, 0.9, 0.999])
    x = forecast.quantile(q)
    assert x.shape == (20, 5)
    F = forecast.cdf(x)
    at_zero = x == 0
    assert (F[at_zero] >= np.broadcast_to(q, x.shape)[at_zero]).all()
    np.testing.assert_allclose(F[~at_zero], np.broadcast_to(q, x.shape)[~at_zero], atol=1e-9)
    np.testing.assert_allclose(forecast.quantile(0.2), x[:, 1], rtol=1e-9)
    assert (forecast.quantile(1) == np.inf).all()
    h = 1e-5 * np.maximum(x, 0.1)
    away = x > 1e-2 if FAMILIES[name].from_zero else np.full(x.shape, True)
    slope = (forecast.cdf(x + h) - forecast.cdf(x - h)) / (2 * h)
    np.testing.assert_allclose(forecast.pdf(x)[away], slope[away], rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(np.exp(forecast.logpdf(x)), forecast.pdf(x))


def test_equal_components_are_one():
    rng = np.random.default_rng(8)
    for name in ("normal", "censored_logistic"):
        single = forecast_of(name, rng, (9, 1))
        parts = {key: np.repeat(part, 2, axis=-1) for key, part in single._parts().items()}
        double = Forecast(**{**parts, "weights": np.tile([0.3, 0.7], (9, 1))}, family=name)
        y = values_of(name, rng, (9,))
        for what, argument in (
            ("cdf", (y,)),
            ("crps", (y,)),
            ("pdf", (y,)),
            ("quantile", (0.7,)),
            ("std", ()),
        ):
            one, two = (getattr(f, what)(*argument) for f in (single, double))
            np.testing.assert_allclose(one, two, rtol=1e-8, atol=1e-10, err_msg=f"{name} {what}")


def test_ensembles_of_a_forecast():
    rng = np.random.default_rng(9)
    forecast = forecast_of("normal", rng, (7, 2, 3))
    assert forecast.mean().shape == forecast.std().shape == (7, 2)
    assert forecast.quantile([0.1, 0.5, 0.9]).shape == (7, 2, 3)
    members = forecast.to_ensemble(5)
    assert members.shape == (7, 5, 2)
    np.testing.assert_allclose(members, np.moveaxis(forecast.quantile((np.arange(5) + 0.5) / 5), 2, 1))
    drawn = forecast.sample(4000, random_state=0)
    assert drawn.shape == (7, 4000, 2)
    np.testing.assert_allclose(drawn.mean(axis=1), forecast.mean(), atol=0.35)
    np.testing.assert_allclose(drawn.std(axis=1), forecast.std(), rtol=0.1)
    assert (forecast.to_ensemble(4000, "random", random_state=0) == drawn).all()
    margin = forecast.margin(1)
    assert margin.shape == (7,)
    np.testing.assert_allclose(margin.mean(), forecast.mean()[:, 1])
    np.testing.assert_allclose(forecast[2:4].std(), forecast.std()[2:4])
    assert repr(margin) == "Forecast(family='normal', shape=(7), K=3)"


def test_what_is_missing_is_nan():
    rng = np.random.default_rng(10)
    forecast = forecast_of("censored_logistic", rng, (6, 2))
    y = np.array([1.0, np.nan, 0.0, 2.0, 3.0, 1.0])
    assert np.isnan(forecast.crps(y)).tolist() == [False, True, False, False, False, False]
    parts = forecast._parts()
    for name in ("locations", "scales"):
        parts[name] = parts[name].copy()
        parts[name][3] = np.nan
    holed = Forecast(**parts, family="censored_logistic")
    missing = np.arange(6) == 3
    for answer in (holed.mean(), holed.std(), holed.quantile(0.3), holed.crps(1.0), holed.cdf(1.0)):
        assert (np.isnan(answer) == missing).all()
    assert (np.isnan(holed.sample(3, random_state=1)).all(axis=1) == missing).all()


def test_bad_forecasts_and_questions_are_told_of():
    one = np.ones((3, 1))
    forecast = Forecast(one, one, one)
    for arguments, message in (
        ((one, one, 0 * one), "scales: case 0 has a scale that is not positive"),
        ((0.5 * one, one, one), "weights: expected weights of at least 0 with the sum 1"),
        ((one, one[:2], one), "locations: shape"),
        ((one[:, 0], one[:, 0], one[:, 0]), "weights: expected shape"),
    ):
        with pytest.raises(ValueError, match=message):
            Forecast(*arguments)
    with pytest.raises(ValueError, match="shifts: family 'censored_gamma' has one"):
        Forecast(one, one, one, family="censored_gamma")
    for q in (1.5, [-0.1], [[0.5]], np.nan):
        with pytest.raises(ValueError, match="q: expected probabilities"):
            forecast.quantile(q)
    with pytest.raises(ValueError, match="y: expected shape"):
        forecast.crps(np.ones(4))
    with pytest.raises(ValueError, match="y: could not be read"):
        forecast.crps(["a", "b", "c"])
    with pytest.raises(ValueError, match="m: expected an integer"):
        forecast.to_ensemble(0)
    with pytest.raises(ValueError, match="how: expected one of"):
        forecast.to_ensemble(3, "best")
    assert forecast.margin(0) is forecast
    with pytest.raises(ValueError, match="d: expected a variable from 0 to 0, got 1"):
        forecast.margin(1)


# --- narrow gamma distributions ------------------------------------------------------------------


def test_a_gamma_distribution_is_as_narrow_as_one_asks():
    """Shapes on both sides of where another form begins, and up to where it is a normal distribution."""
    location = np.array([1000.0, 1000, 1000, 300, 1e5, 1e5])[:, None]
    scale = np.array([31.622777, 31.622776, 5, 0.5, 1, 1e-4])[:, None]
    shift = np.array([0.1, 0.1, 0.1, 10, 0.1, 1e-3])[:, None]
    forecast = Forecast(np.ones((6, 1)), location, scale, shift, family="censored_gamma")
    np.testing.assert_allclose(forecast.std(), scale[:, 0], rtol=1e-9)
    np.testing.assert_allclose(forecast.mean(), (location - shift)[:, 0], rtol=1e-12)
    shape = (location / scale) ** 2
    t = np.linspace(-4, 4, 9)
    y = location - shift + t * scale
    plain = stats.gamma(shape, scale=location / shape)
    blur = 1e-14 * location / scale
    near = slice(4)  # beyond, SciPy has no digits left
    assert (np.abs(forecast.cdf(y) - plain.cdf(y + shift))[near] <= (1e-11 + blur)[near]).all()
    assert (np.abs(forecast.pdf(y) * scale - plain.pdf(y + shift) * scale)[near] <= (1e-9 + blur)[near]).all()
    q = np.array([1e-12, 1e-3, 0.5, 0.999, 1 - 1e-12])
    np.testing.assert_allclose(forecast.quantile(q)[near], (plain.ppf(q) - shift)[near], rtol=1e-9)
    # between the forms nothing leaps, and at the end there is the normal distribution
    pair = forecast[:2]
    np.testing.assert_allclose(*(pair.crps(y[:2]) / scale[:2]), atol=1e-8)
    normal = Forecast(np.ones((6, 1)), location - shift, scale)
    np.testing.assert_allclose(forecast.crps(y)[5], normal.crps(y)[5], rtol=1e-6)


def test_the_score_of_a_narrow_gamma_distribution_is_that_of_quadrature():
    rng = np.random.default_rng(11)
    n = 24
    location = np.exp(rng.normal(3, 2, n))
    scale = location * 10 ** rng.uniform(-2.5, -1.5, n)
    shift = np.where(rng.uniform(size=n) < 0.3, location + scale * rng.normal(size=n), 0.1 * location)
    y = np.maximum(location - shift + 2 * scale * rng.normal(size=n), 0)
    theta = (location, scale, shift)
    crps, mean, std = (
        in_double(getattr(FAMILIES["censored_gamma"], what), *arguments)
        for what, arguments in (("crps", (y, *theta)), ("mean", theta), ("std", theta))
    )
    for i in range(n):
        own = [part[i] for part in theta]
        breaks = location[i] - shift[i] + scale[i] * np.arange(-9, 10)
        low, high = max(0.0, breaks[0]), max(breaks[-1], y[i])
        score, first, second = quadrature(
            lambda x, own=own: scipy_cdf("censored_gamma", x, *own), y[i], low, high, np.maximum(breaks, 0)
        )
        assert crps[i] == pytest.approx(score, abs=1e-8 * scale[i])
        assert mean[i] - low == pytest.approx(first, abs=1e-8 * scale[i])
        variance = second - first * (first + 2 * low)
        assert std[i] == pytest.approx(np.sqrt(max(variance, 0)), abs=1e-4 * scale[i])
