"""Files that cannot be read as ensembles: each ends with one sentence that begins with the path."""

import gzip
import os
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from degmm import read_ensemble
from degmm.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata")
TABLE = "date,t2m_m01,t2m_m02\n2020-01-01,1.5,2\n2020-01-02,2,2.5\n2020-01-03,3,1\n"
LONG = "date,member,t2m\n" + "".join(f"2020-01-0{d},{m},{d + m / 4}\n" for d in (1, 2, 3) for m in (0, 1))


def small():
    days = np.arange("2020-01-01", "2020-01-06", dtype="M8[D]").astype("M8[ns]")
    values = np.arange(20, dtype=np.float32).reshape(5, 4)
    return xr.Dataset({"t2m": (("time", "member"), values)}, coords={"time": days})


def netcdf(path, data=None, **encoding):
    data = small() if data is None else data
    data.to_netcdf(path, engine="h5netcdf", encoding={"t2m": encoding} if encoding else None)
    return path


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def text(content):
    return lambda folder: write(folder / "table.csv", content)


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def from_netcdf(change):
    return lambda folder: netcdf(folder / "data.nc", change(small()))


def arrays(**content):
    def make(folder):
        np.savez(folder / "data.npz", **content)
        return folder / "data.npz"

    return make


class Bomb:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return (os._exit, (17,))


def damaged_chunk(folder):
    import h5py

    path = netcdf(folder / "data.nc", zlib=True, chunksizes=(5, 4))
    with h5py.File(path) as file:
        start = file["t2m"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[start : start + 16] = b"\xff" * 16
    return write(path, bytes(content))


def attributes_of_time(**attributes):
    def make(folder):
        import h5py

        path = netcdf(folder / "data.nc")
        with h5py.File(path, "a") as file:
            file["time"].attrs.update(attributes)
        return path

    return make


def zarr_with(part, content):
    def make(folder):
        small().to_zarr(folder / "data.zarr")
        (chunk,) = [f for f in (folder / "data.zarr").glob(part) if f.is_file()]
        write(chunk, content)
        return folder / "data.zarr"

    return make


def zipped_zarr(folder):
    small().to_zarr(folder / "data.zarr")
    shutil.make_archive(folder / "data", "zip", folder / "data.zarr")
    return cut(folder / "data.zip", 0.5)


def grib(share, **options):
    def make(folder):
        pytest.importorskip("cfgrib")
        from grib import write_grib

        write_grib(folder / "data.grib", **options)
        return cut(folder / "data.grib", share)

    return make


def damaged_grib(folder):
    path = grib(1)(folder)
    content = bytearray(path.read_bytes())
    start = content.index(b"GRIB", 4) + 100
    content[start : start + 30] = b"\xee" * 30
    return write(path, bytes(content))


def parquet(folder):
    pytest.importorskip("pyarrow")
    pd.DataFrame({"t2m_m01": [1.0, 2.0]}).to_parquet(folder / "data.parquet")
    return cut(folder / "data.parquet", 0.6)


def archive_of_text(folder):
    with zipfile.ZipFile(folder / "a.zip", "w") as file:
        file.writestr("readme.txt", "hello")
    return folder / "a.zip"


def subfolder(folder):
    (folder / "inner").mkdir()
    return folder / "inner"


BAD = {
    "not there": (lambda folder: folder / "none.nc", "no such file; check the path"),
    "empty": (lambda folder: write(folder / "data.nc", b""), "is empty .0 bytes."),
    "a folder": (subfolder, "is a folder, expected a file .or a Zarr folder."),
    "a name too long": (lambda folder: folder / ("x" * 400), "cannot be read .File name too long"),
    "text named .nc": (
        lambda folder: write(folder / "data.nc", TABLE),
        "expected a NetCDF, .* .name a table .csv.",
    ),
    "NetCDF cut off": (
        lambda folder: cut(netcdf(folder / "data.nc"), 0.6),
        "not a readable NetCDF file; .*truncated",
    ),
    "NetCDF just cut off": (
        lambda folder: cut(netcdf(folder / "data.nc"), 0.99),
        "not a readable NetCDF file",
    ),
    "a damaged chunk": (damaged_chunk, "the values of 't2m' cannot be read"),
    "no member dimension": (
        from_netcdf(lambda x: x.rename(member="x")),
        "no member dimension found .* rename one",
    ),
    "two candidates": (
        from_netcdf(lambda x: x.expand_dims(number=3)),
        "2 dimensions may be that of the members, 'number' and 'member'; say which by member_dim",
    ),
    "text in cells": (from_netcdf(lambda x: x.astype(str)), "'t2m' is of type <U4; write real numbers"),
    "all missing": (from_netcdf(lambda x: x * np.nan), "every value of the members is missing"),
    "no cases": (from_netcdf(lambda x: x.isel(time=[])), "dimension 'time' is empty"),
    "no members": (from_netcdf(lambda x: x.isel(member=[])), "dimension 'member' is empty"),
    "broken Zarr": (zarr_with("zarr.json", b"{broken"), "not a readable Zarr file"),
    "broken Zarr array": (zarr_with("t2m/zarr.json", b'{"a": 1}'), "not a readable Zarr file"),
    "a damaged Zarr chunk": (zarr_with("t2m/c/0/0", b"abc"), "the values of 't2m' cannot be read"),
    "zipped Zarr cut off": (zipped_zarr, "damaged npz or zip file"),
    "a zip of text": (archive_of_text, "zip archive of neither arrays .npz. nor Zarr"),
    "GRIB cut off": (grib(0.9), "message 5 is cut off or damaged"),
    "GRIB damaged": (damaged_grib, "message 1 is cut off or damaged"),
    "no GRIB": (lambda folder: write(folder / "a.grib", b"GRIB" + b"a" * 100), "message 0 is cut off"),
    "GRIB without members": (grib(1, members=(0,)), "no member dimension found"),
    "CSV cut off": (
        lambda folder: cut(write(folder / "a.csv.gz", gzip.compress(TABLE.encode() * 50)), 0.5),
        "not a readable CSV file; .*ended before",
    ),
    "CSV not compressed": (lambda folder: write(folder / "a.csv.gz", TABLE), "Not a gzipped file"),
    "bytes named .csv": (lambda folder: write(folder / "a.csv", bytes(range(256))), "no text in UTF-8"),
    "CSV in Latin-1": (
        lambda folder: write(folder / "a.csv", "Köln,t2m_m01\n1,2\n".encode("latin1")),
        "no text in UTF-8",
    ),
    "no rows": (text("date,t2m_m01\n"), "the table has no rows"),
    "no member columns": (text("a,b\n1,2\n"), "no member columns such as t2m_m01"),
    "a short row": (
        text(TABLE + "2020-01-04,5\n"),
        r"row 3 of the table \(line 5\) has 2 cells for 3 columns",
    ),
    "a long row": (text(TABLE + "2020-01-04,5,6,7\n"), "row 3 of the table .* has 4 cells for 3 columns"),
    "long rows": (text("t2m_m01,t2m_m02\n1,2,3\n1,2,3\n"), "row 0 of the table .* has 3 cells for 2 columns"),
    "the same column twice": (text(TABLE.replace("m02", "m01")), "two columns named 't2m_m01'; rename one"),
    "the same member twice": (text(TABLE.replace("m02", "m1")), "'t2m_m01' and 't2m_m1' are the same member"),
    "a word": (text(TABLE.replace("2.5", "mild")), "column 't2m_m02', row 1: 'mild' is no number"),
    "an infinite cell": (text(TABLE.replace("2.5", "inf")), "column 't2m_m02', row 1: an infinite value"),
    "a decimal comma": (
        text("t2m_m01;t2m_m02\n1,5;2,5\n"),
        "'1,5' is no number; write decimals with a point",
    ),
    "a date that is none": (
        text(TABLE.replace("01-02", "13-45")),
        "column 'date', row 1: '2020-13-45' is no date",
    ),
    "a word among dates": (text(TABLE.replace("2020-01-02", "later")), "row 1: 'later' is no date such as"),
    "an empty table": (text("t2m_m01,t2m_m02\n,\n,\n"), "every value of the members is missing"),
    "a member twice": (text(LONG + "2020-01-03,1,7.5\n"), "row 6: member 1 of its case is there twice"),
    "no member in a row": (
        text(LONG.replace("2020-01-02,1", "2020-01-02,")),
        "column 'member': no member in row 3",
    ),
    "a word in a long table": (
        text(LONG.replace("2.25", "mild")),
        "column 't2m', row 3: 'mild' is no number",
    ),
    "a row a case": (
        text("date,member,t2m,rain\n2020-01-01,0,1.5,1\n2020-01-01,1,1.5,2\n"),
        "no two members are of the same case, by date, rain",
    ),
    "two columns of members": (
        text(LONG.replace("date", "ens")),
        "'member' and 'ens'; say which by member_dim",
    ),
    "observations that differ": (
        text("date,member,t2m,obs_t2m\n2020-01-01,0,1.5,1.5\n2020-01-01,1,1.5,2.5\n"),
        "'obs_t2m': the case of row 0 has several observations",
    ),
    "Parquet cut off": (parquet, "not a readable Parquet file"),
    "npz cut off": (lambda folder: cut(arrays(X=np.ones((9, 5, 2)))(folder), 0.5), "damaged npz or zip file"),
    "objects": (arrays(X=np.array([[Bomb()]], object)), "array 'X' holds Python objects, .* may run code"),
    "complex numbers": (arrays(X=np.ones((3, 2, 1), complex)), "expected numbers .* got complex128"),
    "no X": (arrays(kdd=np.ones((3, 2))), "no array X of members"),
    "too many names": (
        arrays(X=np.ones((3, 2, 1)), variables=["a", "b"]),
        "variables: 2 names for 1 variables",
    ),
    "an empty array": (arrays(X=np.ones((0, 2, 1))), "no ensembles"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gives_one_sentence(tmp_path, name):
    make, message = BAD[name]
    path = make(tmp_path)
    with pytest.raises(ValueError, match=message) as raised:
        read_ensemble(path)
    said = str(raised.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    assert said.count(str(path)) == 1


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_ends_a_command_with_exit_code_2_and_no_output(tmp_path, name, capsys):
    path = BAD[name][0](tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for command in (["describe"], ["fit", "--K", "2"]):
        with pytest.raises(SystemExit) as stop:
            main([command[0], str(path), *command[1:], "-o", str(tmp_path / "out")])
        assert stop.value.code == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("degmm: ")
        assert len(printed.err.splitlines()) == 1
        assert path.name in printed.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = netcdf(tmp_path / "data.nc")

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(ValueError, match=r"data.nc: may not be read; ask for the permission"):
        read_ensemble(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"member_dim": "x"}, "member_dim: no column 'x'; there are date, t2m_m01"),
        ({"variables": ["rain"]}, "variables: no variable 'rain' of members; there are t2m"),
        ({"control": 7}, "control: no member 7; there are 1, 2"),
        ({"observation": "y"}, "observation: no column 'y'"),
        ({"feature_dims": ["lat"]}, "feature_dims: a table has no dimensions"),
        ({"member_columns": "x*"}, r"member_columns: no column is named x\*"),
        ({"member_columns": "t2m*", "member_dim": "date"}, "member_dim: member_columns says which"),
    ],
)
def test_options_that_do_not_fit_a_table(tmp_path, options, message):
    path = write(tmp_path / "table.csv", TABLE)
    with pytest.raises(ValueError, match=message) as raised:
        read_ensemble(path, **options)
    assert str(raised.value).startswith(f"{path}: ")


def test_a_calendar_of_climate_models_asks_for_cftime_or_is_read(tmp_path):
    path = attributes_of_time(calendar="360_day")(tmp_path)
    try:
        import cftime  # noqa: F401
    except ImportError:
        assert "in the calendar '360_day' cannot be read: install cftime" in read_ensemble(path).notes[0]
    assert len(read_ensemble(path)) == 5
