"""``degmm simulate``, ``describe``, ``predict`` and ``report``, and what they share with ``fit``."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import real_file
from test_cli import degmm

from degmm import Ensemble, load, read_ensemble
from degmm.folders import finish

SMALL = ["--n", 60, "--M", 6, "--D", 2, "--K", 2, "--seed", 3]
FIT = ["--K", 2, "--n-init", 2]


def simulated(path, *options):
    assert degmm("simulate", "-o", path, *SMALL, *options, "-q") == 0
    return path


# --- simulate ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["data.nc", "data.csv", "data.csv.gz", "data.parquet", "data.npz"])
def test_simulated_files_hold_the_same(name, tmp_path):
    data = read_ensemble(simulated(tmp_path / name, "--missing", 0.1))
    reference = read_ensemble(simulated(tmp_path / "reference.nc", "--missing", 0.1))
    assert data.shape == (60, 6, 2)
    assert data.variables == ("x1", "x2")
    np.testing.assert_allclose(data.values, reference.values, rtol=1e-6)
    np.testing.assert_allclose(data.observations, reference.observations)
    assert 0.05 < 1 - data.mask.mean() < 0.15
    if not name.endswith(".npz"):  # arrays alone
        np.testing.assert_array_equal(data.coords["true_cluster"], reference.coords["true_cluster"])
        np.testing.assert_array_equal(data.coords["time"], reference.coords["time"])


def test_simulated_clusters_are_found(tmp_path):
    from degmm.metrics import accuracy

    file = simulated(tmp_path / "data.nc")
    assert degmm("fit", file, *FIT, "-o", tmp_path / "out") == 0
    with xr.open_dataset(tmp_path / "out" / "clusters.nc") as found:
        assert accuracy(found["true_cluster"].to_numpy(), found["cluster"].to_numpy().astype(int)) > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "data.txt"], "--output: expected the name of a file that ends in .nc, .npz, "),
        (["-o", ".nc"], "--output: expected the name of a file"),
        (["--missing", 2], "Invalid value for '--missing'"),
        (["--between", -1], "Invalid value for '--between'"),
    ],
)
def test_a_bad_simulation_is_one_sentence(options, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert degmm("simulate", *options) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# --- describe -------------------------------------------------------------------------------------------


def test_a_description_has_the_figures_of_the_data(tmp_path, capsys):
    rng = np.random.default_rng(0)
    days = np.arange("2001-01-01", "2003-01-01", dtype="datetime64[D]").astype("datetime64[ns]")
    season = 10 * np.cos(2 * np.pi * np.arange(len(days)) / 365.25)
    centre = season + rng.normal(size=len(days))
    members = centre[:, None] + 0.5 * rng.normal(size=(len(days), 8))
    data = Ensemble.from_numpy(
        members[..., None],
        ["t2m"],
        units=("degC",),
        case_dim="time",
        coords={"time": days},
        observations=(centre + 1 + 0.5 * rng.normal(size=len(days)))[:, None],
    )
    data.to_xarray().to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    assert degmm("describe", tmp_path / "x.nc", "--json", "-o", tmp_path / "out") == 0
    said = json.loads(capsys.readouterr().out)
    (row,) = said["tables"][0]["rows"]
    mean = members.mean(axis=1)
    errors = mean - data.observations[:, 0]
    assert row["mean"] == pytest.approx(members.mean())
    assert row["spread"] == pytest.approx(members.std())
    assert row["within"] == pytest.approx(np.sqrt(members.var(axis=1, ddof=1).mean()))
    assert row["bias"] == pytest.approx(errors.mean())
    assert row["bias"] == pytest.approx(-1, abs=0.1)
    assert row["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)))
    spread = np.sqrt(members.var(axis=1, ddof=1).mean() * 9 / 8)
    assert row["ratio"] == pytest.approx(spread / row["rmse"])
    assert row["season"] == pytest.approx(50 / 51, abs=0.02)
    text = " ".join(said["notes"])
    assert "--anomalies dayofyear takes it off" in text
    assert "--member-model shared-centre" in text
    assert "cases from 2001-01-01 to 2002-12-31 (time)" in text
    assert (tmp_path / "out" / "skill_1.png").stat().st_size > 10_000


def test_a_perfect_ensemble_is_no_reason_for_advice(tmp_path, capsys):
    assert degmm("describe", simulated(tmp_path / "x.nc"), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert not any("--member-model" in note or "--anomalies" in note for note in said["notes"])
    assert said["warnings"] == []
    assert list(tmp_path.iterdir()) == [tmp_path / "x.nc"]


def test_many_variables_are_pooled(tmp_path, capsys):
    X = np.random.default_rng(0).normal(size=(20, 5, 4, 6))
    data = xr.Dataset(
        {"t": (("time", "member", "lat", "lon"), X), "obs_t": (("time", "lat", "lon"), X[:, 0])}
    )
    data.to_netcdf(tmp_path / "grid.nc", engine="h5netcdf")
    grid = ["--feature-dim", "lat", "--feature-dim", "lon"]
    assert degmm("describe", tmp_path / "grid.nc", *grid, "--json", "-o", tmp_path / "out") == 0
    (row,) = json.loads(capsys.readouterr().out)["tables"][0]["rows"]
    assert row["variable"] == "all 24"
    assert row["mean"] == pytest.approx(X.mean())
    assert row["rmse"] == pytest.approx(np.sqrt(np.mean((X.mean(axis=1) - X[:, 0]) ** 2)))


def control_run(tmp_path):
    X = np.random.default_rng(0).normal(size=(400, 1, 2)) + np.random.default_rng(1).normal(size=(400, 8, 2))
    X[:, 3] = X.mean(axis=1) + 0.3 * (X[:, 3] - X.mean(axis=1))
    path = tmp_path / "control.nc"
    members = {"number": np.arange(10, 18)}
    dims = ("time", "number")
    xr.Dataset({"a": (dims, X[..., 0]), "b": (dims, X[..., 1])}, coords=members).to_netcdf(
        path, engine="h5netcdf"
    )
    return path


@pytest.mark.parametrize("command", [["describe"], ["fit", *FIT]])
def test_a_control_run_is_named_with_its_flag(command, tmp_path, capsys):
    output = ["-o", tmp_path / "out"]
    assert degmm(*command[:1], control_run(tmp_path), *command[1:], *output) == 0
    assert "member 13 has 0." in (error := capsys.readouterr().err)
    assert error.startswith("degmm: warning: ")
    assert error.rstrip().endswith("--control 13 leaves it out")
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [item["section"] for item in run["items"] if item["kind"] == "warning"] == ["Data"]
    assert degmm(*command[:1], tmp_path / "control.nc", *command[1:], "--control", 13, *output) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "member 13 left out as the control" in printed.out


def test_the_control_run_of_the_reforecast_and_none_of_the_german_data(capsys):
    assert degmm("describe", real_file("innsbruck_gefs.nc"), "-q") == 0
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1
    assert "member 0 has 0.4" in warnings[0]
    assert degmm("describe", real_file("germany_ecmwf_t2m.nc"), "-q") == 0
    assert capsys.readouterr().err == ""


# --- predict --------------------------------------------------------------------------------------------


@pytest.fixture
def fitted(tmp_path, netcdf):
    assert degmm("fit", netcdf, *FIT, "-q", "-o", tmp_path / "out") == 0
    return tmp_path / "out"


def test_clusters_of_the_same_cases_are_those_of_the_fit(fitted, netcdf, tmp_path, capsys):
    assert degmm("predict", fitted, netcdf, "-o", tmp_path / "new.nc") == 0
    assert "wrote" in capsys.readouterr().out
    with xr.open_dataset(fitted / "clusters.nc") as old, xr.open_dataset(tmp_path / "new.nc") as new:
        xr.testing.assert_equal(old, new)
        assert new.attrs["history"].startswith("degmm predict ")


@pytest.mark.parametrize("name", ["new.csv", "new.csv.gz", "new.parquet"])
def test_clusters_in_a_table(name, fitted, netcdf, tmp_path):
    assert degmm("predict", fitted, netcdf, "-o", tmp_path / name) == 0
    read = pd.read_parquet if name.endswith("parquet") else pd.read_csv
    table = read(tmp_path / name)
    assert list(table) == ["valid_date", "cluster", "log_density", "responsibility_0", "responsibility_1"]
    assert len(table) == 300
    assert table["cluster"][3] == -1
    assert np.isnan(table["log_density"][3])
    present = table["cluster"] >= 0
    np.testing.assert_array_equal(table["cluster"][present], load(fitted).labels_)


def test_other_members_order_and_units(fitted, netcdf, tmp_path, capsys):
    with xr.open_dataset(netcdf) as data:
        data.load()

    def predicted(new, name):
        new.to_netcdf(tmp_path / name, engine="h5netcdf")
        return degmm("predict", fitted, tmp_path / name, "-o", tmp_path / f"of_{name}")

    assert predicted(data.isel(member=slice(0, 4)), "few.nc") == 0
    assert predicted(data.isel(variable=[1, 0]), "swapped.nc") == 0
    with xr.open_dataset(fitted / "clusters.nc") as old, xr.open_dataset(tmp_path / "of_swapped.nc") as new:
        np.testing.assert_array_equal(old["cluster"], new["cluster"])
    capsys.readouterr()
    assert predicted(data.isel(variable=[0]), "one.nc") == 2
    assert "X: " not in (error := capsys.readouterr().err)
    assert "one.nc: variables t2m; the model was fitted to t2m, wind, and wind is missing" in error
    kelvin = data.assign_coords(units=("variable", ["K", "m/s"]))
    assert predicted(kelvin, "kelvin.nc") == 2
    assert "t2m is in 'K'; the model was fitted to 'degC': convert it first" in capsys.readouterr().err
    assert not list(tmp_path.glob("of_one*")) + list(tmp_path.glob("of_kelvin*"))


def test_a_file_is_read_as_in_the_fit(tmp_path, capsys):
    X = np.random.default_rng(0).normal(size=(40, 6, 2, 3)) + np.arange(40)[:, None, None, None] % 2 * 4
    dims = ("time", "run", "lat", "lon")
    data = xr.Dataset({"t": (dims, X)}, coords={"run": np.arange(6), "lat": [40, 41], "lon": [1, 2, 3]})
    data.to_netcdf(tmp_path / "grid.nc", engine="h5netcdf")
    options = ["--member-dim", "run", "--feature-dim", "lat", "--feature-dim", "lon", "--control", 5]
    assert degmm("fit", tmp_path / "grid.nc", *FIT, *options, "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / "fields.png").stat().st_size > 5_000
    assert degmm("predict", tmp_path / "out", tmp_path / "grid.nc", "-o", tmp_path / "c.nc") == 0
    assert "member 5 left out as the control" in capsys.readouterr().out
    data.isel(run=slice(0, 5)).to_netcdf(tmp_path / "without.nc", engine="h5netcdf")
    assert degmm("predict", tmp_path / "out", tmp_path / "without.nc", "-o", tmp_path / "d.nc") == 0
    with xr.open_dataset(tmp_path / "c.nc") as one, xr.open_dataset(tmp_path / "d.nc") as two:
        np.testing.assert_array_equal(one["cluster"], two["cluster"])
        assert one["cluster"].dims == ("time",)


def test_anomalies_and_context_are_those_of_the_fit(tmp_path, capsys):
    file = simulated(tmp_path / "x.nc", "--n", 800)
    anomalies = ["--anomalies", "dayofyear"]
    assert degmm("fit", file, *FIT, *anomalies, "-o", tmp_path / "out") == 0
    assert degmm("predict", tmp_path / "out", file, "-o", tmp_path / "c.nc") == 0
    with xr.open_dataset(tmp_path / "c.nc") as new:
        np.testing.assert_array_equal(new["cluster"], load(tmp_path / "out").labels_)
    deep = ["--model", "degmm", "--context", "season", "--num_epochs", 20, "--no-progress"]
    assert degmm("fit", file, *FIT, *deep, "-o", tmp_path / "deep") == 0
    assert degmm("predict", tmp_path / "deep", file, "-o", tmp_path / "d.nc") == 0
    with xr.open_dataset(tmp_path / "d.nc") as new:
        np.testing.assert_array_equal(new["cluster"], load(tmp_path / "deep").labels_)
    capsys.readouterr()
    for options, message in {
        ("--anomalies", "week"): "--anomalies: expected 'dayofyear' or 'month' first, got 'week'",
        ("--anomalies", "month,station"): "--anomalies: no coordinate 'station'",
        ("--context", "season"): "--context: model egmm has no such option",
        ("--model", "degmm", "--context", "lead"): "--context: no coordinate 'lead' of the cases",
    }.items():
        assert degmm("fit", file, *FIT, *options, "-o", tmp_path / "bad") == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent", "x.nc"], "absent: no saved model there"),
        (["out", "absent.nc", "-o", "new/c.nc"], "absent.nc: no such file"),
        (["out", "x.nc", "-o", "c.txt"], "--output: expected the name of a file that ends in .nc, .csv, "),
        (["out", "x.nc", "-o", "x.nc/c.nc"], "--output: the folder x.nc cannot be"),
    ],
)
def test_a_bad_prediction_is_one_sentence(arguments, message, fitted, netcdf, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    netcdf.rename(tmp_path / "x.nc")
    assert degmm("predict", *arguments) == 2
    assert message in (error := capsys.readouterr().err)
    assert len(error.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"out", "x.nc"}


# --- report ---------------------------------------------------------------------------------------------


def test_every_output_folder_has_its_page(netcdf, tmp_path, capsys):
    commands = {
        "fit": ["fit", netcdf, *FIT],
        "select": ["select", netcdf, "--K", "1,2", "--folds", 0, "--n-init", 2, "--jobs", 1],
        "describe": ["describe", netcdf],
        "compare": ["compare", "--n", 60, "--K", 2, "--num_epochs", 10],
    }
    for name, command in commands.items():
        assert degmm(*command, "-o", tmp_path / name) == 0
        assert degmm("report", tmp_path / name) == 0
        page = (tmp_path / name / "report.html").read_text()
        assert f"degmm {name}" in page
        assert "How to repeat it" in page
        run = json.loads((tmp_path / name / "run.json").read_text())
        pictures = [item["file"] for item in run["items"] if item["kind"] == "picture"]
        assert page.count("<img ") == len(pictures)
        assert "is missing from the folder" not in page
    capsys.readouterr()
    assert degmm("report", tmp_path / "fit", "-o", tmp_path / "page.html") == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'page.html'}\n"
    assert degmm("report", tmp_path / "absent") == 2
    assert "absent: no such folder" in capsys.readouterr().err


# --- killed -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills with a signal")
def test_a_killed_fit_leaves_the_old_output_or_the_new(netcdf, tmp_path):
    out = tmp_path / "out"
    assert degmm("fit", netcdf, *FIT, "-q", "-o", out) == 0

    def content():
        return {path.name: path.read_bytes() for path in out.iterdir() if not path.name.startswith(".")}

    old = content()
    command = [sys.executable, "-m", "degmm", "fit", netcdf, "--K", "3", "--n-init", "2", "-q", "-o", out]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - start
    new = content()
    assert json.loads(new["run.json"])["configuration"]["K"] == 3
    assert degmm("fit", netcdf, *FIT, "-q", "-o", out) == 0
    old = content()
    kills = [(signal.SIGKILL, share) for share in (0.3, 0.8, 0.95)]
    for number, share in [*kills, (signal.SIGTERM, 0.9), (signal.SIGINT, 0.5), (signal.SIGINT, 0.95)]:
        before = content()
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            time.sleep(share * seconds)
            process.send_signal(number)
            said = process.communicate()[1]
        if process.returncode == -signal.SIGINT:  # when all was done, and Python itself was ending
            assert said == ""
        elif number == signal.SIGINT and process.returncode:
            assert process.returncode == 130
            assert said == (
                "degmm: interrupted; nothing was written\n"
                if content() == before
                else f"degmm: interrupted; {out} had been written by then\n"
            )
        finish(out)
        assert not [path for path in out.iterdir() if path.name.startswith(".")]
        found = content()
        complete = json.loads(found["run.json"])["configuration"]["K"]
        assert set(found) == set(json.loads(found["run.json"])["files"])
        assert load(out).n_components == complete
        if complete == 2:
            assert found == old
