"""Several devices, several processes: the fits are those of one."""

import json
import os
import pickle
import re
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from device_cases import DEEP, EM, IN_TWO, facts, fit
from jax.sharding import Mesh
from sklearn.base import clone

import degmm
from degmm import DAGMM, EGMM
from degmm.processes import Places
from degmm.sharding import current_mesh

SCRIPT = Path(__file__).with_name("device_cases.py")
TOLERANCE = 1e-6
"""Largest difference of what fits find in float64, relative to the largest number"""
SECONDS = 400
"""After which a script hangs"""


def command(script, devices, *arguments, cwd=None):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(script), *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def together(running):
    """Wait for processes, and see that each ends well."""
    try:
        for process in running:
            output, _ = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, output[-3000:]
    finally:
        for process in running:
            process.kill()


def free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def read(path):
    with np.load(path) as file:
        found = {name: file[name] for name in file.files}
    return found, json.loads(str(found.pop("report")))


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    out = tmp_path_factory.mktemp("devices") / "eight.npz"
    together([command(SCRIPT, 8, out)])
    return read(out)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    outs = [folder / f"{i}.npz" for i in range(2)]
    port = free_port()
    together([command(SCRIPT, 1, out, "--process", i, "--port", port) for i, out in enumerate(outs)])
    return [read(out) for out in outs]


@pytest.fixture(scope="module")
def one():
    """What a plain fit on one device finds, each case once."""
    known = {}

    def found(name):
        if name not in known:
            known[name] = facts(fit(name))
        return known[name]

    return found


def assert_same(found, wanted):
    assert found["n_iter_"] == wanted["n_iter_"]
    for name in (
        "weights_",
        "means_",
        "within_covariances_",
        "between_covariances_",
        "log_likelihood_",
        "history",
    ):
        scale = np.abs(wanted[name]).max()
        np.testing.assert_allclose(
            found[name], wanted[name], rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=name
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", [*EM, *DEEP])
def test_eight_devices_fit_as_one(name, eight, one):
    arrays, report = eight
    assert report["devices"] == 8
    found = {
        key.removeprefix(f"{name}/"): value for key, value in arrays.items() if key.startswith(f"{name}/")
    }
    assert_same(found, one(name))
    np.testing.assert_array_equal(found["labels_"], one(name)["labels_"])


@pytest.mark.slow
def test_devices_exchange_sums_once_a_pass_and_no_moments(eight):
    exchanges = eight[1]["exchanges"]
    # once for the sum of the weights, once in each iteration
    assert exchanges == {"all": {"all-reduce": 2}, "loop": {"all-reduce": 1}}


@pytest.mark.slow
def test_more_devices_than_ensembles(eight):
    assert eight[1]["few"].startswith("devices: 8 devices are more than the 5 ensembles; give fewer")


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_TWO)
def test_two_processes_fit_as_one(name, two, one):
    labels = []
    for arrays, report in two:
        assert report["devices"] == 2
        prefix = f"{name}/"
        found = {k.removeprefix(prefix): value for k, value in arrays.items() if k.startswith(prefix)}
        assert_same(found, one(name))
        labels.append(found["labels_"])
    np.testing.assert_array_equal(np.concatenate(labels), one(name)["labels_"])  # each has those of its own


@pytest.mark.slow
def test_what_is_wrong_in_one_process_ends_all(two):
    (_, first), (_, second) = two
    assert second["bad"].startswith("X: infinite value at ensemble 4, member 2")
    assert first["bad"] == f"process 1 has stopped: {second['bad']}"
    assert first["unlike"] == second["unlike"]
    assert (
        "n_components: expected the same in all processes, got '3' in process 0, '4' in process 1"
        in first["unlike"]
    )
    assert first["narrow"] == second["narrow"]
    assert (
        "X.shape[-1]: expected the same in all processes, got 1 in process 0, 2 in process 1"
        in first["narrow"]
    )
    assert first["few"] == second["few"]
    assert "X: 2 ensembles (n_samples=2) are too few for 3 components" in first["few"]
    assert first["blocks"] == second["blocks"]
    assert "X: blocks of ensembles: not with the ensembles spread over processes" in first["blocks"]


@pytest.mark.slow
def test_the_program_of_the_docs_runs_in_two_processes(tmp_path, mixture):
    page = (SCRIPT.parents[1] / "docs" / "scaling.md").read_text()
    (program,) = re.findall(r"```python fit.py\n(.*?)```", page, flags=re.DOTALL)
    path = tmp_path / "fit.py"
    path.write_text(program.replace("45123", str(free_port())))
    X = mixture[0]
    np.save(tmp_path / "archive.npy", X)
    together([command(path, 1, i, cwd=tmp_path) for i in range(2)])
    model, plain = degmm.load(tmp_path / "model"), EGMM(3, random_state=0).fit(X)
    assert model.labels_.shape == (150,)
    np.testing.assert_allclose(model.means_, plain.means_, rtol=1e-2)


def test_a_mesh_of_one_device_changes_nothing_but_where(mixture):
    X = mixture[0]
    plain = EGMM(3, n_init=4, random_state=0).fit(X)
    with degmm.devices(jax.devices()[:1]) as mesh:
        assert current_mesh() is mesh
        again = EGMM(3, init_params=plain, random_state=0).fit(X)
        model = EGMM(3, n_init=4, random_state=0).fit(X)
    assert current_mesh() is None
    np.testing.assert_array_equal(model.means_, plain.means_)
    np.testing.assert_allclose(again.means_, plain.means_, rtol=1e-3)
    # the setting is none of the model's
    assert clone(again).get_params(deep=False).keys() == plain.get_params(deep=False).keys()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(again)).means_, again.means_)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:DAGMM")  # five epochs teach its networks little
def test_other_models_fit_on_one_device_meanwhile():
    X = np.random.default_rng(0).normal(size=(64, 4))
    model = DAGMM(2, latent_dim=1, max_epochs=5, polish=2, random_state=0)
    plain = clone(model).fit(X)
    with degmm.devices():
        np.testing.assert_allclose(model.fit(X).means_, plain.means_, rtol=1e-3)


def test_the_inner_of_two_settings_counts():
    with degmm.devices(1) as outer:
        with degmm.devices(jax.devices()) as inner:
            assert current_mesh() is inner
        assert current_mesh() is outer
        with pytest.raises(RuntimeError, match="stop"), degmm.devices():
            raise RuntimeError("stop")
        assert current_mesh() is outer


def test_bad_devices():
    one = np.array(jax.devices()[:1])
    named = Mesh(one, ("anything",))
    with degmm.devices(named) as mesh:
        assert mesh.shape == {"ensembles": 1}
    for given, message in (
        (Mesh(one.reshape(1, 1), ("data", "model")), r"a mesh of one axis.*2 axes \(data: 1, model: 1\)"),
        (10_000, r"asked for 10000, and JAX has \d+ here"),
        (0, "expected at least 1; got 0"),
        (True, "got True"),
        ("gpu", "got 'gpu'"),
        ([], r"got \[\]"),
        ([*one, *one], "named twice"),
    ):
        with pytest.raises(ValueError, match=f"^devices: .*{message}"), degmm.devices(given):
            pass


def test_places_among_all_ensembles():
    places = Places([3, 5, 2], 0)
    assert places.total == 10
    drawn = np.array([[0, 2, 9, 4], [8, 9, 3, 1]])
    np.testing.assert_array_equal(places.own(drawn[0]), [0, 2])
    assert places.most(drawn) == 2
    assert places.most(np.array([[3, 4, 5, 6, 7]])) == 5
