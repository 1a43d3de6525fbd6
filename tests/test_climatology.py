"""The seasonal cycle: fitted on the training part, kept with the model, taken off raw data."""

import datetime

import numpy as np
import pytest
import xarray as xr
from conftest import real_file

import degmm
from degmm import EGMM, Ensemble, read_ensemble
from degmm.ensembles.times import as_times, day_of_year


def seasonal(n=1461, start="2015-01-01", *, station=False, seed=0, dtype=np.float64):
    """Two clusters of departures from a cycle of 10 K, by day; of two stations, with cycles of their own."""
    rng = np.random.default_rng(seed)
    days = np.arange(n) + np.datetime64(start, "D")
    place = np.arange(n) % 2 if station else np.zeros(n, int)
    angle = 2 * np.pi * day_of_year(days) / 365.25
    cycle = np.stack([280 - 10 * np.cos(angle) + 30 * place, 5 + np.sin(angle)], axis=-1)
    labels = rng.integers(0, 2, n)
    values = cycle[:, None] + (labels * 4 - 2)[:, None, None] + rng.normal(0, 0.5, (n, 5, 2))
    names = np.array(["north", "south"])[place]
    coords = {"time": days.astype("datetime64[ns]"), **({"station": names} if station else {})}
    data = Ensemble.from_numpy(
        values.astype(dtype), ["t2m", "wind"], units=["K", "m s-1"], coords=coords, observations=cycle
    )
    return data, cycle, labels


def test_the_cycle_is_found_and_taken_off():
    data, cycle, _ = seasonal()
    left = data.anomalies()
    np.testing.assert_allclose(data.values - left.values, np.repeat(cycle[:, None], 5, axis=1), atol=0.3)
    np.testing.assert_allclose(left.observations, 0, atol=0.3)
    assert abs(left.values.mean()) < 1e-3
    assert left.notes[-1] == "anomalies from the mean by dayofyear"
    assert left.units == data.units
    with pytest.raises(ValueError, match="a climatology was taken off these ensembles before"):
        left.anomalies()


@pytest.mark.parametrize("by", ["dayofyear", "month", ("dayofyear", "station"), ["month", "station"]])
def test_a_model_of_anomalies_takes_raw_data(tmp_path, by):
    data, _, labels = seasonal(station=True, dtype=np.float32)
    train, test = data.split("2018-01-01")
    assert (len(train), len(test)) == (1096, 365)
    anomalies = train.anomalies(by)
    model = EGMM(2, n_init=1, random_state=0).fit(anomalies)
    degmm.save(model, tmp_path / "model")
    again = degmm.load(tmp_path / "model")
    expected = model.predict(test.anomalies(climatology=anomalies.climatology))
    for one in (model, again):
        np.testing.assert_array_equal(one.predict(test), expected)
        np.testing.assert_array_equal(
            one.predict(
                test.to_xarray()["t2m"].to_dataset().assign(test.to_xarray()).pipe(Ensemble.from_xarray)
            ),
            expected,
        )
        np.testing.assert_array_equal(one.score_samples(test[7:9]), model.score_samples(test)[7:9])
    if "station" in by:  # else the stations, not the departures, are the clusters
        hits = np.mean(expected == labels[1096:])
        assert max(hits, 1 - hits) > 0.99
    assert again.climatology_.same(anomalies.climatology)
    with pytest.raises(ValueError, match="anomalies from another climatology than the model's"):
        again.predict(test.anomalies(by))
    with pytest.raises(
        ValueError, match="the model is one of anomalies; pass an Ensemble or DataArray with dates"
    ):
        again.predict(test.values)
    with pytest.raises(ValueError, match="in 'degC'; the model was fitted to 'K': convert it first"):
        again.predict(
            Ensemble.from_numpy(test.values, test.variables, units=("degC", "m/s"), coords=test.coords)
        )


def test_a_model_of_values_takes_no_anomalies():
    data, _, _ = seasonal()
    model = EGMM(1, n_init=1, random_state=0).fit(data)
    with pytest.raises(ValueError, match="these are anomalies; the model was fitted to values as they are"):
        model.predict(data.anomalies())


def test_variables_of_a_climatology_are_matched_by_name():
    data, _, _ = seasonal()
    climatology = data.anomalies().climatology
    turned = data.take_variables([1, 0]).anomalies(climatology=climatology)
    np.testing.assert_allclose(turned.values[..., ::-1], data.anomalies().values, atol=1e-12)
    assert turned.climatology.variables == ("wind", "t2m")
    one = data.take_variables([1]).anomalies(climatology=climatology)
    np.testing.assert_allclose(one.values[..., 0], data.anomalies().values[..., 1], atol=1e-12)
    left = data.anomalies().take_variables([1])
    assert left.climatology.same(one.climatology)
    other = Ensemble.from_numpy(data.values, ["t2m", "rain"], coords=data.coords)
    with pytest.raises(ValueError, match="the climatology has no variable 'rain'; it is of t2m, wind"):
        other.anomalies(climatology=climatology)


def test_days_of_leap_years_are_days_of_the_year():
    days = np.array(["2019-12-31", "2020-02-29", "2020-12-31", "2021-01-01T12"], "datetime64[m]")
    np.testing.assert_allclose(day_of_year(days), [364, 59, 365, 0.5])
    data, _, _ = seasonal()
    climatology = data.anomalies().climatology
    at = np.array(["2016-02-29", "2016-12-31", "2100-02-28", "1896-02-29"], "datetime64[ns]")
    cases = Ensemble.from_numpy(np.zeros((4, 2, 2)), data.variables, coords={"time": at})
    cycle = climatology.of(cases)
    np.testing.assert_allclose(cycle[0], cycle[3], atol=1e-12)
    np.testing.assert_allclose(cycle[0], cycle[2], atol=0.3)


def test_months_that_were_never_seen():
    data, _, _ = seasonal()
    month = data.coords["time"].astype("datetime64[M]").astype(int) % 12
    winter = data[np.isin(month, [11, 0, 1])]
    with pytest.raises(ValueError, match=r"case 59 is of month 3, which the climatology has not seen"):
        data.anomalies(climatology=winter.anomalies("month").climatology)
    with pytest.raises(ValueError, match=r"case 59 is of month 3, which the climatology has not seen"):
        data.anomalies(climatology=winter.anomalies("dayofyear").climatology)
    np.testing.assert_allclose(winter.anomalies().values.mean(), 0, atol=0.01)
    # a curve holds in one month between two others, a mean does not
    without_may = data[month != 4]
    close = data.anomalies(climatology=without_may.anomalies().climatology).values
    np.testing.assert_allclose(close, data.anomalies().values, atol=0.5)
    with pytest.raises(ValueError, match="of month 5"):
        data.anomalies(climatology=without_may.anomalies("month").climatology)


@pytest.mark.parametrize("rows", [slice(0, 25), slice(0, 5), slice(7, 8)])
def test_a_cycle_is_not_told_from_a_month(rows):
    data, _, _ = seasonal()
    with pytest.raises(ValueError, match=r"do not cover the year, so a cycle by 'dayofyear' .*; try 'month'"):
        data[rows].anomalies()
    assert len(data[rows].anomalies("month"))


def test_groups_and_their_labels():
    data, cycle, _ = seasonal(station=True)
    left = data.anomalies(["dayofyear", "station"])
    np.testing.assert_allclose(data.values - left.values, np.repeat(cycle[:, None], 5, axis=1), atol=0.5)
    only_north = data[data.coords["station"] == "north"].anomalies(("dayofyear", "station")).climatology
    with pytest.raises(ValueError, match="case 1 is of south, which the climatology does not know"):
        data.anomalies(climatology=only_north)
    with pytest.raises(ValueError, match=r"by: no coordinate 'site' \(coordinates: time, station\)"):
        data.anomalies(("month", "site"))
    with pytest.raises(ValueError, match="by: expected 'dayofyear' or 'month' first, got 'year'"):
        data.anomalies("year")
    numbered = Ensemble.from_numpy(
        data.values, data.variables, coords={**data.coords, "station": np.arange(len(data)) % 2}
    )
    climatology = numbered.anomalies(("month", "station")).climatology
    floats = Ensemble.from_numpy(
        data.values, data.variables, coords={**data.coords, "station": (np.arange(len(data)) % 2) * 1.0}
    )
    np.testing.assert_array_equal(
        floats.anomalies(climatology=climatology).values, numbered.anomalies(("month", "station")).values
    )
    gap = np.array([*data.coords["station"][:-1], ""])
    with pytest.raises(ValueError, match="by: case 1460 has no station"):
        Ensemble.from_numpy(data.values, data.variables, coords={**data.coords, "station": gap}).anomalies(
            ("month", "station")
        )


def test_absent_members_do_not_count():
    data, _, _ = seasonal()
    values = data.values.copy()
    values[:, 1:, 0] = np.nan
    values[3] = np.nan
    values[::7, 0] = np.nan
    gaps = Ensemble.from_numpy(values, data.variables, coords=data.coords)
    whole = Ensemble.from_numpy(values[:, :1], data.variables, coords=data.coords)
    assert gaps.anomalies().climatology.same(whole.anomalies().climatology)
    assert np.isnan(gaps.anomalies().values[3]).all()


class Calendar360:
    """A date as cftime gives it, in a calendar of twelve months of thirty days."""

    def __init__(self, year, month, day):
        self.year, self.month, self.day, self.hour, self.minute, self.second = year, month, day, 12, 0, 0


def test_dates_of_other_kinds():
    days = np.arange("2020-01-01", "2021-01-01", dtype="datetime64[D]")
    for labels in (
        days.astype("datetime64[s]"),
        days.astype(str),
        days.astype(object),
        np.array(
            [datetime.datetime(d.year, d.month, d.day, tzinfo=datetime.UTC) for d in days.tolist()], object
        ),
    ):
        np.testing.assert_array_equal(as_times(labels), days)
    strange = np.array([Calendar360(2001, 2, 30), Calendar360(2001, 12, 30), None], object)
    times = as_times(strange)
    assert times[:2].astype(str).tolist() == ["2001-02-28T12:00:00.000000", "2001-12-30T12:00:00.000000"]
    assert np.isnat(times[2])
    for labels in (
        np.arange(3),
        ["a", "b"],
        ["2020-01-01", "b"],
        [None, np.nan],
        ["2020-13-01"],
        np.array([1.5, "x"], object),
    ):
        assert as_times(np.asarray(labels)) is None


def test_a_cycle_by_dates_of_cftime():
    cftime = [Calendar360(2000 + y, m, d) for y in range(2) for m in range(1, 13) for d in range(1, 31)]
    times = np.empty(len(cftime), object)
    times[:] = cftime
    values = np.array([[[t.month], [t.month + 1]] for t in times], float)
    left = Ensemble.from_numpy(values, coords={"time": times}).anomalies("month")
    np.testing.assert_allclose(left.values[..., 0], np.tile([-0.5, 0.5], (720, 1)))
    assert len(Ensemble.from_numpy(values, coords={"time": times}).split(0.5)[0]) == 360


def test_cases_without_dates_are_named():
    data, _, _ = seasonal()
    times = data.coords["time"].copy()
    times[8] = np.datetime64("NaT")
    with pytest.raises(ValueError, match="anomalies: case 8 has no date in 'time'"):
        Ensemble.from_numpy(data.values, coords={"time": times}).anomalies()
    with pytest.raises(
        ValueError, match=r"the cases have no coordinate of dates .coordinates: none.; add one named 'time'"
    ):
        Ensemble.from_numpy(data.values).anomalies()


def test_anomalies_of_packed_integers_are_not_cut_to_them(tmp_path):
    data, _, _ = seasonal(400)
    raw = data.to_xarray()[["t2m"]].round().astype("int16")
    raw["hres"] = raw["t2m"].isel(member=0).drop_vars("member")
    left = Ensemble.from_xarray(raw).anomalies("month")
    back = left.to_xarray()
    np.testing.assert_array_equal(back["t2m"], left.values[..., 0])
    assert set(back.data_vars) == {"t2m"}
    packed = {"t2m": {"dtype": "int16", "scale_factor": 0.001, "add_offset": 280.0, "_FillValue": -32768}}
    data.to_xarray()[["t2m"]].to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding=packed)
    left = read_ensemble(tmp_path / "a.nc").anomalies()
    left.to_xarray().to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    np.testing.assert_array_equal(read_ensemble(tmp_path / "b.nc").values, left.values)


def test_german_forecasts_as_anomalies():
    train, test = read_ensemble(real_file("germany_ecmwf_t2m.nc")).dropna().split("2010-01-01")
    left = train.anomalies()
    assert left.values.dtype == np.float32
    assert left.values.std() < 0.6 * train.values.std()
    beyond = test.anomalies(climatology=left.climatology)
    assert beyond.values.std() < 0.6 * test.values.std()
    xr.testing.assert_identical(left.to_xarray().coords.to_dataset(), train.to_xarray().coords.to_dataset())
