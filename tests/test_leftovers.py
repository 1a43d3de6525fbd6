"""What killed writers left is removed by the next one: all that is certainly dead, and nothing else."""

import hashlib
import os
import threading
import time

import numpy as np
import pytest

from degmm import EGMM, load, save
from degmm.datasets import make_exchangeable_mixture
from degmm.files import PART, write_bytes
from degmm.folders import finish, output_folder, write_result
from degmm.leftovers import ALIVE, COMPLETE, HEAD, STAGED
from degmm.locks import HOST, LOCK, locked

X = make_exchangeable_mixture(60, 4, 2, 2, seed=0)[0]


@pytest.fixture(scope="module")
def fitted():
    return EGMM(2, n_init=2, random_state=0).fit(X)


def names(folder):
    return {path.name for path in folder.iterdir()}


def arrays_in(folder, content):
    path = folder / f"model-{hashlib.sha256(content).hexdigest()[:12]}.safetensors"
    path.write_bytes(content)
    return path


def leave(folder):
    """Leave what each kind of killed writer may."""
    (folder / f"{STAGED}1-{HOST}-x").mkdir()
    (folder / f"{STAGED}1-{HOST}-x" / "a.txt").write_text("half")
    (folder / f"{STAGED}1-{HOST}-x{ALIVE}").touch()
    (folder / f"{PART}{HOST}-abcd1234").write_text("half")
    (folder / LOCK).touch()
    probe = folder / ".degmm-abcd_123"
    probe.touch()
    os.utime(probe, (0, 0))
    arrays_in(folder, b"arrays without a head")


def test_the_next_command_removes_what_is_dead(tmp_path):
    leave(tmp_path)
    with output_folder(tmp_path) as staged:
        (staged / "b.txt").write_text("new")
    assert names(tmp_path) == {"b.txt"}


def test_the_next_save_removes_what_is_dead(tmp_path, fitted):
    save(fitted, tmp_path)
    before = names(tmp_path)
    leave(tmp_path)
    save(fitted, tmp_path)
    assert names(tmp_path) == before
    np.testing.assert_array_equal(load(tmp_path).means_, fitted.means_)


def test_the_next_file_removes_what_is_dead(tmp_path):
    (tmp_path / f"{PART}{HOST}-abcd1234").write_text("half")
    (tmp_path / LOCK).touch()
    write_result(tmp_path / "clusters.nc", b"new")
    assert names(tmp_path) == {"clusters.nc"}


def test_what_may_be_of_use_stays(tmp_path, fitted):
    save(fitted, tmp_path)
    kept = {
        f"{PART}elsewhere-abcd1234",  # another machine's
        f"{PART}odd",
        ".degmm-abcd_123",  # not empty
        ".degmm-abcd_124",  # new
        ".degmm-notes.txt",
        f"{STAGED}1-elsewhere-x{ALIVE}",
        "model-0123456789ab.safetensors",  # it does not hold what its name says
        "model-00001-of-00002.safetensors",
    }
    for name in kept:
        (tmp_path / name).write_text("" if name == ".degmm-abcd_124" else "mine")
    before = names(tmp_path)
    finish(tmp_path)
    assert names(tmp_path) == before


def test_arrays_beside_a_head_of_another_s_stay(tmp_path):
    path = arrays_in(tmp_path, b"arrays")
    for head in ("{", "[]", "{}", '{"arrays": 3}', "[" * 100_000, f'{{"arrays": "{path.name}"}}'):
        (tmp_path / HEAD).write_text(head)
        finish(tmp_path)
        assert path.exists()
    (tmp_path / HEAD).unlink()
    finish(tmp_path)
    assert not path.exists()


@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "name", [LOCK, f"{PART}{HOST}-abcd1234", f"{STAGED}1-{HOST}-x", f"{STAGED}1-{HOST}-x{ALIVE}"]
)
@pytest.mark.parametrize("what", ["link", "dangling link", "pipe", "folder"])
def test_what_is_named_like_a_leftover_is_not_followed(tmp_path, name, what):
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir()
    theirs.mkdir()
    (mine / "thesis.txt").write_text("mine")
    path = theirs / name
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to(mine / ("thesis.txt" if what == "link" else "new"))
    with output_folder(theirs) as staged:
        (staged / "a.txt").write_text("new")
    assert (theirs / "a.txt").read_text() == "new"
    assert names(mine) == {"thesis.txt"}
    assert (mine / "thesis.txt").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files to another")
def test_what_others_own_stays(tmp_path):
    leave(tmp_path)
    before = names(tmp_path) - {LOCK}
    for path in tmp_path.iterdir():
        os.chown(path, 12345, 12345)
    finish(tmp_path)
    assert names(tmp_path) >= before


def test_one_at_a_time_holds_a_folder(tmp_path):
    seen = []

    def work():
        with locked(tmp_path / LOCK) as held:
            seen.append(held)
            seen.append(len(names(tmp_path)))
            time.sleep(0.002)
            seen.append(held)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True, 1, True] * 20
    assert not names(tmp_path)


def test_a_lock_makes_no_folder(tmp_path):
    with locked(tmp_path / "absent" / LOCK) as held:
        assert not held
    with pytest.raises(FileNotFoundError):
        write_result(tmp_path / "absent" / "a.txt", b"")
    assert not names(tmp_path)


def test_a_lock_that_is_held_is_not_waited_for(tmp_path):
    with locked(tmp_path / LOCK) as held:
        answers = []

        def ask():
            with locked(tmp_path / LOCK, wait=False) as other:
                answers.append(other)

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        assert (held, answers) == (True, [False])
        assert names(tmp_path) == {LOCK}
    assert not names(tmp_path)


def test_a_file_system_without_locks_is_written_to(tmp_path, monkeypatch, fitted):
    def fails(*arguments, **options):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("filelock.FileLock.acquire", fails)
    (tmp_path / f"{STAGED}1-{HOST}-x").mkdir()  # nothing is known of it
    save(fitted, tmp_path)
    with output_folder(tmp_path) as staged:
        (staged / "a.txt").write_text("new")
    assert names(tmp_path) >= {HEAD, "a.txt", f"{STAGED}1-{HOST}-x"}
    assert not [name for name in names(tmp_path) if name.startswith(COMPLETE)]


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("old")

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("degmm.files.Path.replace", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        write_bytes(tmp_path / "a.txt", b"new")
    assert error.value.filename == str(tmp_path / "a.txt")
    assert names(tmp_path) == {"a.txt"}
    assert (tmp_path / "a.txt").read_text() == "old"
