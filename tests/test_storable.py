"""Labels, names and attributes of any kind do not stop the results from being written."""

import datetime

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from test_cli import degmm

from degmm import Ensemble, read_ensemble
from degmm.cli.tabular import write_table
from degmm.ensembles.storable import storable, storable_table
from degmm.results import clusters_table, data_array, netcdf_bytes

N = 4
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 3))
cftime = pytest.importorskip("cftime")


def boxed(*labels):
    box = np.empty(len(labels), object)
    box[:] = labels
    return box


def in_calendar(calendar):
    return [cftime.datetime(2000, 2, 25 + k, calendar=calendar) for k in range(3)]


LABELS = {
    "dates of a calendar with a gap": (boxed(*in_calendar("360_day"), None), "2000-02-25T00:00:00"),
    "intervals": (pd.IntervalIndex.from_breaks(range(N + 1)).to_numpy(), "(0, 1]"),
    "categories": (pd.Categorical(list("abca")), "a"),
    "in a zone": (pd.date_range("2020-01-01", periods=N, tz="UTC"), np.datetime64("2020-01-01")),
    "nullable integers": (pd.array([1, None, 3, 4], "Int64"), 1),
    "nullable floats": (pd.array([1.5, None, 3, 4], "Float64"), 1.5),
    "nullable text": (pd.array(["a", None, "b", "c"], "string"), "a"),
    "tuples": (boxed((1, 2), (3,), (4,), ()), "(1, 2)"),
    "years of pandas": (pd.period_range("2001", periods=N, freq="Y").to_numpy(), np.datetime64("2001-01-01")),
    "durations of Python": (boxed(*[datetime.timedelta(hours=6)] * N), np.timedelta64(6, "h")),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_in_files(kind, tmp_path):
    labels, first = LABELS[kind]
    data = Ensemble.from_numpy(X[..., None], ["t"], coords={"label": labels})
    (tmp_path / "a.nc").write_bytes(netcdf_bytes(data_array(data, np.zeros(N), "x").to_dataset()))
    with xr.open_dataset(tmp_path / "a.nc", decode_timedelta=True) as found:
        stored = found["label"].to_numpy()[0]
    assert (str(stored) if isinstance(first, str) else stored) == first
    table = clusters_table(data, np.ones(N, bool), np.zeros(N, int), np.ones((N, 1)), np.zeros(N))
    for name in ("a.parquet", "a.csv"):
        write_table(tmp_path / name, table, tmp_path.joinpath(name).suffix)
        assert (tmp_path / name).stat().st_size


@pytest.mark.parametrize("calendar", ["360_day", "noleap", "julian", "standard"])
def test_dates_of_a_calendar_in_tables(calendar, tmp_path):
    table = pd.DataFrame({"time": boxed(*in_calendar(calendar)), "x": [1.0, 2, 3]})
    write_table(tmp_path / "a.parquet", table, ".parquet")
    found = pd.read_parquet(tmp_path / "a.parquet")["time"].tolist()
    assert found == [f"2000-02-{25 + k}T00:00:00" for k in range(3)]
    assert storable_table(table)["x"].tolist() == [1, 2, 3]


ATTRIBUTES = {
    "flag": True,
    "nothing": None,
    "nested": {"a": [1, 2]},
    "names": ["a", "b"],
    "mixed": [1, "a"],
    3: "x",
}


def test_names_and_attributes():
    data = xr.Dataset(
        {"a/b": (("case/of", 1), np.ones((2, 2)), ATTRIBUTES)},
        coords={"case/of": [1, 2], "a_b": ("case/of", ["x", "y"])},
        attrs=ATTRIBUTES,
    )
    found = storable(data)
    assert netcdf_bytes(data)
    assert {*found.dims} == {"case_of", "1"}
    assert {*found.variables} == {"a_b", "a_b_", "case_of"}
    assert found.attrs["flag"] == "true"
    assert found.attrs["nested"] == '{"a": [1, 2]}'
    assert data.attrs == ATTRIBUTES  # what is passed stays as it is
    assert data["a/b"].attrs == ATTRIBUTES


def test_a_zarr_store_whose_attributes_no_netcdf_has(tmp_path):
    pytest.importorskip("zarr")
    values = rng.normal(size=(40, 4)).astype("float32")
    data = xr.Dataset(
        {"t": (("time", "member"), values)}, coords={"time": pd.date_range("2020-01-01", periods=40)}
    )
    data["time"].attrs = {"checked": True, "source": {"name": "a"}, "none": None}
    data.to_zarr(tmp_path / "a.zarr", consolidated=False)
    out = tmp_path / "out"
    assert degmm("fit", tmp_path / "a.zarr", "--K", 2, "--n-init", 2, "--no-progress", "-q", "-o", out) == 0
    assert (out / "clusters.nc").exists()


def test_a_control_run_whose_number_is_a_single_value(tmp_path):
    data = xr.Dataset(
        {
            "t": (("time",), X[:, 0]),
            "obs": ("time", X[:, 1]),
            "time_bnds": (("time", "side"), np.zeros((N, 2))),
        },
        coords={
            "time": ("time", pd.date_range("2020-01-01", periods=N), {"bounds": "time_bnds"}),
            "number": 0,
        },
    )
    data["time"].encoding["units"] = "days since 2020-01-01"
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    single = {"member_dim": "number"}
    for found in (Ensemble.from_xarray(data, **single), read_ensemble(tmp_path / "a.nc", **single)):
        assert (found.shape, found.variables) == ((N, 1, 1), ("t",))
        np.testing.assert_array_equal(found.values[:, 0, 0], X[:, 0])
        np.testing.assert_array_equal(found.observations[:, 0], X[:, 1])
        assert found.member_labels.tolist() == [0]
    assert Ensemble.from_xarray(data["t"], **single).shape == (N, 1, 1)
    with pytest.raises(
        ValueError, match=r"no member dimension.*; 'number' is a single value: for single members"
    ):
        Ensemble.from_xarray(data)
