"""Compiled programs kept between runs: their files, who may write them, and `degmm cache`."""

import errno
import json
import os
import stat
import subprocess
import sys
import time

import pytest
from stored_programs import files, floored
from test_cli import degmm

from degmm.store import Store, find_place
from degmm.store import entries as entries_module
from degmm.store.place import why_unsafe

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
pytestmark = pytest.mark.usefixtures("empty_store")


def test_an_entry_is_read_as_it_was_written_and_only_whole(empty_store):
    store = Store(empty_store)
    assert store.read(KEY) is None
    store.write(KEY, b"content of a program")
    assert store.read(KEY) == b"content of a program"
    assert store.read(OTHER) is None
    (path,) = files(empty_store)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place])
        assert store.read(KEY) is None
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert store.read(KEY) is None
    path.write_bytes(whole + b"more")
    assert store.read(KEY) is None
    path.write_bytes(whole)
    path.rename(empty_store / f"{OTHER.hex()}.program")
    assert store.read(OTHER) is None


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "not a program", "of others"])
def test_a_damaged_entry_is_replaced(damage, empty_store, compilations):
    first = floored()
    (path,) = files(empty_store)
    whole = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "flipped":
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 16]) + whole[-8:])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "not a program":
        Store(empty_store).write(bytes.fromhex(path.stem), b"whole, and no program")
    else:
        path.chmod(0o666)
    assert floored().tobytes() == first.tobytes()
    assert len(compilations) == 2
    assert floored().tobytes() == first.tobytes()
    assert len(compilations) == 2
    assert files(empty_store) == [path]


def test_those_not_used_for_longest_go_first(empty_store):
    content = bytes(1000)
    size = 1000 + entries_module.HEADER.size
    store = Store(empty_store, most_bytes=3 * size)
    keys = [bytes([i]) * 32 for i in range(5)]
    long_ago = time.time() - 1e6
    for i, key in enumerate(keys[:3]):
        store.write(key, content)
        os.utime(empty_store / f"{key.hex()}.program", (long_ago + i,) * 2)
    assert store.read(keys[0]) is not None  # used now
    store.write(keys[3], content)
    assert [store.read(key) is not None for key in keys] == [True, False, True, True, False]
    store.write(keys[4], bytes(3 * size))  # more than all together
    assert [store.read(key) is not None for key in keys] == [True, False, True, True, False]
    assert store.summary() == (3, 3 * size)


def test_a_process_killed_while_writing_leaves_nothing_that_is_read(empty_store):
    script = "import os, sys; from degmm.store import Store; from pathlib import Path\n"
    script += "os.replace = lambda *paths: os._exit(9)\n"
    script += "Store(Path(sys.argv[1])).write(bytes(range(32)), b'content')\n"
    assert subprocess.run([sys.executable, "-c", script, str(empty_store)], check=False).returncode == 9
    (part,) = files(empty_store)
    assert part.suffix == ".part"
    store = Store(empty_store)
    assert store.read(KEY) is None
    store.write(KEY, b"content")
    assert part.exists()  # it may be that of a process at work
    os.utime(part, (time.time() - 1e5,) * 2)
    store.write(OTHER, b"content")
    assert not part.exists()
    assert store.read(KEY) == store.read(OTHER) == b"content"


@pytest.mark.parametrize("when", ["folder", "opened", "written", "renamed", "listed"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_where_nothing_can_be_written_all_works_without(when, number, empty_store, monkeypatch, recwarn):
    def fails(*arguments, **named):
        raise OSError(number, os.strerror(number))

    class Full:
        def __init__(self, handle, mode):
            self.file = fdopen(handle, mode)
            self.write = fails

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

    fdopen = os.fdopen
    where = {"folder": ("pathlib.Path.mkdir", fails), "opened": ("degmm.store.entries.os.open", fails)}
    where |= {"written": ("degmm.store.entries.os.fdopen", Full), "renamed": ("os.replace", fails)}
    where |= {"listed": ("degmm.store.entries.os.scandir", fails)}
    with monkeypatch.context() as patched:
        patched.setattr(*where[when])
        store = Store(empty_store)
        store.write(KEY, b"content")
        store.read(KEY)
        store.clear()
    assert len(files(empty_store)) == (1 if when == "listed" else 0)
    assert not recwarn.list


# --- the folder -------------------------------------------------------------------------------------------


def test_the_folder_is_made_for_the_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("DEGMM_CACHE_DIR", str(tmp_path / "a" / "b"))
    place = find_place()
    assert place == (tmp_path / "a" / "b", "", "")
    Store(place.folder).write(KEY, b"content")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a", tmp_path / "a" / "b")] == [
        0o700
    ] * 2
    assert [stat.S_IMODE(path.stat().st_mode) for path in files(tmp_path / "a" / "b")] == [0o600]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="of POSIX")
@pytest.mark.parametrize("kind", ["all", "group", "above", "link", "file", "user", "loop"])
def test_a_folder_that_others_may_write_to_is_passed_over(kind, tmp_path, empty_store, monkeypatch):
    floored()
    (path,) = files(empty_store)
    if kind in ("all", "group"):
        empty_store.chmod(0o777 if kind == "all" else 0o770)
    elif kind == "above":
        tmp_path.chmod(0o777)
    elif kind == "link":
        empty_store.rename(tmp_path / "elsewhere")
        empty_store.symlink_to(tmp_path / "elsewhere")
        path = tmp_path / "elsewhere" / path.name
    elif kind == "file":
        monkeypatch.setenv("DEGMM_CACHE_DIR", str(path))
    elif kind == "loop":
        (tmp_path / "round").symlink_to(tmp_path / "round")
        monkeypatch.setenv("DEGMM_CACHE_DIR", str(tmp_path / "round" / "programs"))
    else:
        other = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: other)
    assert find_place().unsafe
    path.write_bytes(b"")
    floored()
    assert path.read_bytes() == b""  # neither read nor replaced
    assert len(list(tmp_path.rglob("*.program"))) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="of POSIX")
def test_a_link_above_and_a_folder_like_tmp_are_sound(tmp_path):
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real/../real")
    tmp_path.chmod(0o1777)
    assert why_unsafe(tmp_path / "link" / "programs") == ""
    real.chmod(0o777)
    assert str(real) in why_unsafe(tmp_path / "link" / "programs")


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="of POSIX")
def test_an_entry_that_is_a_link_is_not_read(empty_store, tmp_path):
    store = Store(empty_store)
    store.write(KEY, b"content")
    (path,) = files(empty_store)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert store.read(KEY) is None
    assert store.summary().programs == 0
    store.write(KEY, b"other")
    assert (store.read(KEY), path.is_symlink()) == (b"other", False)
    assert b"content" in (tmp_path / "elsewhere").read_bytes()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="of POSIX")
def test_an_entry_that_is_a_pipe_is_not_waited_for(empty_store):
    empty_store.mkdir(mode=0o700)
    os.mkfifo(empty_store / f"{KEY.hex()}.program")
    assert Store(empty_store).read(KEY) is None


@pytest.mark.parametrize("value", ["off", "0", "False", " no "])
def test_it_is_switched_off(value, empty_store, monkeypatch, compilations):
    monkeypatch.setenv("DEGMM_CACHE", value)
    floored()
    floored()
    assert (len(compilations), files(empty_store)) == (2, [])
    assert find_place().off
    monkeypatch.setenv("DEGMM_CACHE", "on")
    assert not find_place().unused


def test_without_a_home_there_is_no_store(monkeypatch):
    import platformdirs

    def fails(*arguments, **named):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("DEGMM_CACHE_DIR")
    monkeypatch.setattr(platformdirs, "user_cache_path", fails)
    assert find_place().folder is None
    assert "DEGMM_CACHE_DIR" in find_place().unused
    floored()


# --- whole processes ---------------------------------------------------------------------------------

FIT = """
import hashlib, warnings
import jax, numpy as np
compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: compiled.append(event) if "backend_compile" in event else None)
from degmm import EGMM
X = np.random.default_rng(0).normal(size=(60, 4, 3)) + np.repeat([[0], [5]], 30, 0)[:, :, None]
digest = hashlib.sha256()
model = EGMM(2, n_init=1, max_iter=9, tol=0, random_state=0).fit(X)
from degmm.compilation import jit
from degmm.families.covariance import floor_eigenvalues
small = jit(floor_eigenvalues)(np.float32(model.covariances_), np.float32(0.1))
for part in (model.means_, model.covariances_, model.weights_, model.predict_proba(X), small):
    digest.update(np.ascontiguousarray(part).tobytes())
print(digest.hexdigest(), len(compiled))
"""


@pytest.mark.slow
def test_processes_share_the_programs_and_find_the_same(empty_store):
    def start(**environment):
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", FIT],
            env=os.environ | {"DEGMM_CACHE_DIR": str(empty_store)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(process):
        out, error = process.communicate(timeout=300)
        assert (process.returncode, error) == (0, "")
        digest, compilations = out.split()
        return digest, int(compilations)

    at_once = [ended(process) for process in [start(), start()]]
    written = files(empty_store)
    assert len(written) >= 5
    assert {path.suffix for path in written} == {".program"}
    later = [ended(process) for process in [start(), start(DEGMM_CACHE="off")]]
    assert len({digest for digest, _ in (*at_once, *later)}) == 1
    assert files(empty_store) == written
    assert later[0][1] <= later[1][1] - len(written)


# --- the command -------------------------------------------------------------------------------------


def test_the_command_tells_and_clears(empty_store, capsys, monkeypatch):
    Store(empty_store).write(KEY, bytes(3 * 1024**2))
    (empty_store / "notes.txt").write_text("not a program")
    assert degmm("cache", "--json") == 0
    row = json.loads(capsys.readouterr().out)["tables"][0]["rows"][0]
    assert (row["folder"], row["on"], row["programs"]) == (str(empty_store), True, 1)
    assert row["bytes"] > 3 * 1024**2
    assert degmm("cache", "--clear") == 0
    assert "removed 1 program, 3.0 MB" in capsys.readouterr().out
    assert [path.name for path in files(empty_store)] == ["notes.txt"]
    monkeypatch.setenv("DEGMM_CACHE", "off")
    assert degmm("cache") == 0
    assert "DEGMM_CACHE=off" in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="of POSIX")
def test_the_command_says_why_a_folder_is_not_used(empty_store, capsys):
    empty_store.mkdir()
    empty_store.chmod(0o777)
    assert degmm("cache") == 0
    assert "others may write to" in " ".join(capsys.readouterr().out.split())
    assert degmm("cache", "--clear") == 2
    assert "others may write to" in capsys.readouterr().err


def test_the_command_says_where_a_folder_is_read_only(empty_store, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert degmm("cache", "--json") == 0
    row = json.loads(capsys.readouterr().out)["tables"][0]["rows"][0]
    assert (row["on"], row["writable"]) == (True, False)
    assert degmm("cache") == 0
    assert "on: read only" in capsys.readouterr().out


def test_the_command_does_not_wait_for_jax():
    script = "import sys; from degmm.cli import main\ntry: main(['cache', '-q'])\n"
    script += "except SystemExit as end: sys.exit(end.code or 'jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
