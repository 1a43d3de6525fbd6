"""The two-scale Lorenz-96 system, its model, and the forecasts made of both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from degmm import datasets
from degmm.datasets import lorenz96_dynamics as dynamics
from degmm.datasets import make_lorenz96
from degmm.datasets.lorenz96_dynamics import TwoScale, coupling, model_tendency, rk4, subgrid, truth_tendency
from degmm.ensembles.context import ContextRecipe
from degmm.ensembles.times import day_of_year
from degmm.precision import precision_of
from degmm.verification import crps_ensemble, rank_counts, spread_skill

YEAR = 365.25


def steps_of_truth(state, forcing, step, count):
    """Return the truth ``count`` steps later, at one forcing, by the compiled run."""
    runs = state.slow.shape[1]
    phase, constant = jnp.zeros(runs), jnp.array([forcing, 0.0, 0.0])
    return dynamics.truth_run(state, phase, jnp.array([count]), constant, jnp.array(step))[0]


@pytest.fixture(scope="module")
def truth():
    """States on the attractor at F = 20, in float64: slow (8, runs) and fast (256, runs)."""
    rng = np.random.default_rng(0)
    return run_of((rng.normal(2.5, 5, (8, 16)), rng.normal(0, 0.1, (256, 16))), 0.005, 2000)


@jax.jit
def compiled(state, step, count):
    return jax.lax.fori_loop(
        0, count, lambda _, now: rk4(lambda s: truth_tendency(s, 20.0), now, step), state
    )


def run_of(state, step, count):
    """Return slow and fast variables ``count`` steps later, at F = 20, in float64."""
    with precision_of(np.float64):
        state = TwoScale(*(jnp.asarray(part, jnp.float64) for part in state))
        return TwoScale(*map(np.asarray, compiled(state, step, count)))


@pytest.fixture(scope="module")
def data():
    return make_lorenz96(600, 10, seed=1, n_variables=8)


def test_tendencies_by_their_equations():
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=8), rng.normal(size=256)
    h, b, c, F = 1.0, 10.0, 10.0, 18.0
    dX = [
        -X[k - 1] * (X[k - 2] - X[(k + 1) % 8]) - X[k] + F - h * c / b * Y[32 * k : 32 * k + 32].sum()
        for k in range(8)
    ]
    dY = [
        -c * b * Y[(j + 1) % 256] * (Y[(j + 2) % 256] - Y[j - 1]) - c * Y[j] + h * c / b * X[j // 32]
        for j in range(256)
    ]
    with precision_of(np.float64):
        found = truth_tendency(TwoScale(jnp.array(X), jnp.array(Y)), F)
        model = model_tendency(tuple(jnp.array(X)), F)
    np.testing.assert_allclose(found.slow, dX, rtol=1e-12)
    np.testing.assert_allclose(found.fast, dY, rtol=1e-12, atol=1e-12)
    g = 0.262 + 1.45 * X - 0.0121 * X**2 - 0.00713 * X**3 + 0.000296 * X**4
    one_scale = [-X[k - 1] * (X[k - 2] - X[(k + 1) % 8]) - X[k] + F - g[k] for k in range(8)]
    np.testing.assert_allclose(model, one_scale, rtol=1e-12)


def test_advection_and_coupling_keep_energy(truth):
    # d/dt ½(ΣX² + ΣY²) = F ΣX − ΣX² − c ΣY²: all other terms cancel
    X, Y = truth
    with precision_of(np.float64):
        slope = TwoScale(*map(np.asarray, truth_tendency(TwoScale(jnp.array(X), jnp.array(Y)), 20.0)))
    gained = (X * slope.slow).sum(axis=0) + (Y * slope.fast).sum(axis=0)
    expected = 20 * X.sum(axis=0) - (X**2).sum(axis=0) - 10 * (Y**2).sum(axis=0)
    np.testing.assert_allclose(gained, expected, rtol=1e-9, atol=1e-7)


def test_steps_are_of_fourth_order(truth):
    with precision_of(np.float64):
        state = TwoScale(*map(jnp.array, truth))
        exact = steps_of_truth(state, 20.0, 0.00025, 400)
        errors = [
            float(jnp.sqrt(jnp.mean((steps_of_truth(state, 20.0, step, round(0.1 / step)) - exact) ** 2)))
            for step in (0.002, 0.001)
        ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.5)
    assert errors[0] < 1e-3


def test_the_climate_is_that_of_the_published_system(truth):
    state, X, Y, U = truth, [], [], []
    for _ in range(60):
        state = run_of(state, 0.005, 80)
        after = run_of(state, 0.005, 1).slow
        x = state.slow
        known = np.roll(x, 1, axis=0) * (np.roll(x, -1, axis=0) - np.roll(x, 2, axis=0)) - x + 20
        X.append(x)
        Y.append(state.fast)
        U.append(known - (after - x) / 0.005)
    X, Y, U = (np.stack(part) for part in (X, Y, U))
    assert np.abs(X).max() < 25
    assert X.mean() == pytest.approx(3.8, abs=0.4)  # with steps of 0.001: 3.81
    assert X.std() == pytest.approx(5.07, abs=0.4)  # and 5.07
    # In the mean over time, what the forcing gives is what friction takes.
    assert 20 * X.mean() == pytest.approx((X**2).mean() + 10 * 32 * (Y**2).mean(), rel=0.05)
    # What a model of the slow variables lacks, by differences over 0.005 as Wilks (2005) has it: he
    # found 0.262 + 1.45 X − 0.0121 X² − 0.00713 X³ + 0.000296 X⁴, and 1.99 about it.
    x = np.linspace(-5, 13, 50)
    published = 0.262 + 1.45 * x - 0.0121 * x**2 - 0.00713 * x**3 + 0.000296 * x**4
    fitted = np.polynomial.Polynomial.fit(X.ravel(), U.ravel(), 4)
    assert np.abs(fitted(x) - published).max() < 0.7
    assert np.sqrt(np.mean((fitted(x) - published) ** 2)) < 0.3
    assert (U - fitted(X)).std() == pytest.approx(1.99, abs=0.15)
    with precision_of(np.float64):
        np.testing.assert_allclose(subgrid(jnp.array(x)), published, rtol=1e-12)
        by_sums = coupling(jnp.array(Y[-1]))
    # The same by its definition, but for the differences' error.
    assert np.corrcoef(by_sums.ravel(), U[-1].ravel())[0, 1] > 0.97


def test_the_forcing_turns_with_the_year():
    rng = np.random.default_rng(2)
    with precision_of(np.float64):
        state = TwoScale(jnp.array(rng.normal(size=(8, 2))), jnp.array(rng.normal(size=(256, 2)) / 10))
        phase, counts = jnp.array([0.0, 2.0]), jnp.array([3, 2])
        settings, step = jnp.array([20.0, 3.0, 5.0]), jnp.array(0.005)
        found = dynamics.truth_run(state, phase, counts, settings, step)
        kept = []
        for i in range(5):
            forcing = 20 + 3 * np.cos(np.asarray(phase) + 5 * 0.005 * i)
            state = rk4(lambda s, F=forcing: truth_tendency(s, F), state, 0.005)
            kept.append(np.asarray(state.slow))
    np.testing.assert_allclose(found, [kept[2], kept[4]], rtol=1e-9)


def test_what_comes_back(data):
    assert data.shape == (600, 10, 8)
    assert data.values.dtype == np.float32
    assert data.variables[:2] == ("x1", "x2")
    assert np.isfinite(data.values).all()
    assert np.isfinite(data.observations).all()
    times = data.coords["time"]
    assert str(times[0]) == "2001-01-06T00:00:00"  # five days after the start
    assert (np.diff(times) == np.timedelta64(2, "D")).all()
    np.testing.assert_array_equal(data.context, ContextRecipe.fit(data, "season").of(data))
    assert data.to_xarray().sizes["time"] == 600
    assert datasets.make_lorenz96 is make_lorenz96


def test_forecasts_are_biased_and_too_narrow(data):
    X, y = data.values.astype(float), data.observations
    error = y - X.mean(axis=1)
    for d in (0, 3):
        counts = rank_counts(X[..., d], y[:, d])
        assert chisquare(counts).pvalue < 1e-10
        assert counts[[0, -1]].mean() > 3 * counts[1:-1].mean()
        found = spread_skill(X[..., d], y[:, d], bins=1)
        assert 0.4 < found.spread[0] / found.error[0] < 0.8
    # The forecast is worth something, and should be drawn to its mean.
    slope, _ = np.polyfit(X.mean(axis=1).ravel(), y.ravel(), 1)
    assert 0.7 < slope < 0.95
    assert error.std() < 0.8 * y.std()
    # In winter the truth has more forcing than the model, in summer less.
    angle = 2 * np.pi * day_of_year(data.coords["time"]) / YEAR
    winter, summer = np.cos(angle) > 0.7, np.cos(angle) < -0.7
    assert error[winter].mean() > error[summer].mean() + 0.2
    assert error[winter].std() > 1.2 * error[summer].std()


def test_cases_say_nothing_of_the_next(data):
    error = data.observations - data.values.mean(axis=1)
    lagged = np.mean([np.corrcoef(error[1:, d], error[:-1, d])[0, 1] for d in range(8)])
    assert abs(lagged) < 0.15


def test_a_forecast_starts_where_the_truth_is():
    exact = {"analysis_error": 0, "perturbation": 0, "observation_error": 0, "n_variables": 8}
    # two and a half years: three runs, the last of them cut short
    short = make_lorenz96(20, 1, seed=3, lead=0.02, spacing=45, **exact)
    longer = make_lorenz96(20, 1, seed=3, lead=0.5, spacing=45, **exact)
    errors = [np.abs(d.observations - d.values[:, 0]).mean() for d in (short, longer)]
    assert errors[0] < 0.15 < 0.8 < errors[1]
    assert np.abs(longer.observations - short.observations).mean() > 2


def test_errors_and_spread_are_as_wide_as_they_are_set():
    near = make_lorenz96(200, 40, seed=4, lead=0.02, n_variables=8, season=0)
    assert near.values.std(axis=1, ddof=1).mean() == pytest.approx(0.3, rel=0.1)
    error = near.observations - near.values.mean(axis=1)
    assert error.std() == pytest.approx(np.hypot(0.3, 0.2), rel=0.15)


def test_a_seed_gives_one_set_of_data(data):
    one, again, other = (make_lorenz96(12, 3, seed=s) for s in (7, 7, 8))
    np.testing.assert_array_equal(one.values, again.values)
    np.testing.assert_array_equal(one.observations, again.observations)
    assert np.abs(one.values - other.values).mean() > 1
    assert np.abs(one.observations - other.observations).mean() > 1
    # another seed, the same climate
    assert crps_ensemble(data.values, data.observations).mean() > 0.5


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"n": 0}, "n: expected an integer of at least 1"),
        ({"M": 2.5}, "M: expected an integer"),
        ({"seed": -1}, "seed: expected an integer of at least 0"),
        ({"n_variables": 9}, "n_variables: there are 8 slow variables"),
        ({"lead": 0}, "lead: expected a number of at least 0.01"),
        ({"spacing": np.nan}, "spacing: expected a number of at least 0.025"),
        ({"perturbation": -1}, "perturbation: expected a number of at least 0"),
    ],
)
def test_bad_settings(arguments, match):
    with pytest.raises(ValueError, match=match):
        make_lorenz96(**{"n": 2, "M": 2} | arguments)
