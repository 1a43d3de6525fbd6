"""What is printed: names of others have no control characters, and mistakes are told in plain sentences."""

import json

import numpy as np
import pytest
import xarray as xr
from test_cli import degmm

from degmm.inference.progress import TrainingProgress
from degmm.report import render
from degmm.wording import CONTROL, in_one_line, visible

EVIL = "t\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\r"


def controls(text):
    return CONTROL.findall(text.replace("\n", ""))


def test_control_characters_are_written_out():
    assert visible("a\x1b[1m\n\u202eb\x9b") == "a\\x1b[1m\\n\\u202eb\\x9b"
    assert visible("a\n\x00", keep="\n") == "a\n\\x00"
    assert visible("Köln γ ± 😀") == "Köln γ ± 😀"
    assert in_one_line(" a\n  b\tc\x07 ") == "a b c\\x07"


@pytest.fixture
def evil(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 4)) + 4 * (np.arange(40)[:, None] % 3 == 0)
    data = xr.Dataset(
        {EVIL: (("time", "member"), values, {"units": EVIL}), "obs": ("time", values.mean(1))},
        coords={
            "time": np.datetime64("2020-01-01", "ns") + np.arange(40),
            "site": ("time", [EVIL, "b"] * 20),
        },
    )
    path = tmp_path / "evil\x1b[31m\u202e.nc"
    data.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.mark.parametrize("flags", [[], ["--verbose"], ["--json"]])
def test_names_in_a_file(flags, evil, tmp_path, capsys):
    out = tmp_path / "out\x1b[5m"
    commands = [
        ["describe", evil, *flags],
        ["fit", evil, "--K", 2, "--n-init", 1, "--no-progress", *flags, "-o", out],
        ["predict", out, evil, *flags, "-o", tmp_path / "a\x1b[1m.csv"],
        ["report", out, *flags],
    ]
    for command in commands:
        assert degmm(*command) == 0
        printed = capsys.readouterr()
        assert not controls(printed.out + printed.err)
        if flags == ["--json"]:
            json.loads(printed.out)
        elif command[0] != "report":
            assert "\\x1b" in printed.out
    page = render(out)
    assert not controls(page.replace("\t", ""))
    assert "\\x1b" in page


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "\x1b[2J.nc"],
        ["fit", "a.nc", "--K", "\x1b[2J\n"],
        ["fit", "a.nc", "--model", "\x1b[2J"],
        ["fit", "a.nc", "--\x1b[2J"],
        ["\x1b[2J"],
        ["report", "\x1b[2J\n\u202e"],
        ["fit", "a.nc", "--config", "\x1b[2J"],
    ],
)
def test_messages(arguments, capsys):
    assert degmm(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("degmm: ")
    assert len(printed.err.splitlines()) == 1
    assert not controls(printed.out + printed.err)


def test_progress(capsys):
    with TrainingProgress(True, 3) as shown:
        shown.report(1, f"of {EVIL}")
    assert not controls(capsys.readouterr().err)


# --- options -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["fit", "a.nc", "--K", "many"],
            "Invalid value for '--K': expected an integer; got 'many' (degmm fit --help",
        ),
        (["fit", "a.nc", "--K", "2.5"], "'--K': expected an integer; got '2.5'"),
        (["fit", "a.nc", "--K", "0"], "'--K': expected at least 1; got '0'"),
        (["fit", "a.nc", "--K", "9" * 5000], "'--K': expected an integer"),
        (["fit", "a.nc", "--seed", "9" * 400], "'--seed': expected an integer of at most 80 digits"),
        (["simulate", "--missing", "2"], "'--missing': expected at most 1; got '2'"),
        (["simulate", "--between", "much"], "'--between': expected a number; got 'much'"),
        (["fit", "a.nc", "--missing", "none"], "'--missing': expected a number; got 'none'"),
        (
            ["fit", "a.nc", "--model", "best"],
            "'--model': expected one of 'gmm', 'egmm', 'dgmm', 'degmm'; got 'best'",
        ),
        (["fit", "a.nc", "--K"], "--K needs a value"),
        (["fit", "a.nc", "--variabel", "x"], "No such option: --variabel; did you mean"),
        (["fit"], "Missing argument 'FILE'"),
    ],
)
def test_a_bad_option_is_one_plain_sentence(arguments, message, capsys):
    assert degmm(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert len(error) < 300
    assert "Input should" not in error
    assert "validation error" not in error


@pytest.mark.parametrize(
    "said", ["K = 'many'", "K = 2.5", "K = 0", "missing = ['none']", "model = 'best'", "output = 3"]
)
def test_a_bad_value_in_a_configuration(said, tmp_path, capsys):
    (tmp_path / "run.toml").write_text(said)
    assert degmm("fit", tmp_path / "none.nc", "--config", tmp_path / "run.toml") == 2
    error = capsys.readouterr().err
    assert ("none.nc" if said.startswith("output") else "--config: Invalid value for '--") in error
    assert "Input should" not in error
