"""Observations, context and members with labels are matched by these, never by place."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from degmm import Ensemble
from degmm.calibration import EMOS, RegimeEMOS, cross_validated, ecc, error_copula
from degmm.evaluation import evaluate
from degmm.forecast_results import forecast_dataset, forecast_table
from degmm.verification import central_interval, coverage, crps_ensemble, energy_score, log_score, pit

N, M = 120, 8


@pytest.fixture(scope="module")
def labelled():
    """Members (time, number, variable), observations and a context, all with labels."""
    rng = np.random.default_rng(0)
    times = pd.date_range("2001-01-01", periods=N)
    centre = np.column_stack([rng.normal(10, 2, N), rng.normal(100, 5, N)])
    X = xr.DataArray(
        centre[:, None] + rng.normal(size=(N, M, 2)),
        dims=("time", "number", "variable"),
        coords={"time": times, "variable": ["a", "b"]},
    )
    y = centre + 1 + rng.normal(size=(N, 2))
    y = xr.DataArray(y, dims=("time", "variable"), coords={"time": times, "variable": ["a", "b"]})
    return X, y, xr.DataArray(np.sin(np.arange(N)), dims="time", coords={"time": times})


def test_observations_go_by_their_labels(labelled):
    X, y, _ = labelled
    model = EMOS().fit(X, y)
    expected = np.asarray(model.predict(X).mean())
    for other in (y[::-1], y[:, ::-1], y.T, y[::-1, ::-1].T):
        np.testing.assert_array_equal(EMOS().fit(X, other).predict(X).mean(), expected)
        np.testing.assert_array_equal(model.predict(X).crps(other), model.predict(X).crps(y))
        assert model.score(X, other) == model.score(X, y)
        np.testing.assert_array_equal(energy_score(X, other), energy_score(X, y))
    np.testing.assert_array_equal(
        cross_validated(EMOS(), X, y[::-1]).mean(), cross_validated(EMOS(), X, y).mean()
    )
    # without labels, by place
    np.testing.assert_array_equal(EMOS().fit(X, y.to_numpy()).predict(X).mean(), expected)
    nameless = xr.DataArray(y.to_numpy(), dims=("row", "column"))
    np.testing.assert_array_equal(EMOS().fit(X, nameless).predict(X).mean(), expected)


def test_judgements_go_by_labels():
    rng = np.random.default_rng(2)
    times = pd.date_range("2001", periods=60)
    X = xr.DataArray(rng.gamma(1, 2, (60, 7)), dims=("time", "number"), coords={"time": times})
    y = np.maximum(X.mean("number") + rng.normal(-1, 1, 60), 0)
    forecast, other = EMOS("censored_logistic").fit(X, y).predict(X), y[rng.permutation(60)]
    assert (y == 0).any()
    for of in (log_score, pit, lambda *args: coverage(*args).coverage, lambda f, y: f.cdf_below(y)):
        np.testing.assert_array_equal(of(forecast, other), of(forecast, y))
        np.testing.assert_array_equal(of(forecast, y.to_numpy()), of(forecast, y))
    below = forecast.cdf_below(other)
    assert below.name == "cdf_below"
    np.testing.assert_array_equal(below[(y == 0).to_numpy()], 0)


def test_labels_that_do_not_fit_are_told(labelled):
    X, y, context = labelled
    later = y.assign_coords(time=y["time"] + np.timedelta64(365, "D"))
    with pytest.raises(ValueError, match=r"y: no value for time 2001-01-01 .*\(120 of 120 such cases\)"):
        EMOS().fit(X, later)
    with pytest.raises(ValueError, match="y: no value for variable b"):
        EMOS().fit(X, y.assign_coords(variable=["a", "c"]))
    with pytest.raises(ValueError, match=r"y: time 2001-01-01 .*is there twice"):
        EMOS().fit(X, xr.concat([y[:1], y], "time"))
    with pytest.raises(ValueError, match="context: no value for time"):
        EMOS().fit(X, y, context=context[5:])
    with pytest.raises(ValueError, match="y: no value for time"):
        crps_ensemble(X[..., 0], later[:, 0])


@pytest.mark.parametrize("gate", [None, "mixture"])
def test_context_goes_by_its_labels(labelled, gate):
    X, y, context = labelled
    new = EMOS() if gate is None else RegimeEMOS(2, gate=gate, random_state=0)
    expected = np.asarray(new.fit(X, y, context=context).predict(X, context).mean())
    np.testing.assert_array_equal(new.predict(X, context[::-1]).mean(), expected)
    np.testing.assert_array_equal(new.fit(X, y, context=context[::-1]).predict(X, context).mean(), expected)


def test_grids_of_stations_and_times():
    rng = np.random.default_rng(1)
    X = xr.DataArray(
        rng.normal(size=(3, 40, 6)),
        dims=("station", "time", "number"),
        coords={"station": ["x", "y", "z"], "time": pd.date_range("2001", periods=40)},
    )
    y = X.mean("number") + rng.normal(size=(3, 40))
    model = EMOS().fit(X, y.T)
    np.testing.assert_array_equal(
        model.predict(X).mean(), EMOS().fit(X, y.to_numpy().ravel()).predict(X).mean()
    )
    crps = model.predict(X).crps(y.T[::-1])
    assert crps.dims == ("station", "time")
    np.testing.assert_array_equal(crps, np.asarray(model.predict(X).crps(y)))
    np.testing.assert_allclose(crps_ensemble(X, y.T), crps_ensemble(X, y))
    forecast, plain = model.predict(X), model.predict(X.to_numpy().reshape(120, 6))
    for found, expected in (
        (log_score(forecast, y.T), log_score(plain, y.to_numpy().ravel())),
        (pit(forecast, y.T), pit(plain, y.to_numpy().ravel())),
        (central_interval(forecast), central_interval(plain)),
        (central_interval(X), central_interval(X.to_numpy().reshape(120, 6))),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="y: no dimension 'station' of the cases"):
        EMOS().fit(X, y.mean("station"))


def test_variables_in_another_order(labelled):
    X, y, _ = labelled
    data = Ensemble(X.to_numpy(), variables=("a", "b"), observations=y.to_numpy())
    turned = Ensemble(X.to_numpy()[..., ::-1], variables=("b", "a"), observations=y.to_numpy()[:, ::-1])
    model = EMOS().fit(data)
    assert model.score(turned) == model.score(data)
    assert model.score(turned, turned.observations) == model.score(data)
    forecast = model.predict(turned)
    np.testing.assert_array_equal(ecc(forecast, turned), ecc(forecast, data))
    np.testing.assert_array_equal(
        forecast_dataset(turned, forecast)["forecast_mean"].sel(variable="a"),
        np.asarray(forecast.mean())[:, 0],
    )
    pd.testing.assert_frame_equal(forecast_table(turned, forecast), forecast_table(data, forecast))
    settings = RegimeEMOS(1, random_state=0)
    tables = [evaluate(data[:80], part[80:], settings).table(0) for part in (data, turned)]
    pd.testing.assert_frame_equal(*tables)


def test_margins_by_name_and_one_variable(labelled):
    X, y, _ = labelled
    forecast = EMOS().fit(X, y).predict(X)
    np.testing.assert_array_equal(forecast.margin("b").mean(), forecast.margin(1).mean())
    np.testing.assert_array_equal(forecast.margin(-1).mean(), forecast.margin(1).mean())
    with pytest.raises(ValueError, match="d: no variable 'c'; there are a, b"):
        forecast.margin("c")
    with pytest.raises(ValueError, match="d: expected a variable from 0 to 1, got 2"):
        forecast.margin(2)
    single = EMOS().fit(X[..., 0], y[:, 0]).predict(X[..., 0])
    assert single.margin(0) is single
    assert ecc(single, X[..., 0]).shape == error_copula(single, np.linspace(0, 1, 9), M).shape == (N, M)


def test_scores_and_fits_take_the_same_weights(labelled):
    X, y, _ = labelled
    weights = np.where(np.arange(N) < 60, 1.0, 0.25)
    data = Ensemble(X.to_numpy(), variables=("a", "b"), observations=y.to_numpy(), weights=weights)
    model = EMOS().fit(data)
    assert model.score(data) == model.score(data, sample_weight=weights)
    assert model.score(data) != model.score(data, sample_weight=np.ones(N))


def test_variables_that_were_never_observed_together(labelled):
    X, y, _ = labelled
    observed = y.to_numpy().copy()
    observed[:80:2, 0] = observed[1:80:2, 1] = np.nan
    data = Ensemble(X.to_numpy(), variables=("a", "b"), observations=observed)
    trial = evaluate(data[:80], data[80:], RegimeEMOS(1, random_state=0))
    joint = trial.joint(0)
    assert joint is not None
    assert "regimes, copula of errors" not in joint.scores["energy score"]
    with pytest.raises(ValueError, match="y: no observations"):
        evaluate(Ensemble(X.to_numpy()[:80], variables=("a", "b")), data[80:], RegimeEMOS(1))
