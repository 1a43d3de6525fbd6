"""What libraries beneath would lose or change without a word: fill values, dates, durations, groups, packing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from degmm import Ensemble, read_ensemble
from degmm.ensembles.chunked import ChunkedEnsemble

h5py = pytest.importorskip("h5py")
rng = np.random.default_rng(0)
X = rng.normal(size=(6, 3)).round(2)
DAYS = pd.date_range("2020-01-01", periods=6)


def dated(**variables):
    arrays = {"t": (("time", "member"), X, {"units": "K"}), **variables}
    return xr.Dataset(arrays, coords={"time": DAYS})


def write(data, path, **options):
    data.to_netcdf(path, engine="h5netcdf", **options)
    return path


# --- Zarr -----------------------------------------------------------------------------------------


def zarr_array(path, name="rain", values=None, fill_value=0.0, zarr_format=2, **attributes):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(path, mode="a", zarr_format=zarr_format)
    array = group.create_array(
        name, shape=values.shape, dtype=values.dtype, fill_value=values.dtype.type(fill_value)
    )
    array[:] = values
    array.attrs.update({"_ARRAY_DIMENSIONS": ["time", "member"][: values.ndim], **attributes})
    return path


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8"])
@pytest.mark.parametrize("chunks", [None, {}])
def test_zeros_in_zarr_are_zeros(tmp_path, dtype, chunks):
    if chunks is not None:
        pytest.importorskip("dask")
    rain = np.maximum(10 * X, 0).astype(dtype)
    path = zarr_array(tmp_path / "a.zarr", values=rain)
    zarr_array(path, "time", np.arange(6), units="days since 2020-01-01")
    found = read_ensemble(path, chunks=chunks)
    found = found if chunks is None else found.compute()
    np.testing.assert_array_equal(found.values[..., 0], rain)
    assert found.coords["time"][0] == DAYS[0]  # day 0 is a date
    assert "0 is read as a value, not as missing, in rain, time" in found.notes


def test_what_is_missing_in_zarr_is_missing(tmp_path):
    gaps = np.where(X < 0, -999, X)
    of_attribute = zarr_array(tmp_path / "a.zarr", values=gaps, _FillValue=-999.0)
    of_store = zarr_array(tmp_path / "b.zarr", values=gaps, fill_value=-999.0)
    for path in (of_attribute, of_store):
        np.testing.assert_array_equal(read_ensemble(path).values[..., 0], np.where(X < 0, np.nan, X))
    packed = np.where(X < 0, 0, 1000 * X).astype("u2")
    path = zarr_array(tmp_path / "c.zarr", values=packed, fill_value=0, scale_factor=0.001)
    np.testing.assert_array_equal(np.isnan(read_ensemble(path).values[..., 0]), packed == 0)


def test_a_store_of_xarray_is_read_as_it_was_written(tmp_path):
    data = dated(rain=(("time", "member"), np.maximum(X, 0)))
    data["rain"][0, 0] = np.nan
    for zarr_format in (2, 3):
        data.to_zarr(tmp_path / f"{zarr_format}.zarr", zarr_format=zarr_format, consolidated=False)
        found = read_ensemble(tmp_path / f"{zarr_format}.zarr", variables="rain")
        np.testing.assert_array_equal(found.values[..., 0], data["rain"].to_numpy())
        assert not any("0 is read" in note for note in found.notes)


# --- durations and dates ---------------------------------------------------------------------------


def test_numbers_in_units_of_time_are_numbers(tmp_path):
    units = ("seconds", "hours", "days")
    data = dated(**{u: (("time", "member"), X, {"units": u}) for u in units})
    found = read_ensemble(write(data, tmp_path / "a.nc"))
    assert {*found.variables} == {"t", *units}
    assert found.units[found.variables.index("hours")] == "hours"
    for name in units:
        np.testing.assert_array_equal(found.values[..., found.variables.index(name)], X)


def test_durations_are_numbers(tmp_path):
    sun = (np.arange(18).reshape(6, 3) * np.timedelta64(30, "m")).astype("m8[ns]")
    sun[2, 1] = np.timedelta64("NaT")
    data = dated(sun=(("time", "member"), sun))
    hours = np.arange(18).reshape(6, 3) / 2
    hours[2, 1] = np.nan
    found = Ensemble.from_xarray(data)
    assert dict(zip(found.variables, found.units, strict=True)) == {"t": "K", "sun": "hours"}
    np.testing.assert_array_equal(found.values[..., 1], hours)
    path = write(data, tmp_path / "a.nc", encoding={"sun": {"units": "minutes"}})
    found = read_ensemble(path)
    np.testing.assert_array_equal(found.values[..., 1], 60 * hours)
    assert found.units[1] == "minutes"


def test_members_of_other_types_are_told_of():
    data = dated(
        onset=(("time", "member"), np.full((6, 3), DAYS[0])),
        dry=(("time", "member"), X < 0),
        z=("time", X[:, 0]),
    )
    notes = Ensemble.from_xarray(data).notes
    assert any(
        note.startswith("left out, no numbers: onset (datetime64") and "dry (bool)" in note for note in notes
    )
    assert "left out, without members: z" in notes


@pytest.mark.parametrize(
    ("units", "calendar", "fix"),
    [
        ("days since the flood", "standard", "correct the units, as to 'days since 2000-01-01'"),
        ("months since 1960-01-01", "standard", "correct the units, as to 'days since 2000-01-01'"),
        ("days since 2000-01-01", "lunar", "correct the calendar, as to 'standard'"),
    ],
)
def test_dates_that_cannot_be_read_are_numbers(tmp_path, units, calendar, fix):
    path = write(dated(), tmp_path / "a.nc")
    with h5py.File(path, "a") as file:
        file["time"].attrs.update(units=units, calendar=calendar)
    found = read_ensemble(path)
    np.testing.assert_array_equal(found.values[..., 0], X)
    assert found.coords["time"].dtype.kind in "if"
    assert found.notes[0].startswith(f"dates of 'time' left as numbers, since {units!r}")
    assert found.notes[0].endswith(fix)


@pytest.mark.parametrize(
    ("units", "calendar"),
    [
        ("days since 2000-01-01", "360_day"),
        ("days since 2000-01-01", "360"),
        ("months since 1960-01-01", "360"),
        ("days since 2000-01-01", "noleap"),
        ("days since 2000-01-01", "all_leap"),
        ("days since 2000-01-01", "julian"),
        ("days since 0001-01-01", "standard"),
    ],
)
def test_dates_that_cftime_reads(tmp_path, units, calendar):
    path = write(dated(), tmp_path / "a.nc")
    with h5py.File(path, "a") as file:
        file["time"].attrs.update(units=units, calendar=calendar)
    found = read_ensemble(path)
    np.testing.assert_array_equal(found.values[..., 0], X)
    try:
        import cftime  # noqa: F401
    except ImportError:
        assert found.notes[0].endswith("install cftime (pip install cftime), which reads them")
    else:
        assert not any("left as numbers" in note for note in found.notes)


def test_bounds_of_dates_that_cannot_be_read(tmp_path):
    data = dated(time_bounds=(("time", "side"), np.zeros((6, 2))))
    data["time"].attrs["bounds"] = "time_bounds"
    data["time"].encoding["units"] = "days since 2020-01-01"
    path = write(data, tmp_path / "a.nc")
    with h5py.File(path, "a") as file:
        file["time"].attrs["units"] = "days since the flood"
    found = read_ensemble(path)
    assert sum("left as numbers" in note for note in found.notes) == 1


# --- groups ----------------------------------------------------------------------------------------


def test_groups_of_netcdf(tmp_path):
    path = write(xr.Dataset(coords={"time": DAYS}), tmp_path / "a.nc")
    write(dated().drop_vars("time"), path, group="forecasts/raw", mode="a")
    found = read_ensemble(path)
    assert found.notes[0] == "group 'forecasts/raw'"
    np.testing.assert_array_equal(found.coords["time"], DAYS)  # of the root
    write(dated(), path, group="hindcasts", mode="a")
    with pytest.raises(ValueError, match=r"lie in groups, forecasts/raw, hindcasts; choose one, as group="):
        read_ensemble(path)
    assert read_ensemble(path, group="/hindcasts").shape == (6, 3, 1)
    with pytest.raises(
        ValueError, match=r"group: no group 'x' with variables; there are forecasts/raw, hindcasts"
    ):
        read_ensemble(path, group="x")


def test_groups_beside_variables_without_members(tmp_path):
    path = write(xr.Dataset({"z": ("lat", np.zeros(2))}), tmp_path / "a.nc")
    write(dated(), path, group="forecasts", mode="a")
    with pytest.raises(
        ValueError, match=r"no member dimension.*; or choose one of its groups, forecasts, as group="
    ):
        read_ensemble(path)


def test_groups_of_zarr(tmp_path):
    pytest.importorskip("zarr")
    xr.Dataset().to_zarr(tmp_path / "a.zarr", consolidated=False)
    for name in ("a", "b"):
        dated().to_zarr(tmp_path / "a.zarr", group=name, mode="a", consolidated=False)
    assert read_ensemble(tmp_path / "a.zarr", group="b").shape == (6, 3, 1)
    with pytest.raises(ValueError, match=r"lie in groups, a, b; choose one"):
        read_ensemble(tmp_path / "a.zarr")


def test_files_without_groups(tmp_path):
    dated().to_netcdf(tmp_path / "a.nc", engine="scipy")
    np.savez(tmp_path / "a.npz", X=X)
    for name, message in {"a.nc": "a NetCDF-3 file has no groups", "a.npz": "only NetCDF-4 and Zarr"}.items():
        with pytest.raises(ValueError, match=f"group: .*{message}"):
            read_ensemble(tmp_path / name, group="x")


# --- single values and dimensions of one place ------------------------------------------------------


def test_one_forecast_is_one_case(tmp_path):
    data = dated(z=("lat", np.zeros(2))).assign_coords(lat=[50.0, 60.0])
    today = data.isel(time=3)
    for found in (Ensemble.from_xarray(today), read_ensemble(write(today, tmp_path / "a.nc"))):
        assert found.shape == (1, 3, 1)
        assert (found.case_dim, found.coords["time"][0]) == ("time", DAYS[3])
        np.testing.assert_array_equal(found.values[0, :, 0], X[3])
        assert found.to_xarray()["t"].dims == ("time", "member")
    fields = xr.Dataset({"t": (("member", "lat"), X[:2].T)}, coords={"time": DAYS[0]})
    found = Ensemble.from_xarray(fields, feature_dims="lat")
    assert (found.shape, found.coords["time"][0]) == ((1, 3, 2), DAYS[0])


@pytest.mark.parametrize(
    ("label", "value"), [("step", np.timedelta64(24, "h")), ("height", 2.0), ("run", "00")]
)
def test_a_single_value_labels_all_cases(tmp_path, label, value):
    found = Ensemble.from_xarray(dated().assign_coords({label: value}))
    assert (found.coords[label] == value).all()
    assert len(found.coords[label]) == 6
    found = Ensemble.from_xarray(dated().isel(time=0, drop=True).assign_coords({label: value}))
    assert found.shape == (1, 3, 1)
    assert found.coords[label] == [value]


def test_a_single_date_that_is_no_coordinate_of_the_file(tmp_path):
    data = dated().isel(time=3).reset_coords("time")
    path = write(data, tmp_path / "a.nc")
    found = read_ensemble(path)
    assert (found.shape, found.coords["time"][0]) == ((1, 3, 1), DAYS[3])
    assert not any("left out" in note for note in found.notes)


def test_dimensions_of_one_place_that_not_all_have():
    high = xr.DataArray(X[:, None], dims=("time", "height", "member"), coords={"height": [10.0]})
    data = dated(wind=high, obs_t=(("time", "site"), X[:, :1]), obs_wind=("time", X[:, 1]))
    found = Ensemble.from_xarray(data)
    assert found.shape == (6, 3, 2)
    np.testing.assert_array_equal(found.observations, X[:, :2])
    np.testing.assert_array_equal(found.coords["height"], np.full(6, 10.0))
    again = Ensemble.from_xarray(found.to_xarray())
    np.testing.assert_array_equal(again.observations, found.observations)


def test_an_archive_of_one_case_in_chunks(tmp_path):
    pytest.importorskip("dask")
    path = write(dated().isel(time=3), tmp_path / "a.nc")
    found = read_ensemble(path, chunks={})
    assert found.shape == (1, 3, 1)
    np.testing.assert_array_equal(found.compute().values[0, :, 0], X[3])


# --- what is passed stays as it is ------------------------------------------------------------------


def test_a_dataset_on_dask_arrays_stays_unread(tmp_path):
    pytest.importorskip("dask")
    path = write(dated(obs_t=("time", X[:, 0]), z=("time", X[:, 1])), tmp_path / "a.nc")
    data = xr.open_dataset(path, engine="h5netcdf", chunks={})
    Ensemble.from_xarray(data)
    Ensemble.from_xarray(data["t"])
    list(ChunkedEnsemble(data).blocks())
    assert all(data[name].chunks is not None for name in ("t", "obs_t", "z"))
    data.close()


# --- packing ----------------------------------------------------------------------------------------


def packed(tmp_path, dtype="i2", scale_factor=0.01, values=X, **more):
    encoding = {"dtype": dtype, "scale_factor": scale_factor, "_FillValue": -32768, **more}
    encoding = {k: v for k, v in encoding.items() if v is not None}
    return read_ensemble(
        write(xr.Dataset({"t": (("time", "member"), values)}), tmp_path / "a.nc", encoding={"t": encoding})
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x + 1000,
        lambda x: x + 0.003,
        lambda x: x * 0 - 327.68,
        lambda x: np.where(x < 0, np.nan, x + 400),
    ],
)
def test_values_that_do_not_fit_their_packing_are_stored_as_they_are(tmp_path, change):
    data = packed(tmp_path)
    other = replace(data, values=change(data.values))
    back = read_ensemble(write(other.to_xarray(), tmp_path / "b.nc"))
    np.testing.assert_allclose(back.values, other.values, rtol=1e-6)


@pytest.mark.parametrize("fill", [None, -1])
def test_integers_that_others_do_not_fit_into(tmp_path, fill):
    whole = np.arange(18).reshape(6, 3)
    data = packed(tmp_path, scale_factor=None, _FillValue=fill, values=whole)
    for values in (
        data.values + 1e6,
        data.values + 0.5,
        data.values - 1,
        np.where(data.values < 3, np.nan, data.values),
    ):
        back = read_ensemble(write(replace(data, values=values).to_xarray(), tmp_path / "b.nc"))
        np.testing.assert_array_equal(back.values, values)


def test_values_of_a_packing_keep_it(tmp_path):
    data = packed(tmp_path, values=np.where(X > 1, np.nan, X + 280), add_offset=280.0)
    assert data.to_xarray()["t"].encoding["dtype"] == np.int16
    assert data[2:4].to_xarray()["t"].encoding["scale_factor"] == 0.01


# --- what stands for missing values -------------------------------------------------------------------


GAPS = np.where(np.arange(18).reshape(6, 3) % 5 == 0, -999, X)
MASKED = np.where(GAPS == -999, np.nan, X)


def marked(tmp_path, values=GAPS, encoding=None, **attributes):
    data = xr.Dataset({"t": (("time", "member"), values), "obs_t": ("time", values[:, 0])})
    path = write(
        data, tmp_path / "a.nc", encoding={n: {"_FillValue": None, **(encoding or {})} for n in data}
    )
    with h5py.File(path, "a") as file:
        for name in data:
            file[name].attrs.update(attributes)
    return path


@pytest.mark.parametrize(
    "attributes",
    [
        {"valid_min": -100.0},
        {"valid_range": [-100.0, 100.0]},
        {"missing_value": "-999"},
        {"missing_value": -999.0},
        {"valid_max": 100.0, "missing_value": "-999."},
    ],
)
def test_attributes_of_missing_values(tmp_path, attributes):
    path = marked(tmp_path, **attributes)
    found = read_ensemble(path)
    np.testing.assert_array_equal(found.values[..., 0], MASKED)
    np.testing.assert_array_equal(found.observations[:, 0], MASKED[:, 0])
    assert not any("far from all" in note for note in found.notes)
    if "missing_value" not in attributes:
        assert "missing, as the file says of such values: 6 values" in found.notes
    pytest.importorskip("dask")
    np.testing.assert_array_equal(next(read_ensemble(path, chunks={}).blocks()).values[..., 0], MASKED)


def test_a_code_in_another_precision(tmp_path):
    values = np.where(GAPS == -999, -999.9, X).astype("f4")
    found = read_ensemble(marked(tmp_path, values, missing_value=np.float64(-999.9)))
    np.testing.assert_array_equal(np.isnan(found.values[..., 0]), np.isnan(MASKED))


def test_a_valid_range_of_packed_values(tmp_path):
    packing = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 5.0, "_FillValue": np.int16(32767)}
    found = read_ensemble(
        marked(tmp_path, np.where(GAPS == -999, -200, X), packing, valid_min=np.int16(-10000))
    )
    np.testing.assert_allclose(found.values[..., 0], MASKED, atol=1e-6)


@pytest.mark.parametrize("kind", ["csv", "nc", "npz", "long.csv"])
def test_codes_that_a_user_names(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    rows = [[f"{v:g}" for v in row] for row in GAPS]
    if kind == "csv":
        path.write_text("t_m1,t_m2,t_m3,obs_t\n" + "\n".join(",".join([*r, r[0]]) for r in rows) + "\n")
    elif kind == "long.csv":
        text = [f"{i},{m},{rows[i][m]},{rows[i][0]}\n" for i in range(6) for m in range(3)]
        path.write_text("day,member,t,obs_t\n" + "".join(text))
    elif kind == "npz":
        np.savez(path, X=GAPS[..., None], observations=GAPS[:, :1])
    else:
        path = marked(tmp_path)
    found = read_ensemble(path)
    (note,) = [note for note in found.notes if "far from all other values" in note]
    assert "-999" in note
    assert "4 times" in note
    found = read_ensemble(path, missing=-999)
    np.testing.assert_allclose(found.values[..., 0], MASKED, rtol=1e-6)
    np.testing.assert_allclose(found.observations[:, 0], MASKED[:, 0], rtol=1e-6)
    assert "missing, since -999: 4 values of members, 2 of observations" in found.notes
    with pytest.raises(ValueError, match="missing: expected numbers such as -999; got 'NA'"):
        read_ensemble(path, missing="NA")


@pytest.mark.parametrize(
    "values",
    [
        np.round(X, 1),
        np.maximum(X, 0),
        X**9,
        np.where(X < 1, 0, 5.0),
        np.full((6, 3), -999.0),
        np.repeat(X[:, :1], 3, 1),
    ],
)
def test_usual_values_are_not_taken_for_codes(tmp_path, values):
    data = read_ensemble(write(xr.Dataset({"t": (("time", "member"), values)}), tmp_path / "a.nc"))
    assert not any("far from" in note for note in data.notes)


def test_groups_and_codes_at_the_command_line(tmp_path, capsys):
    from degmm.cli import main

    path = write(xr.Dataset({"t": (("time", "member"), GAPS)}), tmp_path / "a.nc", group="one")
    write(dated(), path, group="two", mode="a")
    with pytest.raises(SystemExit) as stop:
        main(["describe", str(path), "--group", "one", "--missing", "-999"])
    assert stop.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "group 'one'" in printed
    assert "missing, since -999: 4 values of members" in printed
    with pytest.raises(SystemExit):
        main(["describe", str(path)])
    assert "lie in groups, one, two; choose one, as --group one" in capsys.readouterr().err


def test_predict_reads_the_group_of_the_fit(tmp_path, capsys):
    from degmm.cli import main

    def degmm(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return stop.value.code

    def predicted():
        with xr.open_dataset(tmp_path / "c.nc") as found:
            return found["cluster"].load()

    path = write(dated(), tmp_path / "a.nc", group="one")
    write(dated().isel(member=[0, 1]), path, group="two", mode="a")
    options = ["--K", 1, "--n-init", 1, "-q"]
    assert degmm("fit", path, "--group", "one", *options, "-o", tmp_path / "out") == 0
    command = ["predict", tmp_path / "out", "-o", tmp_path / "c.nc"]
    assert degmm(*command, path) == 0
    assert "group 'one'" in capsys.readouterr().out
    assert predicted().size == 6
    assert degmm(*command, path, "--group", "two") == 0
    assert "group 'two'" in capsys.readouterr().out
    for other in (write(dated(), tmp_path / "b.nc"), write(dated(), tmp_path / "d.nc", group="new")):
        assert degmm(*command, other, "-q") == 0  # that have no such group
    zarr = tmp_path / "a.zarr"
    for group in ("one", "two"):
        dated().to_zarr(zarr, group=group, mode="a", consolidated=False)
    assert degmm(*command, zarr) == 0
    assert "group 'one'" in capsys.readouterr().out
    write(dated(), tmp_path / "e.nc", group="three")
    write(dated(), tmp_path / "e.nc", group="four", mode="a")
    assert degmm(*command, tmp_path / "e.nc") == 2
    assert "choose one, as --group" in capsys.readouterr().err


def test_predict_knows_the_observations_of_the_fit(tmp_path, capsys):
    from degmm.cli import main

    def degmm(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return stop.value.code

    rng = np.random.default_rng(0)
    days = np.arange("2020-01-01", "2020-07-19", dtype="M8[D]").astype("M8[ns]")
    members = rng.normal(size=(200, 1)) + rng.normal(size=(200, 5))
    dims = ("time", "member")
    data = xr.Dataset(
        {"t": (dims, members), "seen": ("time", members.mean(axis=1) + rng.normal(size=200))},
        coords={"time": days},
    )
    path = write(data, tmp_path / "a.nc")
    options = ["--K", 1, "--gate", "mixture", "--folds", 0, "-q", "-o", tmp_path / "out"]
    assert degmm("calibrate", path, "--observation", "seen", *options) == 0
    command = ["predict", tmp_path / "out", "-o", tmp_path / "f.nc"]
    assert degmm(*command, path) == 0
    assert "mean CRPS where something was observed" in capsys.readouterr().out
    assert degmm(*command, write(data.drop_vars("seen"), tmp_path / "b.nc")) == 0
    assert "mean CRPS" not in capsys.readouterr().out


def test_today_is_predicted_by_a_model_of_an_archive(tmp_path):
    from degmm import GMM

    archive = read_ensemble(write(dated(), tmp_path / "a.nc"))
    today = read_ensemble(write(dated().isel(time=3), tmp_path / "b.nc"))
    model = GMM(1, n_init=1, random_state=0).fit(archive.take_members([0]))
    assert len(model.predict(today.take_members([0]))) == 1
