"""The gates that all inputs pass: numbers, units, times and labels, whatever takes them."""

import datetime
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from test_cli import degmm

from degmm import GMM, Ensemble, read_ensemble
from degmm.calibration import EMOS, Forecast
from degmm.cli.regime_pictures import draw_regimes, has_times
from degmm.cli.tabular import write_table
from degmm.ensembles import ContextRecipe, as_members
from degmm.ensembles.storable import storable
from degmm.ensembles.texts import texts_of
from degmm.ensembles.times import as_times, compact_times, find_times, times_of
from degmm.ensembles.units import same_unit
from degmm.plotting import new_figure
from degmm.plotting import responsibilities as draw
from degmm.results import netcdf_bytes
from degmm.verification import crps_ensemble, energy_score, ranks, spread_skill

MEMBERS = np.arange(12.0).reshape(4, 3)
OBSERVED = np.arange(4.0)
DAYS = pd.date_range("2020-01-30", periods=4)
TEXT_DAYS = [str(day)[:10] for day in DAYS]


# --- numbers ------------------------------------------------------------------------------------


NO_NUMBERS = {
    "durations": OBSERVED.astype("m8[s]"),
    "dates": OBSERVED.astype("M8[D]"),
    "complex": OBSERVED + 1j,
    "dates of pandas": pd.Series(DAYS),
    "durations of pandas": pd.Series(pd.to_timedelta(OBSERVED, unit="h")),
    "durations of Python": np.array([datetime.timedelta(hours=k) for k in range(4)], object),
    "days of Python": [datetime.date(2020, 1, 1 + k) for k in range(4)],
    "complex objects": np.array([1 + 5j, 1, 2, 3], object),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_nothing_takes_dates_durations_or_complex_numbers_for_numbers(kind):
    bad = NO_NUMBERS[kind]
    forecast = Forecast(np.ones((4, 1)), OBSERVED[:, None], np.ones((4, 1)))
    takers = {
        "y: ": [
            lambda: crps_ensemble(MEMBERS, bad),
            lambda: ranks(MEMBERS, bad),
            lambda: spread_skill(MEMBERS, bad),
            lambda: energy_score(MEMBERS[..., None], bad),
            lambda: forecast.crps(bad),
            lambda: EMOS().fit(MEMBERS, bad),
        ],
        "X: ": [lambda: crps_ensemble(np.stack([np.asarray(bad)] * 3, axis=1), OBSERVED)],
        "observations: ": [lambda: Ensemble.from_numpy(MEMBERS[..., None], observations=bad)],
        "sample_weight: ": [lambda: GMM(2, n_init=1).fit(MEMBERS, sample_weight=bad)],
    }
    for name, calls in takers.items():
        for call in calls:
            with pytest.raises(ValueError, match=f"^{name}.*(omplex|dates or durations)"):
                call()


def test_an_ensemble_holds_no_other_observations():
    with pytest.raises(ValueError, match="observations: expected real numbers, got dtype timedelta64"):
        Ensemble(MEMBERS[..., None], ("a",), observations=OBSERVED[:, None].astype("m8[s]"))


GAPS = {
    "objects": np.array([[1.5, pd.NA], [None, 2]], object),
    "nullable": pd.DataFrame({"a": [1.5, None], "b": [None, 2]}).convert_dtypes(),
    "pyarrow": pd.DataFrame({"a": [1.5, None], "b": [None, 2.0]}, dtype="double[pyarrow]"),
    "a list": [[1.5, pd.NA], [pd.NaT, 2]],
    "decimal numbers": [[Decimal("1.5"), None], [float("nan"), 2]],
    "masked": np.ma.array([[1.5, 0], [0, 2]], mask=[[0, 1], [1, 0]]),
}


@pytest.mark.parametrize("kind", GAPS)
def test_what_is_missing_is_so_however_it_is_written(kind):
    expected = np.array([[1.5, np.nan], [np.nan, 2]])
    np.testing.assert_array_equal(Ensemble.from_numpy(GAPS[kind]).values[:, 0], expected)
    np.testing.assert_array_equal(
        crps_ensemble(GAPS[kind], [1, pd.NA]), crps_ensemble(expected, np.array([1, np.nan]))
    )


def test_a_fit_takes_the_missing_values_of_pandas():
    X = np.random.default_rng(0).normal(size=(40, 3, 2))
    gaps = X.astype(object)
    gaps[0, 0, 0], X[0, 0, 0] = pd.NA, np.nan
    np.testing.assert_array_equal(as_members(gaps), as_members(X))


def test_ensembles_of_several_sizes_are_filled_up():
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(2 + i % 3, 2)).astype(np.float32) for i in range(6)]
    found = as_members(parts)
    assert (found.shape, found.dtype) == ((6, 4, 2), np.float32)
    for part, whole in zip(parts, found, strict=True):
        np.testing.assert_array_equal(whole[: len(part)], part)
        assert np.isnan(whole[len(part) :]).all()
    boxed = np.empty(6, object)
    boxed[:] = parts
    np.testing.assert_array_equal(as_members(boxed), found)
    np.testing.assert_array_equal(as_members([part.tolist() for part in parts]), found)
    np.testing.assert_array_equal(Ensemble.from_numpy(parts).values, found)
    assert GMM(1, n_init=1).fit([[0.0, 1], [1, 0], [2, 2]]).n_features_in_ == 2


@pytest.mark.parametrize(
    ("parts", "shapes"),
    [
        ([[1.0, 2], [1.0]], r"\(2,\), \(1,\)"),
        ([np.zeros((2, 2)), np.zeros((2, 3))], r"\(2, 2\), \(2, 3\)"),
        ([np.zeros((2, 2)), np.zeros(2)], r"\(2, 2\), \(2,\)"),
    ],
)
def test_parts_that_are_no_ensembles(parts, shapes):
    with pytest.raises(ValueError, match=f"^X: its parts have different shapes, {shapes}; .*NaN"):
        as_members(parts)


# --- units --------------------------------------------------------------------------------------


def in_units(members, observations):
    coords = {"time": DAYS}
    arrays = {
        "t2m": (("time", "member"), 280 + MEMBERS, {"units": members}),
        "obs": ("time", 280 + OBSERVED, {"units": observations} if observations else {}),
    }
    return xr.Dataset(arrays, coords=coords)


@pytest.mark.parametrize("pair", [("K", "degC"), ("Pa", "hPa"), ("m", "mm"), ("m s-1", "knots")])
def test_observations_in_another_unit_are_refused(pair, tmp_path):
    data = in_units(*pair)
    message = f"'obs'.* in '{pair[1]}', and the members of t2m in '{pair[0]}'"
    with pytest.raises(ValueError, match=message):
        Ensemble.from_xarray(data)
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match=message):
        read_ensemble(tmp_path / "a.nc")
    for call in (crps_ensemble, EMOS().fit):
        with pytest.raises(ValueError, match=f"^y: in '{pair[1]}', and the members of t2m in '{pair[0]}'"):
            call(data["t2m"], data["obs"])


@pytest.mark.parametrize(
    "pair", [("K", "kelvin"), ("hPa", "mbar"), ("mm", "kg m**-2"), ("K", ""), ("deg C", "degree_Celsius")]
)
def test_units_that_are_the_same_or_unknown(pair):
    data = in_units(*pair)
    assert Ensemble.from_xarray(data).observations is not None
    assert crps_ensemble(data["t2m"], data["obs"]).shape == (4,)
    assert not same_unit("mPa", "MPa")


def test_units_of_each_variable():
    X = Ensemble.from_numpy(
        np.stack([MEMBERS, MEMBERS], axis=2),
        ["a", "b"],
        units=("K", "m"),
        case_dim="time",
        coords={"time": DAYS},
    )
    y = xr.DataArray(
        np.stack([OBSERVED, OBSERVED], axis=1),
        dims=("time", "variable"),
        coords={"time": DAYS, "variable": ["b", "a"], "units": ("variable", ["m", "degC"])},
    )
    with pytest.raises(ValueError, match="y: in 'degC', and the members of a in 'K'"):
        energy_score(X, y)
    right = y.assign_coords(units=("variable", ["metre", "K"]))
    assert energy_score(X, right).shape == (4,)
    assert energy_score(X, y.drop_vars("units").assign_attrs(units="K")).shape == (4,)
    with pytest.raises(ValueError, match="y: in 'Pa'"):
        energy_score(X, y.drop_vars("units").assign_attrs(units="Pa"))


# --- times --------------------------------------------------------------------------------------


WRITTEN = {
    "text": TEXT_DAYS,
    "UTC": [f"{day}T00:00:00Z" for day in TEXT_DAYS],
    "basic": [day.replace("-", "") + "T0000Z" for day in TEXT_DAYS],
    "bytes": np.array(TEXT_DAYS, "S"),
    "objects of bytes": np.array([day.encode() for day in TEXT_DAYS], object),
    "with blanks": [f" {day} " for day in TEXT_DAYS],
    "days of Python": [day.date() for day in DAYS],
    "datetime64 in objects": np.array([np.datetime64(day) for day in TEXT_DAYS], object),
    "periods": pd.period_range("2020-01-30", periods=4, freq="D").to_numpy(),
    "with underscores": np.array([f"{day}_00:00:00" for day in TEXT_DAYS], "S19"),
    "in words": [f"{day} 00 UTC" for day in TEXT_DAYS],
    "basic with blanks": [f"{day.replace('-', '')} 0000" for day in TEXT_DAYS],
    "in another zone": [f"{day}T01:00:00+01:00" for day in TEXT_DAYS],
    "of pandas in a zone": pd.DatetimeIndex(TEXT_DAYS, tz="Europe/Vienna") + pd.Timedelta("1h"),
    "objects of pandas": np.array(list(DAYS), object),
    "compact": [20200130, 20200131, 20200201, 20200202],
    "compact hours": [2020013000, 2020013100, 2020020100, 2020020200],
    "compact minutes": [202001300000, 202001310000, 202002010000, 202002020000],
    "compact seconds": [20200130000000, 20200131000000, 20200201000000, 20200202000000],
    "compact floats": [20200130.0, 20200131.0, 20200201.0, 20200202.0],
    "compact text": ["2020013000", "2020013100", "2020020100", "2020020200"],
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_dates_are_dates_however_they_are_written(kind, tmp_path):
    labels = WRITTEN[kind]
    data = Ensemble.from_numpy(MEMBERS[..., None], ["t"], case_dim="time", coords={"time": labels})
    name, times = find_times(data)
    assert name == "time"
    np.testing.assert_array_equal(times, DAYS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(data.split("2020-02-01")[0]) == 2
        assert len(data.split("2020-02-01T00:00Z")[0]) == 2
        assert len(data.split("20200201")[0]) == 2
    assert data.anomalies("month").climatology is not None
    assert has_times(data)
    draw_regimes(tmp_path / "a.png", data, np.full((4, 2), 0.5))
    assert (tmp_path / "a.png").exists()
    assert not data.notes
    y = xr.DataArray(OBSERVED[::-1], dims="time", coords={"time": DAYS[::-1]})
    np.testing.assert_array_equal(crps_ensemble(data, y), crps_ensemble(MEMBERS, OBSERVED))


def test_numbers_that_are_no_dates():
    for bad in (
        [20200230, 20200301],
        [2020013124],
        [20201301],
        [1577836800],
        [20200101.5],
        [np.inf, 20200101],
        [0, 6, 12],
        np.array([20200101], np.float32),
        [True],
        [],
        [10**17],
        ["20200101", "x"],
    ):
        assert compact_times(bad) is None
    gap = compact_times([20200101, np.nan])
    assert gap[0] == np.datetime64("2020-01-01")
    assert np.isnat(gap[1])
    assert find_times(Ensemble.from_numpy(MEMBERS, coords={"station": [20200101] * 4})) is None
    assert as_times(np.array([pd.NA, "2020-01-01"], object))[1] == np.datetime64("2020-01-01")
    assert as_times([pd.NA, "a"]) is None


def test_pictures_take_dates_as_all_else_does():
    axes = new_figure(size=(4, 3))[1][0]
    draw(axes, np.full((4, 2), 0.5), WRITTEN["UTC"], by="month")
    with pytest.raises(ValueError, match="times: expected dates"):
        draw(axes, np.full((4, 2), 0.5), np.array([1, 2, 3, 4], object))


def test_a_season_of_compact_dates():
    data = Ensemble.from_numpy(MEMBERS[..., None], coords={"date": [20200130, 20200131, 20200201, 20200202]})
    np.testing.assert_array_equal(times_of(data, "context"), DAYS)


def test_fit_describe_and_text_dates(tmp_path, capsys):
    days = [f"{day}T00:00:00Z" for day in np.arange("2020-01-01", "2020-02-10", dtype="M8[D]")]
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(40, 4)) + 4 * (np.arange(40)[:, None] % 2)).astype("float32")
    data = xr.Dataset({"t2m": (("time", "member"), values)}, coords={"time": days})
    data = data.assign_coords(clock=("time", np.array([datetime.time(6)] * 40, object)))
    table = data["t2m"].to_pandas().rename(columns="t2m_m{:02d}".format)
    table = table.assign(clock=datetime.time(6), latitude=Decimal("48.5"))
    table.to_parquet(tmp_path / "a.parquet")
    data.drop_vars("clock").to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    for name in ("a.nc", "a.parquet"):
        assert degmm("describe", tmp_path / name) == 0
        assert "cases from 2020-01-01 to 2020-02-09 (time)" in capsys.readouterr().out
    out = tmp_path / "out"
    assert degmm("fit", tmp_path / "a.parquet", "--K", 2, "--n-init", 2, "--no-progress", "-o", out) == 0
    assert (out / "regimes.png").exists()
    with xr.open_dataset(out / "clusters.nc") as clusters:
        assert clusters["clock"].to_numpy()[0] == "06:00:00"
        assert clusters["latitude"].to_numpy()[0] == "48.5"


# --- labels -------------------------------------------------------------------------------------


LABELS = {
    "times of the day": ([datetime.time(6), datetime.time(18)], ["06:00:00", "18:00:00"]),
    "decimal numbers": ([Decimal("48.5"), Decimal(3)], ["48.5", "3"]),
    "several types": ([1, "a"], ["1", "a"]),
    "text with a gap": (["a", None], ["a", ""]),
    "gaps alone": ([None, pd.NA], ["", ""]),
    "bytes": ([b"a", b"bc"], ["a", "bc"]),
    "complex": ([1 + 2j, 3], ["(1+2j)", "(3+0j)"]),
    "lists": ([[1, 2], [3]], ["[1, 2]", "[3]"]),
    "numbers": ([1, 2], [1, 2]),
    "numbers with a gap": ([1, pd.NA], [1, np.nan]),
    "days of Python": ([datetime.date(2020, 1, 1), None], np.array(["2020-01-01", "NaT"], "M8[D]")),
    "durations": ([datetime.timedelta(hours=6), pd.NaT], np.array([6, "NaT"], "m8[h]")),
    "periods": (
        list(pd.period_range("2020-01-01", periods=2, freq="D")),
        np.array(["2020-01-01", "2020-01-02"], "M8[D]"),
    ),
    "half precision": (np.array([0.5, 1], np.float16), [0.5, 1]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_type_can_be_stored(kind, tmp_path):
    labels, expected = LABELS[kind]
    if isinstance(labels, list):
        boxed = np.empty(2, object)
        boxed[:] = labels
        labels = boxed if kind != "complex" else np.array(labels)
    dataset = xr.Dataset({"x": ("case", [1.0, 2])}, coords={"label": ("case", labels)})
    (tmp_path / "a.nc").write_bytes(netcdf_bytes(dataset))
    with xr.open_dataset(tmp_path / "a.nc") as found:
        stored = found["label"].to_numpy()
    expected = np.asarray(expected)
    if expected.dtype.kind == "U":
        assert stored.astype(str).tolist() == expected.tolist()
    else:
        np.testing.assert_array_equal(stored, expected)


def test_an_index_of_several_levels_can_be_stored():
    index = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["place", "lead"])
    dataset = xr.Dataset(
        {"x": ("case", OBSERVED)}, coords=xr.Coordinates.from_pandas_multiindex(index, "case")
    )
    assert storable(dataset)["place"].to_numpy().tolist() == ["a", "a", "b", "b"]
    assert netcdf_bytes(dataset)
    plain = dataset.reset_index("case")
    assert storable(plain).identical(plain)


def test_labels_as_text():
    assert texts_of([1.0, 2], "by", "a").tolist() == texts_of(np.array(["1", "2 "]), "by", "a").tolist()
    assert texts_of(DAYS, "by", "a").tolist() == TEXT_DAYS
    with pytest.raises(ValueError, match="by: case 1 has no a"):
        texts_of(np.array([1, pd.NA], object), "by", "a")


def test_observations_are_matched_by_labels_of_other_types():
    X = xr.DataArray(MEMBERS, dims=("station", "member"), coords={"station": [10361, 10020, 3, 4]})
    for stations in (
        ["4", "3", "10020", "10361"],
        [4.0, 3, 10020, 10361],
        np.array([4, 3, 10020, 10361], object),
    ):
        y = xr.DataArray(OBSERVED[::-1], dims="station", coords={"station": stations})
        np.testing.assert_array_equal(crps_ensemble(X, y), crps_ensemble(MEMBERS, OBSERVED))
    with pytest.raises(ValueError, match="y: no value for station 10361"):
        crps_ensemble(X, y.assign_coords(station=list("abcd")))


def test_notes_say_why_variables_are_left_out():
    rng = np.random.default_rng(0)
    data = xr.Dataset(
        {
            "t": (("time", "member"), rng.normal(size=(6, 3))),
            "onset": (("time", "member"), np.full((6, 3), DAYS[0])),
            "rain": (("time", "member"), rng.random((6, 3)) < 0.5),
            "hres": ("time", rng.normal(size=6)),
        }
    )
    notes = Ensemble.from_xarray(data).notes
    assert "left out, without members: hres" in notes
    assert any(note.startswith("left out, no numbers: onset (datetime64") for note in notes)
    assert any(note.endswith("rain (bool)") for note in notes)


def test_temperatures_without_a_unit_that_cannot_be_those_of_the_fit():
    rng = np.random.default_rng(0)
    X = Ensemble.from_numpy(285 + rng.normal(size=(40, 3, 1)), ["t2m"], units=("K",))
    model = GMM(1, n_init=1).fit(X.take_members([0]))
    with pytest.warns(UserWarning, match="X: variable 0 has values about 1[12].* in 'K': convert it first"):
        model.predict(X.values[:, :1] - 273.15)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(X.values[:, :1] + 20)


def test_labels_of_several_types_in_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    table = pd.DataFrame({"label": np.array([1, "a"], object), "clock": [datetime.time(6), None]})
    write_table(tmp_path / "a.parquet", table, ".parquet")
    assert pd.read_parquet(tmp_path / "a.parquet")["label"].tolist() == ["1", "a"]


def test_a_context_of_compact_dates_is_one_of_dates():
    data = Ensemble.from_numpy(MEMBERS[..., None], coords={"date": [20200101, 20200102, 20200701, 20201231]})
    found = ContextRecipe.fit(data, "date").of(data)[:, 0]
    np.testing.assert_allclose(found[[0, 2]], [2020, 2020.497], atol=1e-3)
