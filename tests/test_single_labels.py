"""A single date, step or height labels all cases, in files and arrays alike, of forecasts and of observations."""

import datetime

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from degmm import GMM, Ensemble, read_ensemble
from degmm.calibration import EMOS
from degmm.ensembles.texts import plain_texts, texts_of
from degmm.verification import crps_ensemble, energy_score, ranks

N, M = 12, 4
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(N, M)), rng.normal(size=N)
DAYS = pd.date_range("2020-01-01", periods=N)
FORECASTS = xr.DataArray(X, dims=("time", "member"), coords={"time": DAYS})
OBSERVED = xr.DataArray(Y, dims="time", coords={"time": DAYS})


# --- arrays ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["2020-01-31", 2.0, np.timedelta64(24, "h"), ["00"], np.array(7), b"run"])
def test_a_single_label_of_arrays(label, tmp_path):
    data = Ensemble.from_numpy(X, coords={"label": label})
    assert len(data.coords["label"]) == N
    assert {*data.coords["label"].tolist()} == {np.asarray(label).reshape(1).tolist()[0]}
    np.savez(tmp_path / "a.npz", X=X[..., None], label=label)
    found = read_ensemble(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.coords["label"], data.coords["label"])
    assert not any("left out" in note for note in found.notes)


def test_one_case_keeps_its_labels():
    assert Ensemble.from_numpy(X[:1, :, None], coords={"time": ["2020-01-31"]}).coords["time"].shape == (1,)
    with pytest.raises(ValueError, match="coords: 'time' has 2 labels"):
        Ensemble.from_numpy(X, coords={"time": ["2020-01-31", "2020-02-01"]})


# --- dimensions of one place, on either side ------------------------------------------------------------


@pytest.mark.parametrize("name", ["height", "level", "step", "station", "run", "forecast_reference_time"])
@pytest.mark.parametrize("place", [0, 1])
def test_observations_with_a_dimension_of_one_place(name, place):
    observed = OBSERVED.expand_dims({name: [2]}, axis=place)
    np.testing.assert_array_equal(crps_ensemble(FORECASTS, observed), crps_ensemble(X, Y))
    np.testing.assert_array_equal(ranks(FORECASTS, observed), ranks(X, Y))
    assert EMOS().fit(FORECASTS, observed).crps_ == EMOS().fit(X, Y).crps_


@pytest.mark.parametrize("name", ["height", "step"])
def test_forecasts_with_a_dimension_of_one_place(name):
    forecasts = FORECASTS.expand_dims({name: [2]}, axis=1)
    for observed in (OBSERVED, OBSERVED.expand_dims({name: [2]}), OBSERVED.assign_coords({name: 2})):
        np.testing.assert_array_equal(crps_ensemble(forecasts, observed), crps_ensemble(X, Y))


def test_one_forecast_and_its_observation():
    one, seen = FORECASTS.isel(time=3), OBSERVED.isel(time=3)
    expected = crps_ensemble(X[3:4], Y[3:4])
    for forecast in (one, FORECASTS.isel(time=[3])):
        for observed in (seen, OBSERVED.isel(time=[3]), seen.drop_vars("time")):
            np.testing.assert_array_equal(crps_ensemble(forecast, observed), expected)
    with pytest.raises(ValueError, match="y: no value for time"):
        crps_ensemble(one, OBSERVED.isel(time=[4]))


def test_stations_of_one_date():
    stations = [f"s{k}" for k in range(N)]
    forecasts = xr.DataArray(X, dims=("station", "member"), coords={"station": stations, "time": DAYS[0]})
    data = Ensemble.from_xarray(forecasts)
    assert (data.coords["time"] == DAYS[0]).all()
    observed = xr.DataArray(Y[::-1], dims="station", coords={"station": stations[::-1], "time": DAYS[0]})
    for seen in (observed, observed.expand_dims("time"), observed.expand_dims("time", axis=1)):
        np.testing.assert_array_equal(crps_ensemble(data, seen), crps_ensemble(X, Y))
    first, second = data.split(0.5)
    np.testing.assert_array_equal(first.values, data.values[:6])
    assert len(second) == 6
    with pytest.raises(ValueError, match="leaves all 12 cases on one side"):
        data.split("2020-01-01")


def test_several_variables_with_a_height_of_one_place():
    both = np.stack([X, X[::-1]], axis=2), np.stack([Y, Y[::-1]], axis=1)
    forecasts = xr.DataArray(
        both[0], dims=("time", "member", "variable"), coords={"time": DAYS, "variable": ["a", "b"]}
    )
    seen = xr.DataArray(both[1], dims=("time", "variable"), coords={"time": DAYS, "variable": ["a", "b"]})
    for observed in (seen, seen.expand_dims("height"), seen.expand_dims("height", axis=2)):
        np.testing.assert_array_equal(energy_score(forecasts, observed), energy_score(*both))


def test_a_model_predicts_one_forecast():
    model = GMM(1, n_init=1).fit(FORECASTS.isel(member=[0]))
    one = FORECASTS.isel(member=[0])
    expected = float(model.score_samples(one)[3])
    for today in (one.isel(time=3), one.isel(time=[3])):
        assert float(np.ravel(model.score_samples(today))[0]) == pytest.approx(expected)


# --- labels that are the same ---------------------------------------------------------------------------

LEADS = [6, 12, 18, 24]
SAME = {
    "hours of NumPy": np.array(LEADS, "m8[h]"),
    "nanoseconds": np.array(LEADS, "m8[h]").astype("m8[ns]"),
    "Python's": np.array([datetime.timedelta(hours=h) for h in LEADS], object),
    "floats": np.array(LEADS, float),
    "text": np.array([f"{h}h" for h in LEADS]),
    "other text": np.array([f"{h} hours" for h in LEADS]),
}


@pytest.mark.parametrize("kind", SAME)
def test_leads_are_the_same_in_any_unit(kind):
    forecasts = xr.DataArray(X[:4], dims=("step", "member"), coords={"step": SAME["nanoseconds"]})
    observed = xr.DataArray(Y[3::-1], dims="step", coords={"step": SAME[kind][::-1]})
    np.testing.assert_array_equal(crps_ensemble(forecasts, observed), crps_ensemble(X[:4], Y[:4]))
    if "text" not in kind:
        assert plain_texts(SAME[kind]).tolist() == ["6", "12", "18", "24"]


PLACES = [47.1, 48.3, 10361, 5.7]


@pytest.mark.parametrize("other", [np.float32, np.float64, object, str])
def test_places_in_single_precision(other):
    forecasts = xr.DataArray(X[:4], dims=("lat", "member"), coords={"lat": np.array(PLACES, np.float32)})
    observed = xr.DataArray(Y[:4], dims="lat", coords={"lat": np.array(PLACES).astype(other)})
    np.testing.assert_array_equal(crps_ensemble(forecasts, observed[::-1]), crps_ensemble(X[:4], Y[:4]))
    assert texts_of(np.array(PLACES, np.float32), "by", "lat").tolist() == ["47.1", "48.3", "10361", "5.7"]


def test_dates_that_miss_the_hour_by_rounding():
    hours = pd.date_range("2020-01-01", periods=4, freq="h")
    rounded = hours.to_numpy().astype("M8[us]") + np.array([0, 3, -2, 1], "m8[us]")  # as of fractions of days
    forecasts = xr.DataArray(X[:4], dims=("time", "member"), coords={"time": rounded})
    observed = xr.DataArray(Y[3::-1], dims="time", coords={"time": hours[::-1]})
    np.testing.assert_array_equal(crps_ensemble(forecasts, observed), crps_ensemble(X[:4], Y[:4]))
    apart = hours[:1].append(
        hours[:3] + pd.to_timedelta([1, 2, 3], unit="ms")
    )  # that seconds do not tell apart
    forecasts = forecasts.assign_coords(time=apart)
    np.testing.assert_array_equal(
        crps_ensemble(forecasts, observed.assign_coords(time=apart[::-1])), crps_ensemble(X[:4], Y[:4])
    )


OTHERS = {
    "categories": pd.CategoricalIndex(list("abcd")),
    "text of pandas": pd.Index(list("abcd"), dtype="string"),
    "bytes": np.array(list("abcd"), "S1"),
    "objects": np.array(list("abcd"), object),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_names_of_other_types(kind):
    forecasts = xr.DataArray(X[:4], dims=("site", "member"), coords={"site": list("abcd")})
    observed = xr.DataArray(Y[:4], dims="site", coords={"site": OTHERS[kind]})
    np.testing.assert_array_equal(crps_ensemble(forecasts, observed[::-1]), crps_ensemble(X[:4], Y[:4]))


def test_dates_of_pandas_in_a_zone_and_as_periods():
    for days in (
        DAYS.tz_localize("UTC"),
        DAYS.to_period("D"),
        DAYS.astype("datetime64[s]"),
        DAYS.strftime("%Y%m%d"),
    ):
        observed = xr.DataArray(Y[::-1], dims="time", coords={"time": np.asarray(days)[::-1]})
        np.testing.assert_array_equal(crps_ensemble(FORECASTS, observed), crps_ensemble(X, Y))
