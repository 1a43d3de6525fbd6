"""EMOS: against SciPy's optimum, known coefficients, what is missing, and real data."""

import dataclasses
import json
import time

import numpy as np
import pytest
import xarray as xr
from conftest import real_file
from scipy import optimize, special
from sklearn.base import clone

from degmm import Ensemble, read_ensemble
from degmm.calibration import EMOS, FAMILIES, Forecast
from degmm.calibration.minimisation import Result
from degmm.calibration.predictors import FLOOR_SHARE, PredictorRecipe, member_statistics


def simulated(n, seed, M=10, a=1.0, b=0.8, c=-0.2, d=0.7, season=0.0):
    """Members and observations of the model of EMOS itself, and an angle of the year."""
    rng = np.random.default_rng(seed)
    centre, spread = rng.normal(5, 3, n), np.exp(rng.normal(0, 0.5, n))
    X = centre[:, None] + spread[:, None] * rng.normal(size=(n, M))
    angle = rng.uniform(0, 2 * np.pi, n)
    s = X.std(axis=1, ddof=1)
    floor = FLOOR_SHARE * np.sqrt((s**2).mean())
    location = a + b * X.mean(axis=1) + season * np.sin(angle)
    y = location + np.exp(c + d * np.log(s + floor) + 0.3 * season * np.cos(angle)) * rng.normal(size=n)
    return X, y, angle


def normal_crps(y, location, scale):
    z = (y - location) / scale
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return scale * (z * (2 * special.ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi)), density


def scipys_optimum(X, y, n_starts, rng):
    """Return the least mean CRPS that SciPy finds from many starts."""
    mean, s = X.mean(axis=1), X.std(axis=1, ddof=1)
    log_spread = np.log(s + FLOOR_SHARE * np.sqrt((s**2).mean()))

    def loss(theta):
        scale = np.exp(np.clip(theta[2] + theta[3] * log_spread, -30, 30))
        crps, density = normal_crps(y, theta[0] + theta[1] * mean, scale)
        by_location = 1 - 2 * special.ndtr((y - theta[0] - theta[1] * mean) / scale)
        by_log_scale = scale * (2 * density - 1 / np.sqrt(np.pi))
        gradient = [by_location, by_location * mean, by_log_scale, by_log_scale * log_spread]
        return crps.mean(), np.mean(gradient, axis=1)

    slope, intercept = np.polyfit(mean, y, 1)
    start = np.array([intercept, slope, np.log(np.std(y - intercept - slope * mean)), 0.5])
    found = (
        optimize.minimize(
            loss, start + scale * rng.normal(size=4), jac=True, method="BFGS", options={"gtol": 1e-9}
        )
        for scale in [0.0, *[0.5] * (n_starts - 1)]
    )
    return min(one.fun for one in found)


def test_optimum_is_scipys():
    rng = np.random.default_rng(0)
    for seed in range(50):
        n = (60, 150)[seed % 2]
        X, y, _ = simulated(
            n, seed, a=rng.normal(), b=rng.normal(1, 0.5), c=rng.normal(0, 1), d=rng.normal(0.5, 0.5)
        )
        y = y + rng.standard_t(3, n) * rng.uniform(0, 1)
        emos = EMOS().fit(X, y)
        assert emos.converged_, seed
        assert emos.crps_ == pytest.approx(scipys_optimum(X, y, 4, rng), abs=1e-6), seed


def test_known_coefficients_are_recovered():
    X, y, angle = simulated(40_000, 1, season=2.0)
    context = np.column_stack([np.sin(angle), np.cos(angle)])
    for loss in ("crps", "likelihood"):
        emos = EMOS(loss=loss).fit(X, y, context=context)
        found = emos.coefficients_.iloc[0]
        expected = {"a": 1, "b": 0.8, "c": -0.2, "d": 0.7, "a: u1": 2, "a: u2": 0, "c: u1": 0, "c: u2": 0.6}
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=0.03), (loss, name)
    assert list(emos.coefficients_) == list(expected)
    assert emos.n_parameters_ == 8
    assert emos.n_cases_ == 40_000
    forecast = emos.predict(X, context)
    assert isinstance(forecast, Forecast)
    assert emos.crps_ == pytest.approx(forecast.crps(y).mean(), rel=1e-12)
    assert emos.score(X, y, context=context) == pytest.approx(-emos.crps_, rel=1e-12)
    # the forecast is that of the coefficients in the units of the data
    location = found["a"] + found["b"] * X.mean(1) + context @ [found["a: u1"], found["a: u2"]]
    log_spread = np.log(X.std(1, ddof=1) + emos.spread_floor_[0])
    log_scale = found["c"] + found["d"] * log_spread + context @ [found["c: u1"], found["c: u2"]]
    np.testing.assert_allclose(forecast.mean(), location, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(forecast.std(), np.exp(log_scale), rtol=1e-9)


@pytest.mark.parametrize("family", ["truncated_normal", "censored_logistic", "censored_gamma"])
def test_families_from_zero(family):
    rng = np.random.default_rng(2)
    n = 300
    base, spread = rng.gamma(1.5, 1.5, n), np.exp(rng.normal(-0.3, 0.4, n))
    X = np.maximum(base[:, None] + spread[:, None] * rng.normal(size=(n, 8)), 0)
    y = np.maximum(-0.6 + 1.1 * base + 1.5 * spread * rng.normal(size=n), 0)
    emos = EMOS(family).fit(X, y)
    assert emos.converged_
    forecast = emos.predict(X)
    assert forecast.family == family
    assert (forecast.quantile([0.01, 0.5]) >= 0).all()
    if family != "truncated_normal":  # which has no zeros
        assert emos.crps_ < EMOS().fit(X, y).crps_
        assert forecast.cdf(0).mean() == pytest.approx((y == 0).mean(), abs=0.05)
    with pytest.raises(ValueError, match="y: -1 at case 3, variable 0, is below 0"):
        EMOS(family).fit(X, np.where(np.arange(n) == 3, -1, y))


def test_rounding_below_zero_is_zero():
    rng = np.random.default_rng(2)
    base = rng.gamma(1.5, 1.5, 200)
    X = np.maximum(base[:, None] + rng.normal(size=(200, 6)), 0)
    y = np.maximum(base - 0.6 + rng.normal(size=200), 0)
    y[7] = 0
    expected = EMOS("censored_logistic").fit(X, y)
    rounded = np.where(np.arange(200) == 7, -4e-19, y)
    with pytest.warns(UserWarning, match="y: 1 below 0 by no more than rounding, which count as 0"):
        found = EMOS("censored_logistic").fit(X, rounded)
    assert found.crps_ == expected.crps_
    for least in (-0.01, -5.0):
        y[[7, 8]] = least, -4e-19
        with pytest.raises(ValueError, match="at case 7, variable 0, is below 0"):
            EMOS("censored_logistic").fit(X, y)


def test_units_do_not_matter():
    X, y, _ = simulated(150, 3)
    celsius, kelvin = EMOS().fit(X, y), EMOS().fit(1e3 * (X + 273.15), 1e3 * (y + 273.15))
    one, two = (model.predict(data) for model, data in ((celsius, X), (kelvin, 1e3 * (X + 273.15))))
    np.testing.assert_allclose(1e3 * (one.mean() + 273.15), two.mean(), rtol=1e-6)
    np.testing.assert_allclose(1e3 * one.std(), two.std(), rtol=1e-4)


def test_weights_count_copies():
    X, y, _ = simulated(150, 4)
    rng = np.random.default_rng(0)
    w = rng.integers(0, 4, 150)
    weighted = EMOS().fit(X, y, sample_weight=w)
    copied = EMOS().fit(np.repeat(X, w, axis=0), np.repeat(y, w))
    np.testing.assert_allclose(weighted.coefficients_, copied.coefficients_, atol=1e-6)
    assert weighted.crps_ == pytest.approx(copied.crps_, abs=1e-10)
    assert weighted.n_cases_ == (w > 0).sum()


def test_order_of_members_does_not_matter():
    X, y, _ = simulated(150, 5)
    mixed = np.random.default_rng(0).permuted(X, axis=1)
    np.testing.assert_allclose(EMOS().fit(X, y).coefficients_, EMOS().fit(mixed, y).coefficients_, atol=1e-5)


def test_what_is_missing_is_left_out():
    X, y, _ = simulated(150, 6)
    X[5], X[6, 1:], X[7, 3] = np.nan, np.nan, np.nan
    y[9] = np.nan
    emos = EMOS().fit(X, y)
    assert emos.n_cases_ == 148
    kept = np.delete(np.arange(150), [5, 9])
    np.testing.assert_allclose(emos.coefficients_, EMOS().fit(X[kept], y[kept]).coefficients_, atol=1e-7)
    forecast = emos.predict(X)
    assert np.isnan(forecast.mean()).nonzero()[0].tolist() == [5]
    assert np.isnan(forecast.crps(y)).nonzero()[0].tolist() == [5, 9]
    # other numbers of members at predict
    assert emos.predict(X[:20, :4]).shape == (20,)


def test_variables_are_calibrated_one_by_one():
    parts = [simulated(150, seed) for seed in (7, 8)]
    X = np.stack([part[0] for part in parts], axis=2)
    y = np.stack([part[1] for part in parts], axis=1)
    y[:30, 1] = np.nan
    both = EMOS().fit(X, y)
    assert both.n_cases_.tolist() == [150, 120]
    assert both.predict(X).shape == (150, 2)
    for d in range(2):
        one = EMOS().fit(X[..., d], y[:, d])
        np.testing.assert_allclose(one.coefficients_.iloc[0], both.coefficients_.iloc[d], atol=1e-6)
        assert both.crps_[d] == pytest.approx(one.crps_, abs=1e-9)
        np.testing.assert_allclose(both.predict(X).mean()[:, d], one.predict(X[..., [d]]).mean(), atol=1e-5)


def test_without_a_spread_there_is_no_term_in_it():
    X, y, _ = simulated(150, 9)
    single = EMOS().fit(X[:, :1], y)
    assert single.coefficients_["d"].item() == 0
    equal = EMOS().fit(np.repeat(X[:, :1], 3, axis=1), y)  # members that are all the same
    assert equal.coefficients_["d"].item() == 0
    assert equal.crps_ == pytest.approx(single.crps_, abs=1e-9)
    assert np.isfinite(single.predict(X).std()).all()


def test_exact_observations_end_at_the_floor():
    X, _, _ = simulated(150, 10)
    with pytest.warns(UserWarning, match="EMOS: a predicted spread sits at its floor"):
        emos = EMOS().fit(X, 2 + 3 * X.mean(axis=1))
    assert emos.result_ is Result.AT_FLOOR
    assert not emos.converged_
    assert emos.coefficients_["b"].item() == pytest.approx(3, abs=1e-4)
    with pytest.warns(UserWarning, match="EMOS: stopped at the maximum number of iterations"):
        EMOS(max_iter=1).fit(*simulated(150, 10)[:2])


def labelled_ensemble(n=150):
    X, y, _ = simulated(n, 11)
    dates = np.datetime64("2020-01-01") + np.arange(n)
    stations = np.where(np.arange(n) % 2, "Graz", "Linz")
    return Ensemble.from_numpy(
        X[..., None],
        ["t2m"],
        units=["degC"],
        observations=y,
        coords={"time": dates.astype("datetime64[ns]"), "station": stations},
        case_dim="time",
    )


def test_ensembles_bring_observations_context_and_labels():
    data = labelled_ensemble()
    emos = EMOS().fit(data, context=["season", "station"])
    names = ["season (sine)", "season (cosine)", "station: Graz", "station: Linz"]
    assert list(emos.coefficients_)[4:8] == [f"a: {name}" for name in names]
    assert emos.coefficients_.index.tolist() == ["t2m"]
    forecast = emos.predict(data)
    assert isinstance(forecast.mean(), np.ndarray)
    np.testing.assert_allclose(emos.score(data), -emos.crps_)
    np.testing.assert_allclose(forecast.mean(), emos.predict(data, ["season", "station"]).mean())
    kelvin = Ensemble.from_numpy(data.values, ["t2m"], units=["K"], coords=data.coords)
    with pytest.raises(ValueError, match="t2m is in 'K'; the model was fitted to 'degC'"):
        emos.predict(kelvin)
    wind = Ensemble.from_numpy(data.values, ["wind"], coords=data.coords)
    with pytest.raises(ValueError, match="X: variables wind; the model was fitted to t2m"):
        emos.predict(wind)
    with pytest.raises(ValueError, match="context: coordinates were named, and X is an array"):
        emos.predict(data.values)
    other = Ensemble.from_numpy(data.values, ["t2m"], coords={**data.coords, "station": np.full(150, "Wien")})
    with pytest.raises(ValueError, match="station 'Wien', which was not there in the fit"):
        emos.predict(other)
    with pytest.raises(ValueError, match="context: lead was named, and the model was fitted with"):
        emos.predict(data, "lead")


def test_xarray_in_gives_xarray_out():
    data = labelled_ensemble()
    array = xr.DataArray(
        data.values[..., 0],
        dims=("time", "member"),
        coords={"time": data.coords["time"], "member": range(10)},
        name="t2m",
    )
    emos = EMOS().fit(array, data.observations[:, 0], context="season")
    forecast = emos.predict(array[:50])
    assert forecast.mean().dims == ("time",)
    assert (forecast.std().time == array.time[:50]).all()
    quantiles = forecast.quantile([0.1, 0.9])
    assert quantiles.dims == ("time", "quantile")
    assert quantiles["quantile"].values.tolist() == [0.1, 0.9]
    assert forecast.to_ensemble(5).dims == ("time", "member")
    np.testing.assert_allclose(forecast.crps(data.observations[:50, 0]).mean(), 1, atol=1)


def test_anomalies_are_those_of_the_fit():
    data = labelled_ensemble(800)
    anomalies = data.anomalies()
    emos = EMOS().fit(anomalies)
    np.testing.assert_allclose(emos.predict(data).mean(), emos.predict(anomalies).mean(), atol=1e-9)
    with pytest.raises(ValueError, match="X: the fit is one of anomalies"):
        emos.predict(data.values)


def test_context_terms_can_be_left_out():
    X, y, angle = simulated(150, 12)
    context = np.sin(angle)[:, None]
    data = Ensemble.from_numpy(X[..., None], observations=y, context=context)
    assert EMOS().fit(data).n_parameters_ == 6
    assert EMOS(context_terms=False).fit(data).n_parameters_ == 4
    with pytest.raises(ValueError, match="context: has no effect with context_terms=False"):
        EMOS(context_terms=False).fit(X, y, context=context)


def test_bad_input_is_named():
    X, y, angle = simulated(60, 13)
    context = np.column_stack([np.sin(angle), np.cos(angle)])
    emos = EMOS().fit(X, y, context=context)
    infinite, late = X.copy(), y.copy()
    infinite[4, 2], late[8] = np.inf, -np.inf
    for arguments, options, message in (
        ((X,), {}, "y: no observations"),
        ((X, np.full(60, np.nan)), {}, "y: every observation is missing"),
        ((X, y[:50]), {}, r"y: expected one observation per case, shape \(60,\)"),
        ((X, late), {}, "y: -inf at case 8, variable 0, is infinite"),
        ((infinite, y), {}, "X: infinite value at ensemble 4, member 2"),
        ((X[:3], y[:3]), {}, "X: 3 cases .* are too few for 4 parameters"),
        ((X, y), {"context": np.ones((60, 1))}, "context: column 0 does not vary"),
        ((X, y), {"context": context[:5]}, r"context: expected shape \(60, C\)"),
        ((X, y), {"context": "season"}, "context: coordinates were named, and X is an array"),
        ((X, y), {"sample_weight": -np.ones(60)}, "sample_weight: expected finite weights"),
        ((X[0], y), {}, "X: expected members"),
        ((X[:, :0], y), {}, "X: no members"),
    ):
        with pytest.raises(ValueError, match=message):
            EMOS().fit(*arguments, **options)
    for argument, value in (("family", "gumbel"), ("loss", "rmse"), ("n_init", 0), ("max_iter", 0)):
        with pytest.raises(ValueError, match=f"{argument}: expected"):
            EMOS(**{argument: value}).fit(X, y)
    with pytest.raises(ValueError, match="context: the fit was with one of 2 columns"):
        emos.predict(X)
    with pytest.raises(ValueError, match="context: expected 2 columns"):
        emos.predict(X, context[:, :1])
    with pytest.raises(ValueError, match="context: the fit was without one"):
        EMOS().fit(X, y).predict(X, context)
    with pytest.raises(ValueError, match="X: 2 variables, where the fit had 1"):
        emos.predict(np.stack([X, X], axis=2), context)


def test_state_is_restored():
    data = labelled_ensemble()
    emos = EMOS().fit(data, context=["season", "station"])
    arrays, facts = emos._get_state()
    again = EMOS()
    again._set_state(arrays, json.loads(json.dumps(facts)))
    for what in ("mean", "std"):
        assert (getattr(again.predict(data), what)() == getattr(emos.predict(data), what)()).all()
    assert again.coefficients_.equals(emos.coefficients_)
    assert (again.crps_, again.n_cases_, again.result_) == (emos.crps_, emos.n_cases_, emos.result_)
    with pytest.raises(ValueError, match="parameters has shape"):
        EMOS()._set_state({**arrays, "parameters": arrays["parameters"][:, :3]}, facts)


def test_scikit_learns_contract():
    emos = EMOS("truncated_normal", n_init=3)
    assert clone(emos).get_params() == emos.get_params()
    with pytest.raises(ValueError, match="not fitted"):
        emos.predict(np.ones((3, 4)))


def test_statistics_of_members():
    X = np.array([[[1.0], [2.0], [6.0]], [[4.0], [np.nan], [np.nan]], [[np.nan]] * 3, [[0.1]] * 3])
    counts, mean, spread = (part[:, 0] for part in member_statistics(X))
    assert counts.tolist() == [3, 1, 0, 3]
    np.testing.assert_allclose(mean[[0, 1, 3]], [3, 4, 0.1])
    assert np.isnan(mean[2])
    np.testing.assert_allclose(spread[0], np.sqrt(7))
    assert np.isnan(spread[1:3]).all()
    assert spread[3] == 0
    recipe = PredictorRecipe.fit(X, np.ones((4, 1)))
    found = recipe.of(X)
    assert found.log_spread[1, 0] == 0  # one member: the average spread
    assert found.context.shape == (4, 0)


def test_speed_after_compilation():
    X, y, _ = simulated(4400, 14, M=20)
    EMOS().fit(X, y)
    seconds = []
    for n in (4400, 4390, 4380):  # other numbers of cases compile nothing
        start = time.process_time()
        EMOS().fit(X[:n], y[:n])
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.5  # 0.04 s, with room for a busy machine


@pytest.mark.parametrize(
    ("file", "variable", "plain", "seasonal"),
    [
        ("innsbruck_gefs.nc", "tmin2m", 1.812, 1.419),
        ("germany_ecmwf_t2m.nc", "t2m_list_sylt_24h", 0.906, 0.788),
        ("germany_ecmwf_t2m.nc", "t2m_magdeburg_24h", 0.794, 0.796),
    ],
)
def test_real_temperatures(file, variable, plain, seasonal):
    """The figures of docs: one NGR for all, and better than one a season."""
    data = read_ensemble(real_file(file))
    complete = ~np.isnan(data.values).any((1, 2)) & ~np.isnan(data.observations).any(1)
    data = data.take_variables([data.variables.index(variable)])[complete]
    if data.n_members == 11:
        data = data.drop_control(0)
    train, test = data[: 2 * len(data) // 3], data[2 * len(data) // 3 :]
    assert -EMOS().fit(train).score(test) == pytest.approx(plain, abs=2e-3)
    assert -EMOS().fit(train, context="season").score(test) < seasonal


@pytest.mark.slow
def test_real_precipitation():
    data = read_ensemble(real_file("innsbruck_gefs.nc")).drop_control(0)
    data = data.take_variables([data.variables.index("precip")])
    train, test = data[: 2 * len(data) // 3], data[2 * len(data) // 3 :]
    normal = EMOS().fit(train).score(test)
    for family in ("censored_logistic", "censored_gamma"):
        assert EMOS(family).fit(train).score(test) > normal + 0.05


def test_a_gamma_fit_is_as_narrow_as_the_errors():
    """River discharge: a mean of 1000, with errors of half a percent."""
    rng = np.random.default_rng(0)
    truth = 1000 + 50 * rng.normal(size=200)
    X, y = truth[:, None] + 4 * rng.normal(size=(200, 6)), truth + 5 * rng.normal(size=200)
    normal, gamma = EMOS().fit(X, y), EMOS("censored_gamma").fit(X, y)
    assert gamma.converged_
    assert gamma.crps_ < 1.02 * normal.crps_
    assert gamma.predict(X).std().mean() == pytest.approx(normal.predict(X).std().mean(), rel=0.1)


def test_a_spread_that_a_family_cannot_have_is_at_the_floor(monkeypatch):
    limited = FAMILIES["censored_gamma"].limited
    location, scale = np.array([1e-6, 1.0]), np.array([0.1, 1.0])
    assert limited(location, scale, np.ones(2)).tolist() == [True, False]
    bounded = dataclasses.replace(FAMILIES["normal"], limited=lambda location, scale: scale > 0)
    monkeypatch.setattr("degmm.calibration.emos.find_family", lambda name: bounded)
    with pytest.warns(UserWarning, match="EMOS: a predicted spread sits at its floor"):
        model = EMOS().fit(*simulated(100, 12)[:2])
    assert model.result_ is Result.AT_FLOOR
