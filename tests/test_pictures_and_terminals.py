"""Neither a picture nor a terminal's encoding ends a run, and names are drawn as they are."""

import io
import json
import sys
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from degmm.cli import main
from degmm.plotting import new_figure, save_figure
from degmm.wording import CONTROL

NAMES = [
    "$",
    "$$",
    "$/MWh",
    r"$\celsius$",
    "a$_ and b$",
    "$/MWh and $/kWh",
    "W m$^{-2}$",
    r"\$ 5",
    "$a",
    "^$_$",
    "a\x1b]0;b\x07\u202ec",
]


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 4)) + 4 * (np.arange(40)[:, None] % 3 == 0)
    data = xr.Dataset(
        {"t2m": (("time", "member"), values, {"units": r"$\celsius$"}), "obs": ("time", values.mean(1))},
        coords={"time": pd.date_range("2020-01-01", periods=40, freq="6D")},
    )
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    return tmp_path / "a.nc"


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    return ended.value.code


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_any_name_is_drawn(name, suffix, tmp_path):
    figure, (axes,) = new_figure(size=(3, 3), dpi=40)
    axes.bar([0, 1], [1, 2], label=name)
    axes.set_xticks([0, 1], [name, "b"])
    axes.set_title(name)
    axes.text(0, 0, name)
    axes.set_yscale("log")  # has formulas of its own
    axes.legend()
    figure.suptitle(name)
    content = save_figure(figure, tmp_path / f"a.{suffix}").read_bytes()
    if suffix == "svg":
        ElementTree.fromstring(content)
        assert not CONTROL.search(content.decode().replace("\n", ""))
    assert axes.title.get_parse_math() == ("$" not in name or name in ("W m$^{-2}$", r"\$ 5"))
    assert all(label.get_parse_math() for label in axes.get_yticklabels())


def test_a_picture_that_fails_is_a_warning(file, tmp_path, monkeypatch, capsys):
    def fails(*_, **__):
        raise RuntimeError("no such\nfont")

    monkeypatch.setattr("degmm.plotting.style.LiteralFigure.savefig", fails)
    for command in (["fit", file, "--K", 2, "--n-init", 2], ["describe", file]):
        out = tmp_path / command[0]
        assert run(*command, "--no-progress" if command[0] == "fit" else "-q", "-o", out) == 0
        said = capsys.readouterr().err
        assert "could not be drawn (no such font); all other results are there" in said
        record = json.loads((out / "run.json").read_text())
        assert "picture" not in {item["kind"] for item in record["items"]}
    assert (tmp_path / "fit" / "model.json").exists()
    assert run("report", tmp_path / "fit") == 0


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_an_encoding_ends_no_run(encoding, file, monkeypatch):
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    assert run("describe", file) == 0
    streams["stdout"].flush()
    assert b"?" in streams["stdout"].buffer.getvalue()
