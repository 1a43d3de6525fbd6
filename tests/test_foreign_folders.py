"""Folders that come from others: links, pipes and numbers in them do no harm to who reads them."""

import hashlib
import json
import multiprocessing
import os
import time

import numpy as np
import pytest
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

from degmm import DEGMM, EGMM, load, save
from degmm.cli import main
from degmm.datasets import make_exchangeable_mixture
from degmm.folders import output_folder
from degmm.inference.checkpoints import Checkpoints
from degmm.leftovers import COMPLETE, STAGED
from degmm.locks import HOST
from degmm.report import write_report

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and pipes")
X = make_exchangeable_mixture(60, 4, 2, 2, seed=0)[0]
RECORD = {
    "format": 1, "command": "fit", "title": "a title", "finished": "2026-01-01T00:00:00+00:00", "seconds": 1.0,
    "command_line": "degmm fit", "configuration": {}, "versions": {}, "input": None, "items": [], "files": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def fitted():
    return EGMM(2, n_init=2, random_state=0).fit(X)


@pytest.fixture
def theirs(tmp_path, fitted):
    folder = save(fitted, tmp_path / "theirs")
    (folder / "run.json").write_text(json.dumps(RECORD))
    return folder


@pytest.fixture
def mine(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("thesis.txt", "report.html", "model.json"):
        (folder / name).write_text("mine")
    return folder


def held(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("prefix", [COMPLETE, f"{STAGED}999999999-{HOST}-"])
def test_links_named_like_results_are_none(prefix, theirs, mine):
    before = held(mine)
    (theirs / f"{prefix}x").symlink_to(mine)
    load(theirs)
    write_report(theirs)
    with pytest.raises(SystemExit):
        main(["predict", str(theirs), "nothing.nc", "-q"])
    assert held(mine) == before
    with output_folder(theirs) as staged:  # nor does one who writes there
        (staged / "a.txt").write_text("new")
    assert held(mine) == before
    assert (theirs / "a.txt").read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives a folder to another")
def test_results_of_another_user_are_not_touched(theirs):
    other = theirs / f"{COMPLETE}x"
    other.mkdir()
    (other / "a.txt").write_text("theirs")
    os.chown(other, 12345, 12345)
    with output_folder(theirs) as staged:
        (staged / "b.txt").write_text("new")
    assert (other / "a.txt").exists()


def test_reading_goes_through_complete_results(theirs):
    complete = theirs / f"{COMPLETE}1-host-x"
    complete.mkdir()
    (complete / "run.json").write_text(json.dumps(RECORD | {"title": "the new one"}))
    before = sorted(theirs.rglob("*"))
    page = write_report(theirs, theirs.parent / "page.html").read_text()
    assert "the new one" in page
    assert sorted(theirs.rglob("*")) == before


def test_names_in_the_folder_are_replaced(theirs, mine, fitted):
    before = held(mine)
    (theirs / "report.html").symlink_to(mine / "report.html")
    write_report(theirs)
    (theirs / "page.html").symlink_to(mine / "thesis.txt")
    write_report(theirs, theirs / "page.html")
    for name in ("model.json", next(path.name for path in theirs.glob("*.safetensors"))):
        (theirs / name).unlink()
        (theirs / name).symlink_to(mine / "thesis.txt")
    save(fitted, theirs)
    (theirs / "fit.json").symlink_to(mine / "not-there")
    with pytest.raises(ValueError, match="checkpoint: "):
        Checkpoints(theirs, 1, "x")
    assert held(mine) == before
    assert not (theirs / "report.html").is_symlink()
    assert not (theirs / "model.json").is_symlink()


def test_a_link_of_the_user_s_own_is_followed(theirs, mine, tmp_path):
    (tmp_path / "link.html").symlink_to(mine / "report.html")
    write_report(theirs, tmp_path / "link.html")
    assert (tmp_path / "link.html").is_symlink()
    assert "a title" in (mine / "report.html").read_text()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("which", ["model.json", "arrays", "run.json"])
@pytest.mark.parametrize("what", ["pipe", "/dev/zero", "outside", "folder", "loop"])
def test_only_regular_files_inside_are_read(which, what, theirs, mine):
    path = next(theirs.glob("*.safetensors")) if which == "arrays" else theirs / which
    content = path.read_bytes()
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "outside":
        (mine / "copy").write_bytes(content)
        path.symlink_to(mine / "copy")
    else:
        path.symlink_to("/dev/zero" if what == "/dev/zero" else path)
    with pytest.raises(ValueError, match=r"theirs"):
        write_report(theirs) if which == "run.json" else load(theirs)
    (theirs / "kept").write_bytes(content)
    if what == "outside":  # a link that stays inside is fine
        path.unlink()
        path.symlink_to("kept")
        write_report(theirs) if which == "run.json" else load(theirs)


# --- numbers that size something -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def projected():
    wide = np.concatenate([X, X**2], axis=2)
    settings = {"hidden": (4,), "latent_dim": 2, "projection": "autoencoder", "max_epochs": 4}
    return DEGMM(2, n_init=2, random_state=0, **settings).fit(wide)


def altered(folder, change):
    """Change arrays and head of a saved model, with a right checksum."""
    head = json.loads((folder / "model.json").read_text())
    arrays = from_bytes((folder / head["arrays"]).read_bytes())
    change(arrays, head)
    content = to_bytes(arrays)
    (folder / head["arrays"]).write_bytes(content)
    head["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "model.json").write_text(json.dumps(head))


def set_array(name, value):
    def change(arrays, head):
        arrays[name] = np.asarray(value, np.float64)

    return change


def set_fact(*path, value):
    def change(arrays, head):
        at = head
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    return change


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "change",
    [
        set_array("projection.hidden", [3e7]),
        set_array("projection.hidden", [4.5]),
        set_array("projection.hidden", [-4]),
        set_array("projection.hidden", 4.0),
        set_array("projection.hidden", [1.0] * 100_000),
        set_fact("facts", "sizes", "hidden", value=[3 * 10**7]),
        set_fact("facts", "sizes", "hidden", value=[1] * 100_000),
        set_fact("facts", "n_features", value=3 * 10**10),
        set_fact("facts", "latent_dim", value=3 * 10**10),
        set_fact("parameters", "n_components", value=3 * 10**10),
    ],
)
def test_sizes_are_those_of_the_arrays(change, projected, tmp_path):
    folder = save(projected, tmp_path / "model")
    altered(folder, lambda arrays, head: None)
    assert (load(folder).means_ == projected.means_).all()
    altered(folder, change)
    started = time.perf_counter()
    with pytest.raises(ValueError, match="damaged"):
        load(folder)
    assert time.perf_counter() - started < 3


# --- writers side by side ------------------------------------------------------------------------------------


def saves(folder, seed):
    model = EGMM(2, n_init=1, max_iter=1, random_state=0).fit(X)
    for i in range(25):
        model._parameters = model._parameters._replace(means=model._parameters.means + seed + i)
        save(model, folder)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_models_saved_side_by_side_are_readable_at_all_times(tmp_path, fitted):
    folder = save(fitted, tmp_path / "model")
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=saves, args=(folder, seed)) for seed in (1, 1000)]
    for process in both:
        process.start()
    while any(process.is_alive() for process in both):
        load(folder)
    for process in both:
        process.join()
        assert process.exitcode == 0
    load(folder)
    assert len(list(folder.glob("*.safetensors"))) == 1
