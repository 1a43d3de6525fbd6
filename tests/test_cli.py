import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import real_file

from degmm import EGMM, load, read_ensemble
from degmm.cli import main


def degmm(*arguments):
    """Run the command line in this process and return its exit code."""
    try:
        main([str(a) for a in arguments])
    except SystemExit as stop:
        return stop.code or 0
    return 0


def test_compare_prints_table_pictures_and_seconds(tmp_path, capsys):
    sizes = ["--n", 100, "--M", 5, "--D", 2, "--K", 2, "--num_epochs", 10, "--seed", 3]
    assert degmm("compare", *sizes, "-o", tmp_path) == 0
    out = capsys.readouterr().out
    for word in (
        "Bayes, one member",
        "DEGMM",
        "accuracy",
        "wrote",
        "seconds: import",
        "pictures",
        "compiling",
    ):
        assert word in out
    assert (tmp_path / "results.png").exists()


def test_fit_writes_model_clusters_and_picture(netcdf, tmp_path, capsys):
    import xarray as xr

    out = tmp_path / "out"
    assert degmm("fit", netcdf, "--model", "egmm", "--K", 3, "-o", out) == 0
    text = capsys.readouterr().out
    assert "n = 299 ensembles, M = 10 members, D = 2 variables" in text
    assert "1 of 300 ensembles (no member left), and 2 single members" in text
    assert "t2m [degC]" in text
    with xr.open_dataset(out / "clusters.nc") as clusters:
        assert clusters["cluster"].sizes["case"] == 300
        assert int(clusters["cluster"][3]) == -1
        assert "valid_date" in clusters.coords
        gamma = clusters["responsibility"].to_numpy()
        labels = clusters["cluster"].to_numpy()
    assert np.isnan(gamma[3]).all()
    present = labels >= 0
    np.testing.assert_array_equal(gamma[present].argmax(axis=1), labels[present])
    model = load(out)
    values = read_ensemble(netcdf).values
    np.testing.assert_array_equal(model.predict(values[present]), labels[present])
    np.testing.assert_array_equal(EGMM(3, random_state=0).fit(values[present]).labels_, labels[present])
    assert (out / "clusters.png").stat().st_size > 10_000


@pytest.mark.parametrize("model", ["gmm", "dgmm", "degmm"])
def test_fit_with_other_models_and_one_variable(netcdf, tmp_path, model, capsys):
    options = ["--variable", "wind", "--num-epochs", 20, "--K", 2, "--no-progress", "--n-init", 4]
    assert degmm("fit", netcdf, "--model", model, "-o", tmp_path / "out", *options) == 0
    assert "D = 1 variables" in capsys.readouterr().out
    assert load(tmp_path / "out").n_features_in_ == 1


def not_netcdf(tmp_path):
    path = tmp_path / "text.nc"
    path.write_text("no data")
    return path


def no_member_dimension(tmp_path):
    import xarray as xr

    path = tmp_path / "flat.nc"
    xr.Dataset({"t": (("time", "x"), np.zeros((4, 3)))}).to_netcdf(path, engine="h5netcdf")
    return path


BAD_COMMANDS = {
    "missing file": (lambda t, nc: ["fit", t / "no.nc"], "no such file"),
    "a folder": (lambda t, nc: ["fit", t], "is a folder, expected a NetCDF file"),
    "not NetCDF": (lambda t, nc: ["fit", not_netcdf(t)], "not a readable NetCDF-4 file"),
    "no member dimension": (lambda t, nc: ["fit", no_member_dimension(t)], "no member dimension found"),
    "wrong member dimension": (
        lambda t, nc: ["fit", nc, "--member-dim", "m"],
        "member_dim: no dimension 'm'",
    ),
    "unknown variable": (lambda t, nc: ["fit", nc, "--variable", "rain"], "variables: no variable 'rain'"),
    "unknown model": (lambda t, nc: ["fit", nc, "--model", "kmeans"], "model: expected one of gmm, egmm"),
    "K = 0": (lambda t, nc: ["fit", nc, "--K", "0"], "n_components: expected an integer of at least 1"),
    "n < K": (lambda t, nc: ["fit", nc, "--K", "400"], "too few for 400 components"),
    "unknown encoder": (
        lambda t, nc: ["fit", nc, "--model", "degmm", "--encoder", "cnn"],
        "encoder: expected one of 'moments', 'mlp'",
    ),
    "unwritable folder": (lambda t, nc: ["fit", nc, "-o", nc / "x"], "cannot be written"),
    "first member missing": (
        lambda t, nc: ["fit", nc, "--model", "gmm", "--K", "2", "--variable", "t2m"],
        None,
    ),
    "compare K = 0": (lambda t, nc: ["compare", "--K", "0", "-o", t], "K: expected at least 1, got 0"),
    "compare n < K": (lambda t, nc: ["compare", "--n", "2", "--K", "3", "-o", t], "too few for 3 components"),
    "compare unwritable": (lambda t, nc: ["compare", "-o", nc / "x"], "cannot be written"),
    "compare unknown draw": (lambda t, nc: ["compare", "--covariance", "x", "-o", t], "covariance: expected"),
    "not a number": (lambda t, nc: ["compare", "--n", "many"], "Invalid value for '--n'"),
    "unknown option": (lambda t, nc: ["compare", "--N", "3"], "No such option"),
    "unknown command": (lambda t, nc: ["cluster"], "No such command"),
}
del BAD_COMMANDS["first member missing"]


@pytest.mark.parametrize("case", BAD_COMMANDS)
def test_a_mistake_gives_one_sentence_and_exit_code_2(case, tmp_path, netcdf, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, message = BAD_COMMANDS[case]
    assert degmm(*make(tmp_path, netcdf)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    if error.startswith("degmm:"):  # typer frames its own messages
        assert len(error.splitlines()) == 1
    assert not list(tmp_path.rglob("clusters.nc"))


def test_first_member_missing(tmp_path, capsys):
    import xarray as xr

    X = np.random.default_rng(0).normal(size=(20, 3, 1))
    X[4, 0] = np.nan
    path = tmp_path / "gap.nc"
    xr.Dataset({"t": (("time", "number", "x"), X)}).to_netcdf(path, engine="h5netcdf")
    assert degmm("fit", path, "--model", "gmm", "-o", tmp_path / "out") == 2
    assert "the first member is missing in 1 ensembles; use --model egmm" in capsys.readouterr().err


def test_imports_are_light():
    """The help needs none of the heavy packages, and a fit by EM no network, file or picture package."""
    heavy = "{'jax', 'numpy', 'sklearn', 'flax', 'matplotlib', 'pandas', 'xarray'}"
    code = f"import sys; from degmm.cli import app; print(sorted({heavy} & set(sys.modules)))"
    assert run_python(code) == "[]"
    code = "import sys; from degmm import EGMM; print(sorted({'flax', 'optax', 'matplotlib', 'xarray'} & set(sys.modules)))"
    assert run_python(code) == "[]"


def run_python(code):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    return done.stdout.strip()


def test_fit_of_the_german_forecast(tmp_path, capsys):
    file = real_file("germany_ecmwf_t2m.nc")
    for name in ("one", "two"):
        assert degmm("fit", file, "--model", "egmm", "--K", 4, "-o", tmp_path / name) == 0
    text = capsys.readouterr().out
    assert "n = 4426 ensembles, M = 50 members, D = 3 variables" in text
    assert "35 of 4461 ensembles" in text
    assert "t2m_list_sylt_24h" in text
    one, two = (load(tmp_path / name) for name in ("one", "two"))
    np.testing.assert_array_equal(one.labels_, two.labels_)
    assert one.converged_
