"""Cells of CSV: no name becomes a formula of a spreadsheet, numbers stay numbers, and labels come back."""

import csv
import gzip
import io

import numpy as np
import pandas as pd
import pytest
from test_cli import degmm

from degmm import Ensemble, read_ensemble
from degmm.ensembles.cells import as_cell, csv_bytes, of_cell

FORMULAS = [
    "=1+1",
    "+A1",
    "-A1",
    "@SUM(A1)",
    "=cmd|' /C calc'!A0",
    " =1",
    "\t=1",
    "＝1",
    "'=1",
    "''-x",
    "-",
    "=\r=1",
]
PLAIN = ["Köln", "a=b", "", "-5", "+3.5e-7", "-.5", "1-2", "'quoted'", "<b>", "#1"]


def runs(cell):
    """Whether a spreadsheet takes a cell for a formula."""
    try:
        float(cell)
    except ValueError:
        return cell.lstrip()[:1] in tuple("=+-@＝＋－＠")
    return False


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_text_and_comes_back(text):
    assert not runs(as_cell(text))
    assert of_cell(as_cell(text)) == text.replace("\r", "\n")


@pytest.mark.parametrize("text", PLAIN)
def test_other_text_stays_as_it_is(text):
    assert as_cell(text) == text
    assert of_cell(text) == text


@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_tables(dtype):
    table = pd.DataFrame({"=name": pd.Series(FORMULAS, dtype=dtype), "x": -np.arange(len(FORMULAS)) - 0.5})
    table["when"] = pd.Timestamp("2020-01-01")
    rows = list(csv.reader(io.StringIO(csv_bytes(table, index=False).decode())))
    assert rows[0] == ["'=name", "x", "when"]
    assert not any(runs(cell) for row in rows for cell in row)
    assert [float(row[1]) for row in rows[1:]] == table["x"].tolist()
    assert table["=name"].tolist() == FORMULAS  # the user's own is untouched
    labelled = table.set_index("=name")
    assert csv_bytes(labelled) == csv_bytes(table, index=False)


@pytest.fixture
def hostile(tmp_path):
    """Ensembles whose names and labels are formulas, with negative values."""
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(40, 4, 1)) - 8 * rng.integers(2, size=(40, 1, 1))).astype(np.float32)
    stations = np.array([*FORMULAS[:5], "-5"])[np.arange(40) % 6]
    data = Ensemble.from_numpy(
        values,
        ["=t2m"],
        coords={"=site": stations, "time": np.datetime64("2020-01-01", "ns") + np.arange(40)},
    )
    data.to_xarray().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    return data, tmp_path / "a.nc"


@pytest.mark.parametrize("name", ["clusters.csv", "clusters.csv.gz"])
def test_what_commands_write(name, hostile, tmp_path):
    data, file = hostile
    assert degmm("fit", file, "--K", 2, "--n-init", 1, "-q", "-o", tmp_path / "out") == 0
    assert degmm("predict", tmp_path / "out", file, "-q", "-o", tmp_path / name) == 0
    content = (tmp_path / name).read_bytes()
    content = gzip.decompress(content) if name.endswith("gz") else content
    rows = list(csv.reader(io.StringIO(content.decode())))
    assert not any(runs(cell) for row in rows for cell in row)
    assert "'=site" in rows[0]
    table = pd.read_csv(io.BytesIO(content))
    assert (table["log_density"] < 0).any()  # negative, and still a number
    back = [of_cell(label) for label in table["'=site"]]
    assert back == data.coords["=site"].tolist()


def test_labels_come_back(hostile, tmp_path):
    data, _ = hostile
    (tmp_path / "a.csv").write_bytes(csv_bytes(data.to_dataframe(), index=False))
    again = read_ensemble(tmp_path / "a.csv")
    assert again.variables == ("=t2m",)
    assert [str(label) for label in again.coords["=site"]] == data.coords["=site"].tolist()
    np.testing.assert_allclose(again.values, data.values, rtol=1e-6)
