"""What every command has in common: configuration, record, JSON, quiet and verbose."""

import json
import re
import subprocess
import sys
import tomllib

import numpy as np
import pytest
import xarray as xr
from test_cli import degmm

FIT = ["--K", 2, "--n-init", 2]


def test_a_run_is_repeated_by_its_configuration(netcdf, tmp_path, capsys):
    options = [*FIT, "--variable", "wind", "--member-model", "shared-centre", "--seed", 5]
    assert degmm("fit", netcdf, *options, "-o", tmp_path / "one") == 0
    settings = tomllib.loads((tmp_path / "one" / "run.toml").read_text())
    assert settings["command"] == "fit"
    assert settings["K"] == 2
    assert settings["variable"] == ["wind"]
    assert settings["seed"] == 5
    assert not {"encoder", "num_epochs", "config", "quiet"} & set(settings)  # no options of egmm
    assert degmm("fit", "--config", tmp_path / "one" / "run.toml", "-o", tmp_path / "two") == 0
    with (
        xr.open_dataset(tmp_path / "one" / "clusters.nc") as one,
        xr.open_dataset(tmp_path / "two" / "clusters.nc") as two,
    ):
        xr.testing.assert_identical(one, two)
    repeated = tomllib.loads((tmp_path / "two" / "run.toml").read_text())
    assert repeated == settings | {"output": str(tmp_path / "two")}
    capsys.readouterr()


def test_flags_go_before_the_configuration(netcdf, tmp_path):
    (tmp_path / "run.toml").write_text(f'file = "{netcdf}"\nK = 3\nn_init = 2\nvariable = "t2m"\n')
    assert degmm("fit", "--config", tmp_path / "run.toml", "--K", 2, "-o", tmp_path / "out") == 0
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["configuration"]["K"] == 2
    assert run["configuration"]["n-init"] == 2
    assert run["configuration"]["variable"] == ["t2m"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clusters = 3", "run.toml: degmm fit has no option 'clusters'"),
        ("variabel = 3", "degmm fit has no option 'variabel'; did you mean 'variable'?"),
        ("K = 3\nK = 4", "not a readable TOML file (Cannot overwrite a value"),
        ("K", "not a readable TOML file"),
        ("[K]\nK = 3", "'K' is a table; expected a value"),
        ("K = [1, 2]", "'K' takes a single value, got a list"),
        ('command = "select"', "is of degmm select, not of degmm fit"),
        ('config = "x.toml"', "has no option 'config'"),
        ('encoder = "mlp"', "--encoder: model egmm has no such option"),
        (
            "K = 0",
            "--config: Invalid value for '--K': expected at least 1; got '0' (degmm fit --help",
        ),
        ('K = "many"', "--config: Invalid value for '--K'"),
        ("K = true", "'K' is no switch: expected a value"),
        ("progress = 1", "'progress' is a switch: expected true or false"),
        ("num_epochs = 1\n'num-epochs' = 2", "'num-epochs' is there in two spellings"),
    ],
)
def test_a_bad_configuration_is_one_sentence(text, message, netcdf, tmp_path, capsys):
    (tmp_path / "run.toml").write_text(text)
    assert degmm("fit", netcdf, "--config", tmp_path / "run.toml", "-o", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_configuration_that_cannot_be_read(netcdf, tmp_path, capsys):
    for path in (tmp_path / "absent.toml", tmp_path):
        assert degmm("fit", netcdf, "--config", path) == 2
        assert capsys.readouterr().err.startswith(f"degmm: --config: {path}: ")
    (tmp_path / "latin.toml").write_bytes(b"file = '\xe9'")
    assert degmm("fit", "--config", tmp_path / "latin.toml") == 2
    assert "not a readable TOML file" in capsys.readouterr().err


def test_the_record_says_what_is_needed_to_repeat(netcdf, tmp_path):
    import hashlib

    assert degmm("fit", netcdf, *FIT, "-o", tmp_path / "out") == 0
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["command_line"].startswith("degmm fit ")
    assert run["input"]["sha256"] == hashlib.sha256(netcdf.read_bytes()).hexdigest()
    assert run["input"]["bytes"] == netcdf.stat().st_size
    assert {"degmm", "python", "jax", "numpy"} <= set(run["versions"])
    assert run["configuration"]["seed"] == 0
    assert set(run["files"]) == {path.name for path in (tmp_path / "out").iterdir()}
    pictures = {item["file"] for item in run["items"] if item["kind"] == "picture"}
    assert pictures == {"clusters.png", "regimes.png"}


def test_files_of_a_former_run_do_not_stay(netcdf, tmp_path):
    out = tmp_path / "out"
    deep = ["--model", "dgmm", "--num-epochs", 5, "--variable", "t2m", "--no-progress", *FIT]
    (tmp_path / "first.nc").write_bytes(first_members(netcdf))
    assert degmm("fit", tmp_path / "first.nc", *deep, "-o", out) == 0
    assert (out / "training.png").exists()
    (out / "mine.txt").write_text("mine")
    assert degmm("fit", netcdf, *FIT, "--format", "svg", "-o", out) == 0
    names = {path.name for path in out.iterdir()}
    assert {"training.png", "clusters.png"}.isdisjoint(names)
    assert {"clusters.svg", "mine.txt"} <= names
    assert sum(name.endswith(".safetensors") for name in names) == 1


def first_members(netcdf):
    with xr.open_dataset(netcdf) as data:
        return bytes(data.dropna("case").load().to_netcdf(engine="h5netcdf"))


def test_json_is_all_that_is_printed(netcdf, tmp_path, capsys):
    assert degmm("fit", netcdf, *FIT, "--json", "-o", tmp_path / "out") == 0
    printed = capsys.readouterr()
    said = json.loads(printed.out)
    assert said["command"] == "fit"
    (table,) = said["tables"]
    sizes = [row["size"] for row in table["rows"]]
    assert sum(sizes) == 299
    assert all(isinstance(size, int) for size in sizes)
    assert set(table["rows"][0]["mean"]) == {"t2m [degC]", "wind [m/s]"}
    assert str(tmp_path / "out" / "clusters.nc") in said["files"]
    assert any("n = 299 ensembles" in note for note in said["notes"])


def test_json_holds_no_number_that_json_has_not(netcdf, tmp_path, capsys):
    assert (
        degmm(
            "select", netcdf, "--K", "1,2", "--folds", 0, "--n-init", 2, "--jobs", 1, "--json", "-o", tmp_path
        )
        == 0
    )
    rows = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["tables"][0]["rows"]
    assert [row["K"] for row in rows] == [1, 2]
    assert rows[0]["held_out"] is None
    assert rows[0]["bic"] > rows[1]["bic"]


def test_quiet_and_verbose(netcdf, tmp_path, capsys):
    assert degmm("fit", netcdf, *FIT, "-q", "-o", tmp_path / "q") == 0
    assert capsys.readouterr().out == ""
    assert degmm("fit", netcdf, *FIT, "-v", "-o", tmp_path / "v") == 0
    text = capsys.readouterr().out
    assert re.search(r"^seconds: \d", text, re.MULTILINE)
    assert "jax " in text


def test_the_shells_complete(capsys, monkeypatch):
    monkeypatch.setenv("_DEGMM_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "degmm sim")
    monkeypatch.setenv("COMP_CWORD", "1")
    monkeypatch.setattr("sys.argv", ["degmm"])
    from degmm.cli.app import app

    with pytest.raises(SystemExit):
        app(prog_name="degmm")
    assert capsys.readouterr().out.split() == ["simulate"]


def test_help_names_every_flag_and_default(capsys):
    assert degmm("fit", "--help") == 0
    text = capsys.readouterr().out
    for word in (
        "--control",
        "--feature-dim",
        "--anomalies",
        "--context",
        "--config",
        "--json",
        "default: 3",
    ):
        assert word in text
    assert np.char.count(text, "Deep models") == 1


def test_a_configuration_can_be_varied(netcdf, tmp_path):
    """Its defaults are not asked for, an empty text takes a value back, and no-progress is the opposite of progress."""
    (tmp_path / "run.toml").write_text(
        f'file = "{netcdf}"\nK = 2\nn-init = 2\nvariable = ["t2m"]\nanomalies = "month"\n'
        'member-model = "independent"\nno-progress = true\n'
    )
    again = ["fit", "--config", tmp_path / "run.toml", "-o", tmp_path / "out"]
    assert degmm(*again, "--model", "egmm", "--variable", "", "--anomalies", "") == 0
    settings = tomllib.loads((tmp_path / "out" / "run.toml").read_text())
    assert "variable" not in settings
    assert "anomalies" not in settings
    # gmm has no member model, and takes one that is as by default for none
    (tmp_path / "run.toml").write_text(
        f'file = "{netcdf}"\nmember-model = "independent"\nvariable = "wind"\n'
    )
    assert degmm(*again, "--model", "gmm", "--n-init", 2) == 0


def test_no_progress_in_a_configuration(tmp_path):
    import typer

    from degmm.cli.app import app
    from degmm.cli.config import read_config

    command = typer.main.get_command(app).commands["fit"]
    (tmp_path / "run.toml").write_text("no-progress = true")
    assert read_config(tmp_path / "run.toml", command) == {"progress": False}
    (tmp_path / "run.toml").write_text("progress = false")
    assert read_config(tmp_path / "run.toml", command) == {"progress": False}


@pytest.mark.parametrize("name", ["clusters.nc", "run.json"])
def test_results_never_replace_what_is_read(name, netcdf, tmp_path, capsys):
    folder = tmp_path / "mine"
    folder.mkdir()
    netcdf.rename(folder / name)
    content = (folder / name).read_bytes()
    assert degmm("fit", folder / name, *FIT, "-o", folder) == 2
    assert (
        f"--output: {folder / name} would replace {folder / name}, which is read" in capsys.readouterr().err
    )
    assert (folder / name).read_bytes() == content
    assert degmm("fit", folder / name, *FIT, "-q", "-o", tmp_path / "out") == 0
    (folder / name).rename(folder / "x.nc")
    assert degmm("predict", tmp_path / "out", folder / "x.nc", "-o", folder / "x.nc") == 2
    assert (folder / "x.nc").read_bytes() == content


def test_results_do_not_go_into_a_zarr_folder_that_is_read(netcdf, tmp_path, capsys):
    with xr.open_dataset(netcdf) as data:
        data.load().drop_vars("units").assign_coords(variable=[0, 1]).to_zarr(
            tmp_path / "x.zarr", zarr_format=2
        )
    before = sorted(path.name for path in (tmp_path / "x.zarr").rglob("*"))
    for output in (tmp_path / "x.zarr", tmp_path / "x.zarr" / "out"):
        assert degmm("fit", tmp_path / "x.zarr", *FIT, "-o", output) == 2
        assert "which is read; choose another place" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "x.zarr").rglob("*")) == before


def test_another_command_does_not_take_a_folder_over(netcdf, tmp_path, capsys):
    out = tmp_path / "out"
    assert degmm("fit", netcdf, *FIT, "-q", "-o", out) == 0
    before = sorted(path.name for path in out.iterdir())
    assert degmm("select", netcdf, "--K", "1,2", "--folds", 0, "-o", out) == 2
    assert f"--output: {out} holds the results of degmm fit; choose another folder" in capsys.readouterr().err
    assert degmm("describe", netcdf, "-o", out) == 2
    assert sorted(path.name for path in out.iterdir()) == before


def test_a_reader_that_goes_away_does_not_stop_the_work(netcdf, tmp_path):
    command = [sys.executable, "-m", "degmm", "fit", netcdf, *map(str, FIT), "-o", tmp_path / "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
    assert (tmp_path / "out" / "run.json").exists()


def test_weights_and_context_in_a_file_are_used_and_told(tmp_path, mixture, capsys):
    weights = np.where(np.arange(300) < 100, 3.0, 1.0)
    np.savez(tmp_path / "w.npz", X=mixture[0], weights=weights)
    np.savez(tmp_path / "copies.npz", X=np.concatenate([mixture[0], *[mixture[0][:100]] * 2]))
    figures = []
    for name in ("w.npz", "copies.npz"):
        assert degmm("fit", tmp_path / name, *FIT, "-o", tmp_path / "out") == 0
        out = capsys.readouterr().out
        assert ("weights in 'weights'" in out) == (name == "w.npz")
        figures.append(float(re.search(r"log-likelihood per member: (\S+) nats", out)[1]))
    assert figures[0] == pytest.approx(figures[1], abs=1e-3)
    criteria = []
    for name in ("w.npz", "copies.npz"):
        options = ["--K", "2", "--folds", 0, "--n-init", 2, "--jobs", 1, "--json", "-o", tmp_path / "select"]
        assert degmm("select", tmp_path / name, *options) == 0
        criteria.append(json.loads(capsys.readouterr().out)["tables"][0]["rows"][0]["bic"])
    assert criteria[0] == pytest.approx(criteria[1], rel=1e-4)
