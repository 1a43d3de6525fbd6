import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import real_file

from degmm import EGMM, load, read_ensemble
from degmm.cli import main
from degmm.cli.flags import translated
from degmm.cli.tables import with_spreads


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
    assert "missing values: t2m 12 of 3000, wind 10 of 3000" in text
    assert "empty" not in text
    assert "KL" not in text
    assert "t2m [degC]" in text
    with xr.open_dataset(out / "clusters.nc") as clusters:
        assert clusters["cluster"].sizes["case"] == 300
        assert np.isnan(clusters["cluster"][3])  # missing, as readers of NetCDF see it
        assert "valid_date" in clusters.coords
        gamma = clusters["responsibility"].to_numpy()
        labels = clusters["cluster"].to_numpy()
    assert np.isnan(gamma[3]).all()
    present = labels >= 0
    np.testing.assert_array_equal(gamma[present].argmax(axis=1), labels[present])
    model = load(out)
    values = read_ensemble(netcdf).values
    np.testing.assert_array_equal(model.predict(values[present]), labels[present])
    np.testing.assert_array_equal(model.predict(read_ensemble(netcdf).dropna()), labels[present])
    with xr.open_dataset(out / "clusters.nc", decode_cf=False) as stored:
        raw = stored["cluster"]
        assert raw.dtype == np.int32
        assert int(raw[3]) == raw.attrs["_FillValue"] == -1
        assert raw.attrs["flag_values"].tolist() == [0, 1, 2]
        assert raw.attrs["flag_meanings"] == "cluster_0 cluster_1 cluster_2"
    np.testing.assert_array_equal(EGMM(3, random_state=0).fit(values[present]).labels_, labels[present])
    assert (out / "clusters.png").stat().st_size > 10_000


@pytest.mark.parametrize("model", ["gmm", "dgmm", "degmm"])
def test_fit_with_other_models_and_one_variable(netcdf, tmp_path, model, capsys):
    options = ["--variable", "wind", "--K", 2, "--no-progress", "--n-init", 4]
    options += [] if model == "gmm" else ["--num-epochs", 20]
    assert degmm("fit", netcdf, "--model", model, "-o", tmp_path / "out", *options) == 0
    text = capsys.readouterr().out
    assert "D = 1 variable\n" in text
    assert ("KL of the network's γ from the exact posterior: " in text) == (model != "gmm")
    assert ("(20 epochs)" in text) == (model != "gmm")
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


def infinite_value(tmp_path):
    import xarray as xr

    X = np.random.default_rng(0).normal(size=(20, 3))
    X[4] = np.nan  # dropped, so that case 7 is the sixth of those left
    X[7, 2] = np.inf
    path = tmp_path / "infinite.nc"
    xr.Dataset({"t": (("time", "number"), X)}).to_netcdf(path, engine="h5netcdf")
    return path


def control_run(tmp_path):
    import xarray as xr

    X = np.random.default_rng(0).normal(size=(20, 3))
    path = tmp_path / "control.nc"
    data = xr.Dataset({"t2m": (("time", "number"), X), "hres": ("time", X[:, 0])})
    data.to_netcdf(path, engine="h5netcdf")
    return path


def one_variable_missing(tmp_path):
    import xarray as xr

    X = np.random.default_rng(0).normal(size=(20, 3))
    path = tmp_path / "gaps.nc"
    data = xr.Dataset({"t2m": (("time", "number"), X), "wind": (("time", "number"), np.nan * X)})
    data.to_netcdf(path, engine="h5netcdf")
    return path


def taken(folder, name):
    (folder / name).mkdir(parents=True)
    return folder


BAD_COMMANDS = {
    "missing file": (lambda t, nc: ["fit", t / "no.nc"], "no such file"),
    "a folder": (lambda t, nc: ["fit", t], "is a folder, expected a file (or a Zarr folder)"),
    "a name too long": (lambda t, nc: ["fit", "n" * 300], "File name too long"),
    "not NetCDF": (lambda t, nc: ["fit", not_netcdf(t)], "text.nc: not a readable file: expected a NetCDF, "),
    "no member dimension": (
        lambda t, nc: ["fit", no_member_dimension(t)],
        "rename one to 'member', or give its name as --member-dim\n",
    ),
    "wrong member dimension": (
        lambda t, nc: ["fit", nc, "--member-dim", "m"],
        "--member-dim: no dimension 'm'",
    ),
    "unknown variable": (lambda t, nc: ["fit", nc, "--variable", "rain"], "--variable: no variable 'rain'"),
    "misspelt variable": (
        lambda t, nc: ["fit", nc, "--variable", "t2"],
        "--variable: no variable 't2' of members; there are t2m, wind; did you mean 't2m'?",
    ),
    "a variable without members": (
        lambda t, nc: ["fit", control_run(t), "--variable", "hres"],
        "--variable: 'hres': no member dimension 'number' (dimensions: time)",
    ),
    "no member left": (
        lambda t, nc: ["fit", one_variable_missing(t)],
        "missing values: wind 60 of 60); leave out",
    ),
    "compare --format gif": (lambda t, nc: ["compare", "--format", "gif"], "Invalid value for '--format'"),
    "infinite value": (
        lambda t, nc: ["fit", infinite_value(t)],
        "infinite.nc: infinite value at ensemble 7, member 2",
    ),
    "unknown member model": (
        lambda t, nc: ["fit", nc, "--member-model", "mine"],
        "--member-model: expected one of 'independent', 'shared_centre'; got 'mine'",
    ),
    "n < K": (
        lambda t, nc: ["fit", nc, "--K", "400"],
        r"ensembles.nc: 299 ensembles (n_samples=299) are too few for 400 components; lower --K",
    ),
    "unwritable folder": (lambda t, nc: ["fit", nc, "-o", nc / "x"], "--output: the folder"),
    "clusters.nc is a folder": (
        lambda t, nc: ["fit", nc, "-o", taken(t / "o", "clusters.nc")],
        "clusters.nc is a folder",
    ),
    "compare n < K": (
        lambda t, nc: ["compare", "--n", "2", "--K", "3", "-o", t],
        "--n: 2 ensembles are too few for K = 3 clusters",
    ),
    "compare unwritable": (lambda t, nc: ["compare", "-o", nc / "x"], "--output: the folder"),
    "results.png is a folder": (
        lambda t, nc: ["compare", "--n", "9", "-o", taken(t / "f", "results.png")],
        "results.png is a folder",
    ),
    "compare too much": (lambda t, nc: ["compare", "--n", str(10**15), "-o", t], "not enough memory"),
    "not a number": (lambda t, nc: ["compare", "--n", "many"], "Invalid value for '--n'"),
    "unknown option": (lambda t, nc: ["compare", "--N", "3"], "No such option"),
    "unknown command": (lambda t, nc: ["cluster"], "No such command"),
    **{
        f"compare {flag} {value}": (
            lambda t, nc, flag=flag, value=value: ["compare", flag, value, "-o", t],
            f"Invalid value for '{flag}'",
        )
        for flag, value in {
            "--K": 0,
            "--n": 0,
            "--M": 0,
            "--D": -1,
            "--seed": -1,
            "--num_epochs": 0,
            "--covariance": "x",
        }.items()
    },
    **{
        f"fit {flag} {value}": (
            lambda t, nc, flag=flag, value=value: ["fit", nc, flag, value],
            f"Invalid value for '{flag}'",
        )
        for flag, value in {
            "--K": 0,
            "--n-init": 0,
            "--seed": -1,
            "--num_epochs": 0,
            "--model": "kmeans",
            "--encoder": "cnn",
            "--objective": "x",
            "--covariance-type": "round",
        }.items()
    },
    **{
        f"{flag} of {model}": (
            lambda t, nc, model=model, flag=flag, value=value: ["fit", nc, "--model", model, flag, value],
            f"{flag}: model {model} has no such option",
        )
        for model, flag, value in [
            ("egmm", "--encoder", "moments"),  # refused even where it is the default
            ("egmm", "--num_epochs", 10),
            ("gmm", "--objective", "elbo"),
            ("gmm", "--member-model", "independent"),
            ("dgmm", "--encoder", "mlp"),
        ]
    },
}


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
    assert not any(path.is_file() for path in tmp_path.rglob("clusters.nc"))


def test_choices_are_those_of_the_registries():
    from degmm.cli import options
    from degmm.families import STRUCTURES
    from degmm.inference.objectives import OBJECTIVES
    from degmm.nets import ENCODERS

    assert list(options.CovarianceType) == list(STRUCTURES)
    assert list(options.Encoder) == list(ENCODERS)
    assert list(options.Objective) == list(OBJECTIVES)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(28, "No space left on device", "out/clusters.nc"),
            "out/clusters.nc: No space left on device",
        ),
        (OSError("odd"), "odd"),
        (MemoryError(), "not enough memory; ask for fewer or smaller ensembles"),
    ],
)
def test_a_machine_that_gives_out_is_told_in_one_sentence(
    error, message, netcdf, tmp_path, capsys, monkeypatch
):
    def fails(*arguments):
        raise error

    monkeypatch.setattr("degmm.cli.fit.write_bytes", fails)
    assert degmm("fit", netcdf, "--n-init", 2, "-o", tmp_path / "out") == 2
    assert capsys.readouterr().err == f"degmm: {message}\n"


def test_clusters_that_cannot_be_stored_leave_nothing_behind(netcdf, tmp_path, monkeypatch):
    def fails(*arguments):
        raise ValueError("cannot be encoded")

    monkeypatch.setattr("degmm.cli.fit.netcdf_bytes", fails)
    assert degmm("fit", netcdf, "--n-init", 2, "-o", tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()


def test_a_failed_fit_leaves_no_folder_and_keeps_one_that_was_there(netcdf, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    assert degmm("fit", netcdf, "--K", 400, "-o", there / "a" / "b") == 2
    assert there.exists()
    assert not list(there.iterdir())
    (there / "a").mkdir()
    (there / "a" / "mine").write_text("mine")
    assert degmm("fit", netcdf, "--K", 400, "-o", there / "a" / "b") == 2
    assert [path.name for path in (there / "a").iterdir()] == ["mine"]


def test_one_variable_missing_at_one_place(tmp_path, capsys):
    import xarray as xr

    t2m, wind = np.random.default_rng(0).normal(size=(2, 20, 3, 4))
    wind[:, 1] = np.nan
    path, dims = tmp_path / "stations.nc", ("time", "station", "number")
    xr.Dataset({"t2m": (dims, t2m), "wind": (dims, wind)}).to_netcdf(path, engine="h5netcdf")
    assert degmm("fit", path, "--K", 2, "--n-init", 2, "-o", tmp_path / "out") == 0
    text = capsys.readouterr().out
    assert "dropped for missing values: 20 of 60 ensembles (no member left), and 0 single members" in text
    assert "missing values: wind 80 of 240\n" in text


def test_empty_clusters_are_told(capsys):
    from types import SimpleNamespace

    from degmm.cli.fit import _report_clusters

    data = read_labelled(np.zeros((6, 2, 1)))
    session = SimpleNamespace(note=print, table=lambda *_: None, flags={})
    model = SimpleNamespace(
        result_=SimpleNamespace(value="converged"),
        n_iter_=1,
        _single_member=False,
        log_likelihood_=-6.0,
        labels_=np.array([0, 0, 1, 1, 1, 0]),
        n_components=4,
        weights_=np.full(4, 0.25),
        means_=np.zeros((4, 1)),
        between_covariances_=np.zeros((4, 1, 1)),
        covariances_=np.ones((4, 1, 1)),
        within_covariances_=np.ones((4, 1, 1)),
        _projection=None,
    )
    _report_clusters(session, model, data)
    text = capsys.readouterr().out
    assert "converged (1 iteration)" in text
    assert "clusters 2, 3 are empty: 2 of 4 used\n" in text
    model.labels_ = np.array([0, 0, 1, 1, 2, 0])
    _report_clusters(session, model, data)
    assert "cluster 3 is empty: 3 of 4 used\n" in capsys.readouterr().out


def read_labelled(values):
    from degmm import Ensemble

    return Ensemble(values, tuple(f"v{d}" for d in range(values.shape[2])))


@pytest.mark.parametrize(
    ("values", "spreads", "column"),
    [
        ([0.00687, -12.5], [0.971, 10.0], ["0.007 ± 0.971", "-12.500 ± 10.000"]),
        ([-0.0001, 2], [100.0, 200.0], ["0 ± 100", "2 ± 200"]),
        ([1e-9, 2e-9], [1e-9, 3e-9], ["1.000e-09 ± 1.00e-09", "2.000e-09 ± 3.00e-09"]),
        ([3.0], [0.0], ["3.00 ± 0.00"]),
    ],
)
def test_a_column_has_the_same_digits_throughout(values, spreads, column):
    assert with_spreads(values, spreads) == column


def test_pictures_in_other_formats(netcdf, tmp_path):
    options = ["--K", 2, "--n-init", 2, "--format", "svg"]
    assert degmm("fit", netcdf, *options, "-o", tmp_path) == 0
    assert (tmp_path / "clusters.svg").read_text().startswith("<?xml")
    assert not (tmp_path / "clusters.png").exists()


def test_programs_by_their_names():
    package = subprocess.run(
        [sys.executable, "-m", "degmm", "--version"], capture_output=True, text=True, check=True
    )
    assert package.stdout.startswith("degmm ")
    main_py = Path(__file__).parents[1] / "main.py"
    done = subprocess.run([sys.executable, main_py, "--help"], capture_output=True, text=True, check=True)
    assert "Usage: main.py [OPTIONS]" in done.stdout


def test_dimensions_named_as_the_results_are(tmp_path):
    import xarray as xr

    X = np.random.default_rng(0).normal(size=(20, 3))
    path = tmp_path / "names.nc"
    coords = {"cluster": ("component", np.arange(20)), "responsibility": ("component", np.arange(20.0))}
    data = xr.Dataset({"t": (("component", "number"), X)}, coords=coords)
    data.to_netcdf(path, engine="h5netcdf")
    assert degmm("fit", path, "--K", 2, "--n-init", 2, "-o", tmp_path / "out") == 0
    with xr.open_dataset(tmp_path / "out" / "clusters.nc") as clusters:
        assert clusters["degmm_cluster"].dims == ("component",)
        assert clusters["degmm_responsibility"].dims == ("component", "degmm_component")
        np.testing.assert_array_equal(clusters["cluster"], np.arange(20))


def test_shared_centres_by_their_name_with_a_dash(netcdf, tmp_path):
    options = ["--member-model", "shared-centre", "--K", 2, "--n-init", 2, "--variable", "wind"]
    assert degmm("fit", netcdf, *options, "-o", tmp_path) == 0
    assert load(tmp_path).member_model == "shared_centre"


@pytest.mark.parametrize(("spread", "alike"), [(0.0, False), (2.0, True)])
def test_members_that_are_alike_bring_up_the_shared_centre(spread, alike, tmp_path, capsys):
    import xarray as xr

    rng = np.random.default_rng(0)
    X = spread * rng.normal(size=(200, 1)) + rng.normal(size=(200, 10))
    xr.Dataset({"t": (("time", "number"), X)}).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    for model in ("independent", "shared-centre"):
        options = ["--K", 1, "--n-init", 1, "--member-model", model]
        assert degmm("fit", tmp_path / "x.nc", *options, "-o", tmp_path / model) == 0
        told = "try --member-model shared-centre" in capsys.readouterr().out
        assert told == (alike and model == "independent")


def test_warnings_are_sentences_with_flags(netcdf, tmp_path, capsys):
    options = ["--model", "degmm", "--num_epochs", 1, "--no-progress", "--n-init", 1, "--K", 4]
    assert degmm("fit", netcdf, *options, "-o", tmp_path) == 0
    warning = capsys.readouterr().err.splitlines()[0]
    assert warning.startswith("degmm: warning: DEGMM: the network is short of the clusters")
    assert "(--num_epochs)" in warning


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("n_components: expected 1", "--K: expected 1"),
        ("a/n_components.nc: lower n_components.", "a/n_components.nc: lower --K."),
        (
            "X: encoder='mlp' fails; use encoder='moments'",
            r"1\a.nc: --encoder mlp fails; use --encoder moments",
        ),
        ("the encoder: none", "the encoder: none"),
    ],
)
def test_messages_in_flags(message, told):
    flags = {"n_components": "--K", "encoder": "--encoder", "X": r"1\a.nc"}
    assert translated(message, flags) == told


def test_first_member_missing(tmp_path, capsys):
    import xarray as xr

    X = np.random.default_rng(0).normal(size=(20, 3, 1))
    X[4, 0] = np.nan
    path = tmp_path / "gap.nc"
    xr.Dataset({"t": (("time", "number", "x"), X)}).to_netcdf(path, engine="h5netcdf")
    assert degmm("fit", path, "--model", "gmm", "-o", tmp_path / "out") == 2
    assert "the first member is missing in 1 ensemble; use --model egmm" in capsys.readouterr().err


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
