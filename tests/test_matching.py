"""Observations, context and members with labels are matched by these, never by place."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from degmm import DEGMM, EGMM, Ensemble, select_components
from degmm.calibration import EMOS, RegimeEMOS, cross_validated, ecc, error_copula, schaake_shuffle
from degmm.evaluation import evaluate
from degmm.forecast_results import forecast_dataset, forecast_table
from degmm.verification import (
    central_interval,
    coverage,
    crps_ensemble,
    diebold_mariano,
    energy_score,
    log_score,
    pit,
    skill_table,
)

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


def test_weights_go_by_their_labels(labelled):
    X, y, _ = labelled
    w = xr.DataArray(np.linspace(0.1, 5, N), dims="time", coords={"time": X["time"]})
    for fit in (
        lambda w: EMOS().fit(X, y, sample_weight=w).coefficients_,
        lambda w: EGMM(2, random_state=0).fit(X, sample_weight=w).means_,
        lambda w: EGMM(2, random_state=0).fit(X.chunk(time=50), sample_weight=w).means_,
        lambda w: select_components(EGMM(random_state=0), X, [1, 2], sample_weight=w).table["bic"],
        lambda w: EGMM(2, random_state=0).fit(X).bic(X, sample_weight=w),
    ):
        expected = fit(w.to_numpy())
        np.testing.assert_array_equal(fit(w[::-1]), expected)
        assert not np.allclose(fit(w.to_numpy()[::-1]), expected, rtol=1e-5)


def test_weights_of_a_chunked_grid_go_by_their_labels():
    rng = np.random.default_rng(3)
    X = xr.DataArray(
        rng.normal(size=(30, 4, 5)) + 4 * rng.integers(0, 2, (30, 4, 1)),
        dims=("time", "station", "number"),
        coords={"time": pd.date_range("2001", periods=30), "station": [*"abcd"]},
    ).chunk(time=10, station=2)
    w = xr.DataArray(rng.uniform(0, 2, (30, 4)), dims=("time", "station"), coords=X.isel(number=0).coords)
    found = [
        EGMM(2, random_state=0).fit(X, sample_weight=given).weights_ for given in (w, w.T, w[::-1, ::-1])
    ]
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_contexts_of_networks_go_by_their_labels(labelled):
    X, _, context = labelled
    models = [
        DEGMM(2, max_epochs=5, random_state=0).fit(X, context=given) for given in (context, context[::-1])
    ]
    expected = np.asarray(models[0].predict_proba(X, context=context))
    np.testing.assert_array_equal(models[1].predict_proba(X, context=context), expected)
    np.testing.assert_array_equal(models[0].predict_proba(X, context=context[::-1]), expected)
    lazy = models[0].predict_proba(X.chunk(time=50), context=context[::-1])
    np.testing.assert_allclose(lazy.compute(), expected, rtol=1e-12)


def test_coupling_goes_by_labels(labelled):
    X, y, _ = labelled
    forecast = EMOS().fit(X, y).predict(X)
    expected = ecc(forecast, X)
    for other in (X[::-1], X[..., ::-1], X.transpose("variable", "number", "time")[:, :, ::-1]):
        np.testing.assert_array_equal(ecc(forecast, other), expected)
    np.testing.assert_array_equal(ecc(forecast[:7], X[::-1]), expected[:7])
    transforms = xr.DataArray(pit(forecast, y), dims=y.dims, coords=y.coords)
    coupled = error_copula(forecast, transforms, random_state=0)
    np.testing.assert_array_equal(error_copula(forecast, transforms[:, ::-1].T, random_state=0), coupled)
    np.testing.assert_array_equal(error_copula(forecast, pit(forecast, y), random_state=0), coupled)
    past = y[:50]
    shuffled = schaake_shuffle(forecast, past)
    np.testing.assert_array_equal(schaake_shuffle(forecast, past[:, ::-1].T), shuffled)
    np.testing.assert_array_equal(schaake_shuffle(forecast, past.to_numpy()), shuffled)


def test_scores_of_the_same_cases_go_by_labels(labelled):
    X, y, _ = labelled
    a = EMOS().fit(X, y).predict(X).crps(y)[:, 0]
    b = xr.DataArray(crps_ensemble(X, y)[:, 0], dims="time", coords={"time": X["time"]})
    assert diebold_mariano(a, b[::-1]) == diebold_mariano(a, b) == diebold_mariano(a, b.to_numpy())
    tables = [skill_table({"a": a, "b": other}, "b", n_replicates=50) for other in (b, b[::-1])]
    np.testing.assert_allclose(tables[0]["mean"], tables[1]["mean"], rtol=1e-14)  # summed in another order
    assert tables[1].loc["a", "p_value"] == pytest.approx(tables[0].loc["a", "p_value"], rel=1e-9)
    with pytest.raises(ValueError, match=r"scores_b: no value for time .*\(1 of 120 such cases\)"):
        diebold_mariano(a, b[1:])


def test_answers_have_the_variables_in_the_order_of_the_question(labelled):
    X, y, _ = labelled
    forward, back = (
        Ensemble.from_numpy(
            X.to_numpy()[..., order],
            variables=np.array(["a", "b"])[order],
            observations=y.to_numpy()[:, order],
        )
        for order in (slice(None), slice(None, None, -1))
    )
    model = EMOS().fit(forward)
    forecast, other = model.predict(forward), model.predict(back)
    assert forecast.variables == ("a", "b")
    assert other.variables == ("b", "a")
    np.testing.assert_allclose(
        other.crps(back.observations)[:, ::-1], forecast.crps(forward.observations), rtol=1e-12
    )
    np.testing.assert_allclose(ecc(other, back)[..., ::-1], ecc(forecast, forward), rtol=1e-12)
    assert model.score(back) == pytest.approx(model.score(forward), rel=1e-12)
    turned = X[..., ::-1]
    assert [*model.predict(turned).mean()["variable"].to_numpy()] == ["b", "a"]
    lazy = model.predict(turned.chunk(time=50)).mean()
    assert [*lazy["variable"].to_numpy()] == ["b", "a"]
    np.testing.assert_allclose(lazy.sel(variable=["a", "b"]).compute(), forecast.mean(), rtol=1e-12)


def test_a_context_called_variable_is_none_of_the_ensembles(labelled):
    X, y, context = labelled
    columns = xr.concat([context, context**2], dim="variable").assign_coords(variable=["b", "z"]).T
    expected = EMOS().fit(X, y, context=columns.to_numpy()).predict(X, columns.to_numpy()).mean()
    model = EMOS().fit(X, y, context=columns)
    np.testing.assert_array_equal(model.predict(X, columns[::-1]).mean(), expected)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_context_of_regimes_goes_by_its_labels(labelled):
    X, y, context = labelled
    mixture = DEGMM(2, max_epochs=5, random_state=0)
    model = RegimeEMOS(2, mixture=mixture, random_state=0).fit(X, y, context=context)
    for answer in (model.predict_proba, lambda X, context: model.predict(X, context).mean()):
        np.testing.assert_array_equal(answer(X, context[::-1]), answer(X, context))


def test_dimensions_of_one_case_may_be_missing(labelled):
    X, y, context = labelled
    at_one = X.expand_dims(station=["x"])
    model = EMOS().fit(at_one, y, context=context[::-1], sample_weight=abs(context))
    expected = EMOS().fit(X, y, context=context, sample_weight=abs(context))
    np.testing.assert_array_equal(model.coefficients_, expected.coefficients_)


def test_masks_are_refused_in_weights_and_contexts_of_chunks(labelled):
    X, y, context = labelled
    masked = np.ma.array(np.ones(N), mask=np.arange(N) == 4)
    chunked = X.chunk(time=50)
    with pytest.raises(ValueError, match="got nan at ensemble 4"):
        EGMM(2, random_state=0).fit(chunked, sample_weight=masked)
    model = EMOS().fit(X, y, context=context)
    with pytest.raises(ValueError, match="context: nan at ensemble 4"):
        model.predict(chunked, masked).mean().compute()
    with pytest.raises(ValueError, match="sample_weight: its labels cannot be matched to blocks"):
        EGMM(2).fit([X.to_numpy()[:60], X.to_numpy()[60:]], sample_weight=abs(context))


def test_regimes_have_the_same_numbers_everywhere(labelled):
    X, y, _ = labelled
    model = RegimeEMOS(2, random_state=0).fit(X, y)
    gamma = model.predict_proba(X)
    assert gamma.dims == ("time", "regime")
    shares = gamma.mean("time")
    for k in gamma["regime"].to_numpy():
        assert model.regimes_.xs(k, level="regime")["share"].iloc[0] == pytest.approx(
            float(shares.sel(regime=k))
        )


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
    assert model.score(turned) == pytest.approx(model.score(data), rel=1e-12)
    assert model.score(turned, turned.observations) == pytest.approx(model.score(data), rel=1e-12)
    forecast = model.predict(turned)
    np.testing.assert_array_equal(ecc(forecast, turned), ecc(forecast, data))
    np.testing.assert_array_equal(
        forecast_dataset(turned, forecast)["forecast_mean"].sel(variable="a"),
        np.asarray(forecast.mean())[:, 1],
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
    for observed in (y[::-1], y[:, 1], y.sel(variable=["b"])):
        np.testing.assert_array_equal(forecast.margin("b").crps(observed), forecast.crps(y)[:, 1])
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
