"""The same ensembles in each format, and which dimension is what."""

import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import real_file

from degmm import EGMM, Ensemble, read_ensemble
from degmm.ensembles.dataset import from_dataset

pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata")


@pytest.fixture
def data():
    """A Dataset with two variables of single precision, a gap and observations."""
    rng = np.random.default_rng(0)
    values = rng.normal(280, 9, (6, 4, 2)).round(2).astype(np.float32)
    values[2, 1] = np.nan
    days = pd.date_range("2020-01-30", periods=6)
    return xr.Dataset(
        {
            "t2m": (("time", "member"), values[..., 0], {"units": "K"}),
            "wind": (("time", "member"), values[..., 1], {"units": "m s-1"}),
            "obs_t2m": ("time", values[:, 0, 0], {"units": "K"}),
        },
        coords={"time": days, "member": [1, 2, 3, 4]},
    )


def write_netcdf(data, folder):
    data.to_netcdf(folder / "a.nc", engine="h5netcdf")
    return folder / "a.nc"


def write_classic(data, folder):
    data.to_netcdf(folder / "a.nc", engine="scipy")
    return folder / "a.nc"


def write_zarr(data, folder):
    data.to_zarr(folder / "a.zarr")
    return folder / "a.zarr"


def write_zarr2(data, folder):
    data.to_zarr(folder / "a.zarr", zarr_format=2)
    return folder / "a.zarr"


def write_zip(data, folder):
    return shutil.make_archive(folder / "a", "zip", write_zarr(data, folder))


def write_zip_of_a_folder(data, folder):
    write_zarr(data, folder)
    return shutil.make_archive(folder / "a", "zip", folder, "a.zarr")


def wide(data):
    columns = {"time": data["time"].to_numpy()}
    for name in ("t2m", "wind"):
        columns |= {
            f"{name}_m{m:02d}": data[name].sel(member=m).to_numpy() for m in data["member"].to_numpy()
        }
    return pd.DataFrame({**columns, "obs_t2m": data["obs_t2m"].to_numpy()})


def write_wide(ending):
    def write(data, folder):
        wide(data).to_csv(folder / f"a{ending}", index=False)
        return folder / f"a{ending}"

    return write


def write_semicolons(data, folder):
    wide(data).to_csv(folder / "a.csv", index=False, sep=";", encoding="utf-8-sig")
    return folder / "a.csv"


def write_long(data, folder):
    table = data.to_dataframe().dropna(subset="t2m").reset_index()
    table.sample(frac=1, random_state=0).sort_values("time", kind="stable").to_csv(
        folder / "a.csv", index=False
    )
    return folder / "a.csv"


def write_parquet(data, folder):
    wide(data).to_parquet(folder / "a.parquet")
    return folder / "a.parquet"


def write_npz(data, folder):
    X = np.stack([data["t2m"], data["wind"]], axis=-1)
    np.savez(
        folder / "a.npz",
        X=X,
        variables=["t2m", "wind"],
        units=["K", "m s-1"],
        members=data["member"],
        time=data["time"],
        observations=np.stack([data["obs_t2m"], np.full(6, np.nan)], axis=-1),
    )
    return folder / "a.npz"


WRITERS = {
    "NetCDF": write_netcdf,
    "NetCDF-3": write_classic,
    "Zarr": write_zarr,
    "Zarr 2": write_zarr2,
    "Zarr zipped": write_zip,
    "Zarr folder zipped": write_zip_of_a_folder,
    "CSV": write_wide(".csv"),
    "CSV.gz": write_wide(".csv.gz"),
    "CSV.bz2": write_wide(".csv.bz2"),
    "CSV.xz": write_wide(".csv.xz"),
    "CSV with semicolons": write_semicolons,
    "long CSV": write_long,
    "Parquet": write_parquet,
    "npz": write_npz,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_each_format_gives_the_same_ensembles(data, tmp_path, kind):
    found = read_ensemble(WRITERS[kind](data, tmp_path))
    assert found.variables == ("t2m", "wind")
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(found.values, np.stack([data["t2m"], data["wind"]], axis=-1))
    np.testing.assert_array_equal(found.member_labels, [1, 2, 3, 4])
    np.testing.assert_array_equal(found.coords["time"], data["time"].to_numpy().astype("datetime64[ns]"))
    np.testing.assert_array_equal(found.observations[:, 0], data["obs_t2m"].astype(np.float64))
    assert np.isnan(found.observations[:, 1]).all()
    assert found.units in ((), ("K", "m s-1"))
    assert found.notes


def test_german_forecasts_give_the_same_fit_from_netcdf_and_csv():
    one = read_ensemble(real_file("germany_ecmwf_t2m.nc"))
    other = read_ensemble(real_file("germany_ecmwf_t2m.csv.gz"))
    assert one.variables == other.variables
    assert one.values.dtype == other.values.dtype == np.float32
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.observations, other.observations)
    np.testing.assert_array_equal(one.coords["valid_date_24h"], other.coords["valid_date_24h"])
    fits = [EGMM(3, n_init=1, random_state=0).fit(data.dropna()[::3]) for data in (one, other)]
    np.testing.assert_array_equal(fits[0].labels_, fits[1].labels_)
    np.testing.assert_array_equal(fits[0].means_, fits[1].means_)


def test_water_levels_of_children_are_read_by_a_pattern():
    path = real_file("waterlevel_children.csv.gz")
    with pytest.raises(ValueError, match=r"by member_dim \(columns: age, male, 11oclock"):
        read_ensemble(path)
    found = read_ensemble(path, member_columns="*oclock")
    assert (found.shape, found.variables) == ((405, 8, 1), ("oclock",))
    assert list(found.member_labels[:2]) == ["11oclock", "4oclock"]
    assert set(found.coords) == {"age", "male"}
    assert found.values[0, :3, 0].tolist() == [-16, 30, -5]
    one = read_ensemble(path, member_columns=["1oclock", "11oclock"], variables="value")
    assert one.shape == (405, 2, 1)


def test_rows_of_an_npz_file_are_single_members():
    found = read_ensemble(real_file("thyroid.npz"))
    assert found.shape == (3772, 1, 6)
    assert found.coords["y"].sum() == 93


@pytest.mark.parametrize(
    ("member_dims", "found"),
    [
        (("realization",), "realization"),
        (("number",), "number"),
        (("ensemble",), "ensemble"),
        (("sample",), "sample"),
        (("number", "member"), None),
        (("ensemble", "member"), None),
    ],
)
def test_two_dimensions_that_may_be_members_are_an_error(member_dims, found):
    sizes = {"time": 6, "number": 3, "member": 4, "realization": 4, "ensemble": 4, "sample": 4}
    dims = ("time", *member_dims)
    data = xr.Dataset({"t2m": (dims, np.zeros([sizes[d] for d in dims]) + np.arange(sizes[dims[-1]]))})
    if found is None:
        with pytest.raises(
            ValueError, match=r"2 dimensions may be that of the members.*say which by member_dim"
        ):
            from_dataset(data)
        assert from_dataset(data, member_dim=member_dims[1]).n_members == 4
        said = (
            data.assign_coords(number=("number", [1, 2, 3], {"standard_name": "realization"}))
            if "number" in dims
            else None
        )
        assert said is None or from_dataset(said).n_members == 3
    else:
        assert from_dataset(data).notes[0] == f"members along {found!r}"


def test_standard_names_of_two_dimensions_are_an_error():
    data = xr.Dataset({"t2m": (("time", "a", "b"), np.zeros((5, 2, 3)))})
    for dim, size in (("a", 2), ("b", 3)):
        data = data.assign_coords({dim: (dim, np.arange(size), {"standard_name": "realization"})})
    with pytest.raises(ValueError, match="'a' and 'b'; say which"):
        from_dataset(data)


def test_labels_beside_the_dimension_may_carry_the_standard_name():
    data = xr.Dataset(
        {"t2m": (("time", "m"), np.zeros((5, 3)))},
        coords={"run": ("m", ["a", "b", "c"], {"standard_name": "realization"})},
    )
    assert from_dataset(data).shape == (5, 3, 1)


def test_a_member_dimension_of_another_variable_does_not_matter():
    data = xr.Dataset({"t2m": (("time", "number"), np.zeros((5, 3))), "sigma": (("sample",), np.zeros(7))})
    found = from_dataset(data)
    assert found.shape == (5, 3, 1)
    assert "sigma" in found.notes[-1]


def test_names_of_grid_points_are_told_apart():
    north = [5312345.5, 5312346.5]
    data = xr.Dataset({"t2m": (("time", "member", "y"), np.zeros((3, 2, 2)))}, coords={"y": north})
    assert from_dataset(data, feature_dims="y").variables == ("t2m[5312345.5]", "t2m[5312346.5]")


def test_variables_of_the_same_name_are_an_error():
    data = xr.Dataset(
        {"t2m": (("time", "member", "variable"), np.zeros((3, 2, 2)))}, coords={"variable": ["a", "a"]}
    )
    with pytest.raises(ValueError, match="variables: two are named 'a'; rename one"):
        from_dataset(data)


# --- GRIB ---------------------------------------------------------------------------------------


@pytest.fixture
def grib(tmp_path):
    """Write a GRIB file and give its path and its values."""
    pytest.importorskip("cfgrib")
    from grib import write_grib

    def write(**options):
        return tmp_path / "a.grib", write_grib(tmp_path / "a.grib", **options)

    return write


def test_grib_members_and_dates_are_read(grib, tmp_path):
    path, values = grib()
    found = read_ensemble(path)
    assert (found.shape, found.variables, found.units) == ((12, 3, 1), ("t2m",), ("K",))
    np.testing.assert_allclose(found.values[..., 0].reshape(2, 6, 3), values[0].transpose(0, 2, 1))
    assert found.coords["valid_time"][0].astype("datetime64[D]") == np.datetime64("2020-01-01")
    fields = read_ensemble(path, feature_dims=["latitude", "longitude"])
    assert fields.shape == (2, 3, 6)
    np.testing.assert_allclose(fields.values, values[0], atol=1e-3)
    assert fields.variables[0] == "t2m[50,0]"
    assert [p.name for p in tmp_path.iterdir()] == ["a.grib"]  # no index is left beside it


def test_grib_variables_at_different_heights_are_side_by_side(grib):
    path, values = grib(names=("2t", "10u"))
    found = read_ensemble(path, feature_dims=["latitude", "longitude"], variables=["t2m", "u10"])
    np.testing.assert_allclose(found.values, np.concatenate(values, axis=-1), atol=1e-3)


def test_a_control_run_in_grib_is_a_member(grib):
    path, values = grib(control=True)
    found = read_ensemble(path, feature_dims=["latitude", "longitude"])
    np.testing.assert_array_equal(found.member_labels, [0, 1, 2])
    np.testing.assert_allclose(found.values, values[0], atol=1e-3)
    assert read_ensemble(path, control=0).n_members == 2


def test_a_model_of_netcdf_reads_units_of_grib(grib):
    path, _ = grib(names=("10u",))
    fitted = read_ensemble(path)
    assert fitted.units == ("m s**-1",)
    model = EGMM(1, n_init=1, random_state=0).fit(fitted)
    array = fitted.to_xarray()["u10"]
    array.attrs["units"] = "m s-1"
    assert len(model.predict(Ensemble.from_xarray(array))) == 12
    array.attrs["units"] = "knots"
    with pytest.raises(ValueError, match=r"u10 is in 'knots'; the model was fitted to 'm s\*\*-1'"):
        model.predict(array)
