"""Compiled programs kept between runs: their keys, their files, and who may write them."""

import errno
import gc
import json
import os
import stat
import subprocess
import sys
import time
import weakref
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_cli import degmm

from degmm import nets
from degmm.calibration import minimisation, rows
from degmm.calibration.families import FAMILIES
from degmm.calibration.linear import objective
from degmm.compilation import disk, jit, origin, programs
from degmm.compilation.fingerprints import UnknownError, fingerprint
from degmm.compilation.keys import call_of, disk_key
from degmm.compilation.memory import Programs
from degmm.families import make_family
from degmm.families.covariance import STRUCTURES, compose, floor_eigenvalues
from degmm.inference.objectives import find_objective
from degmm.nets.base import Encoder, EncoderSizes
from degmm.store import Store, find_place
from degmm.store import entries as entries_module
from degmm.store.place import why_unsafe

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
MATRICES = np.array([[[2.0, 0.3, 0.1], [0.3, 1e-9, 0.0], [0.1, 0.0, 1.0]]])
PAIR = (np.ones((1, 2, 2)), np.ones((1, 2)))
SIZES = EncoderSizes(n_features=2, n_components=3, n_members=4, hidden=(5,))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty store of this test's own."""
    monkeypatch.delenv("DEGMM_CACHE", raising=False)
    monkeypatch.setenv("DEGMM_CACHE_DIR", str(tmp_path / "programs"))
    return tmp_path / "programs"


@pytest.fixture
def compiled():
    """A list that grows with each compilation."""
    found = []

    def listen(event, duration, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(details)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)


def files(folder):
    return sorted(folder.glob("*")) if folder.exists() else []


def floored(matrices=MATRICES, dtype=np.float64):
    """Return what a newly compiled or loaded program makes of matrices, by LAPACK's eigenvalues."""
    with jax.enable_x64(dtype == np.float64):
        return np.asarray(jit(floor_eigenvalues)(matrices.astype(dtype), np.asarray(0.1, dtype)))


# --- programs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_program_is_compiled_once_and_then_loaded(dtype, folder, compiled, monkeypatch):
    first = floored(dtype=dtype)
    assert (len(compiled), len(files(folder))) == (1, 1)
    second = floored(dtype=dtype)
    assert len(compiled) == 1
    monkeypatch.setenv("DEGMM_CACHE", "off")
    without = floored(dtype=dtype)
    assert len(compiled) == 2
    assert first.dtype == dtype
    assert np.linalg.eigvalsh(first[0]).min() == pytest.approx(0.1, rel=1e-5)
    assert first.tobytes() == second.tobytes() == without.tobytes()


def test_programs_of_sorting_and_of_random_numbers_are_loaded(folder, compiled):
    def run():
        made = jit(partial(nets_sorted, 3))
        return [np.asarray(part) for part in made(jax.random.key(4), np.arange(7.0)[::-1].copy())]

    nets_sorted = named("degmm.arrays", lambda count, key, x: (jax.random.normal(key, (count,)), jnp.sort(x)))
    key = jax.random.key(4)
    run()
    before = len(compiled)
    numbers, ordered = run()
    assert (len(compiled), len(files(folder))) == (before, 1)
    np.testing.assert_array_equal(numbers, jax.random.normal(key, (3,)))
    np.testing.assert_array_equal(ordered, np.arange(7.0))


def named(module, function):
    """Return a function that seems to be made within a module."""
    return type(function)(function.__code__, globals() | sys.modules[module].__dict__, "made", None, None)


def test_values_of_other_kinds_have_programs_of_their_own():
    made = jit(compose)
    V, values = np.eye(2)[None], np.ones((1, 2))
    assert made(V, values).dtype == np.float32
    with jax.enable_x64(True):
        assert made(V, values).dtype == np.float64
        assert made(V.astype(np.float32), values.astype(np.float32)).dtype == np.float32
    assert made.programs_made == 3
    made(V + 1, values)
    made(jnp.asarray(V), jnp.asarray(values))  # of another type, float32
    made(jnp.asarray(V), jnp.asarray(values))
    assert made.programs_made == 4


def test_weak_types_are_kept_as_by_jax():
    def scaled(x, by):
        return x * by

    made, plain = jit(scaled), jax.jit(scaled)
    x = np.ones(3, np.float16)
    for by in (2, 2.0, np.float32(2), jnp.asarray(2.0), jnp.full(3, 2.0), True):
        found, wanted = made(x, by), plain(x, by)
        assert (found.dtype, found.weak_type) == (wanted.dtype, wanted.weak_type)
        found, wanted = made(2.0, by), plain(2.0, by)
        assert (found.dtype, found.weak_type) == (wanted.dtype, wanted.weak_type)


def test_donated_memory_is_used_by_loaded_programs_too(folder, compiled):
    for _ in range(2):
        given = jnp.ones((4, 3, 3))
        found = jit(jax.lax.neg, donate_argnums=0)(given)
        assert given.is_deleted()
        np.testing.assert_array_equal(found, -np.ones((4, 3, 3)))
    kept = jnp.ones((4, 3, 3))
    jit(jax.lax.neg)(kept)
    assert not kept.is_deleted()
    assert len(files(folder)) == 2


def test_what_jax_transforms_is_left_to_it(folder):
    made = jit(compose)
    V, values = np.eye(2, dtype=np.float32)[None], np.ones((1, 2), np.float32)
    wanted = compose(V, values)
    np.testing.assert_allclose(jax.jit(lambda: made(V, values))(), wanted)
    np.testing.assert_allclose(jax.vmap(made)(V[None], values[None])[0], wanted)
    np.testing.assert_allclose(jax.grad(lambda d: made(V, d).sum())(values), np.ones((1, 2)))
    assert (made.programs_made, files(folder)) == (0, [])


def test_a_program_that_does_not_run_is_compiled_anew(folder, monkeypatch, compiled):
    first = floored()
    os.utime(files(folder)[0], (1, 1))

    def broken(key, call):
        def run(*values):
            raise jax.errors.JaxRuntimeError("NOT_FOUND")

        return run

    with monkeypatch.context() as patched:
        patched.setattr(disk, "load", broken)
        assert floored().tobytes() == first.tobytes()
    assert len(compiled) == 2
    assert files(folder)[0].stat().st_mtime > 1  # written anew
    assert floored().tobytes() == first.tobytes()
    assert len(compiled) == 2


def test_programs_in_memory_are_bounded_and_freed(monkeypatch):
    held = Programs(2)
    monkeypatch.setattr(programs, "PROGRAMS", held)
    monkeypatch.setenv("DEGMM_CACHE", "off")
    made = jit(compose)

    def call(n):
        made(np.ones((n, 1, 1)), np.ones((n, 1)))

    call(1)
    call(2)
    call(1)
    executables = [p.runtime_executable() for p in (held.find(made, k) for _, k in list(held._held))]
    assert [e is not None for e in executables] == [True, True]
    gone = [weakref.ref(p) for p in (held.find(made, k) for _, k in list(held._held))]
    del executables
    assert (made.programs_made, len(held)) == (2, 2)
    call(3)  # in place of the one of 2
    call(1)
    assert (made.programs_made, len(held)) == (3, 2)
    call(2)
    assert made.programs_made == 4
    made.forget()
    gc.collect()
    assert len(held) == 0
    assert [one() for one in gone] == [None, None]


def test_what_calls_back_is_not_kept(folder):
    def calling(x):
        return jax.pure_callback(lambda y: y, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    lowered = jax.jit(calling).lower(np.ones(2, np.float32))
    disk.save(KEY, lowered, lowered.compile())
    assert files(folder) == []
    lowered = jax.jit(jnp.negative).lower(np.ones(2, np.float32))
    disk.save(KEY, lowered, lowered.compile())
    assert len(files(folder)) == 1


def test_nothing_is_kept_of_what_may_come_from_a_cache_of_jax(folder, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "of_jax"))
    try:
        floored()
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
    assert files(folder) == []
    floored()
    assert len(files(folder)) == 1


# --- keys --------------------------------------------------------------------------------------------


def key_of(function=compose, values=PAIR, static=(), donated=(), options=None):
    origin.origin.cache_clear()
    return disk_key(function, static, donated, options or {}, call_of(values, static))


def test_every_ingredient_changes_the_key(monkeypatch):
    f32 = np.ones((1, 2), np.float32)
    V = np.ones((1, 2, 2))
    keys = [key_of()]
    assert key_of() == keys[0]
    assert key_of(values=(2 * V, np.zeros((1, 2)))) == keys[0]  # values of the same kind
    keys += [
        key_of(floor_eigenvalues),
        key_of(partial(compose)),
        key_of(donated=(0,)),
        key_of(options={"a": 1}),
    ]
    keys += [
        key_of(values=values) for values in [(V, f32), (V, f32[0]), (V, 1.0), (V, 1), (V, jnp.asarray(1.0))]
    ]
    keys += [
        key_of(values=values) for values in [(V, np.float32(1)), (V, (f32,)), (V, [f32]), (V, {"a": f32})]
    ]
    keys += [key_of(values=values) for values in [(V, {"b": f32}), (V, (f32, None)), (V, (None, f32)), (V,)]]
    for static in (
        1,
        True,
        1.0,
        "1",
        np.dtype("f4"),
        (1,),
        [1].__class__,
        STRUCTURES["full"],
        STRUCTURES["diag"],
    ):
        keys.append(key_of(values=(static, V), static=(0,)))
    with jax.enable_x64(True):
        keys.append(key_of())
    with jax.default_matmul_precision("float32"):
        keys.append(key_of())
    monkeypatch.setenv("XLA_FLAGS", "--xla_some_flag=1")
    keys.append(key_of())
    monkeypatch.setenv("JAX_SOMETHING", "1")
    keys.append(key_of())
    monkeypatch.setattr("degmm.__version__", "999")
    keys.append(key_of())
    monkeypatch.setattr(jax, "__version__", "999")
    keys.append(key_of())
    monkeypatch.setattr(origin, "version", lambda name: "999")
    keys.append(key_of())
    monkeypatch.setattr(origin, "cores", lambda: 999)
    keys.append(key_of())
    monkeypatch.setattr(origin, "_first_processor", lambda lines: ("flags: none",))
    keys.append(key_of())
    monkeypatch.setattr(origin, "digest_of_source", lambda folder: "other source")
    keys.append(key_of())
    assert None not in keys
    assert len(set(keys)) == len(keys)
    monkeypatch.setattr(origin, "digest_of_source", lambda folder: None)
    assert key_of() is None
    monkeypatch.undo()
    origin.origin.cache_clear()


def test_settings_of_jax_are_in_the_key():
    before = key_of()
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        assert key_of() != before
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
    assert key_of() == before


def test_the_source_is_told_by_its_content(tmp_path):
    (tmp_path / "within").mkdir()
    one, two = tmp_path / "one.py", tmp_path / "within" / "two.py"
    one.write_text("a = 1\n")
    two.write_text("b = 1\n")
    soon = time.time() + 60
    first = origin.digest_of_source(tmp_path, soon)
    assert first == origin.digest_of_source(tmp_path, soon)
    two.write_text("b = 2\n")
    second = origin.digest_of_source(tmp_path, soon)
    one.rename(tmp_path / "three.py")
    assert len({first, second, origin.digest_of_source(tmp_path, soon)}) == 3
    os.utime(two, (time.time() + 120,) * 2)  # changed since it was imported
    assert origin.digest_of_source(tmp_path, soon) is None
    assert origin.digest_of_source(tmp_path / "none", soon) is None


@dataclass(frozen=True)
class Mine:
    a: int = 1


class MyEncoder(Encoder):
    def __init__(self, sizes, *, rngs):
        self.layer = nets.deep_sets.DenseStack((1, 3), rngs=rngs)


def mine(x):
    return x


def test_what_is_a_users_own_has_no_fingerprint():
    pretending = type(mine)(mine.__code__, mine.__globals__, "compose", None, None)
    pretending.__module__ = compose.__module__
    endless = []
    endless.append(endless)
    unknown = [mine, Mine, Mine(), partial(mine), partial(compose, mine), {"a": mine}, pretending, endless]
    unknown += [object(), jnp.ones(2), np.array([None]), MyEncoder, jax.vmap(compose), lambda x: x]
    unknown += [nets.structure(MyEncoder, SIZES)]
    for value in unknown:
        with pytest.raises(UnknownError):
            fingerprint(value)
    assert key_of(mine, (np.ones(2),)) is None


def test_all_that_the_package_compiles_has_a_fingerprint():
    structures = [nets.structure(make, SIZES) for make in nets.ENCODERS.values()]
    families = [
        make_family(member_model, kind)
        for member_model in ("independent", "shared_centre")
        for kind in STRUCTURES
    ]
    compiled = [
        minimisation._compiled(objective(f, loss)) for f in FAMILIES for loss in ("crps", "likelihood")
    ]
    others = [find_objective("elbo"), find_objective("likelihood"), np.dtype("f8"), *nets.ENCODERS.values()]
    others += [rows._apply, *FAMILIES.values()]
    values = [*structures, *families, *(made.__wrapped__ for made in compiled), *others]
    told = [fingerprint(value) for value in values]
    assert len(set(told)) == len(told)
    minimisation._compiled.cache_clear()
    objective.cache_clear()
    again = minimisation._compiled(objective("normal", "crps"))
    assert again is not compiled[0]
    assert fingerprint(again.__wrapped__) == fingerprint(compiled[0].__wrapped__)
    assert [fingerprint(nets.structure(make, SIZES)) for make in nets.ENCODERS.values()] == told[
        : len(structures)
    ]


# --- files -------------------------------------------------------------------------------------------


def test_an_entry_is_read_as_it_was_written_and_only_whole(folder):
    store = Store(folder)
    assert store.read(KEY) is None
    store.write(KEY, b"content of a program")
    assert store.read(KEY) == b"content of a program"
    assert store.read(OTHER) is None
    (path,) = files(folder)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place])
        assert store.read(KEY) is None
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert store.read(KEY) is None
    path.write_bytes(whole + b"more")
    assert store.read(KEY) is None
    path.write_bytes(whole)
    path.rename(folder / f"{OTHER.hex()}.program")
    assert store.read(OTHER) is None


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "not a program", "of others"])
def test_a_damaged_entry_is_replaced(damage, folder, compiled):
    first = floored()
    (path,) = files(folder)
    whole = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "flipped":
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 16]) + whole[-8:])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "not a program":
        Store(folder).write(bytes.fromhex(path.stem), b"whole, and no program")
    else:
        path.chmod(0o666)
    assert floored().tobytes() == first.tobytes()
    assert len(compiled) == 2
    assert floored().tobytes() == first.tobytes()
    assert len(compiled) == 2
    assert files(folder) == [path]


def test_those_not_used_for_longest_go_first(folder):
    content = bytes(1000)
    size = 1000 + entries_module.HEADER.size
    store = Store(folder, most_bytes=3 * size)
    keys = [bytes([i]) * 32 for i in range(5)]
    long_ago = time.time() - 1e6
    for i, key in enumerate(keys[:3]):
        store.write(key, content)
        os.utime(folder / f"{key.hex()}.program", (long_ago + i,) * 2)
    assert store.read(keys[0]) is not None  # used now
    store.write(keys[3], content)
    assert [store.read(key) is not None for key in keys] == [True, False, True, True, False]
    store.write(keys[4], bytes(3 * size))  # more than all together
    assert [store.read(key) is not None for key in keys] == [True, False, True, True, False]
    assert store.summary() == (3, 3 * size)


def test_a_process_killed_while_writing_leaves_nothing_that_is_read(folder):
    script = "import os, sys; from degmm.store import Store; from pathlib import Path\n"
    script += "os.replace = lambda *paths: os._exit(9)\n"
    script += "Store(Path(sys.argv[1])).write(bytes(range(32)), b'content')\n"
    assert subprocess.run([sys.executable, "-c", script, str(folder)], check=False).returncode == 9
    (part,) = files(folder)
    assert part.suffix == ".part"
    store = Store(folder)
    assert store.read(KEY) is None
    store.write(KEY, b"content")
    assert part.exists()  # it may be that of a process at work
    os.utime(part, (time.time() - 1e5,) * 2)
    store.write(OTHER, b"content")
    assert not part.exists()
    assert store.read(KEY) == store.read(OTHER) == b"content"


@pytest.mark.parametrize("when", ["folder", "opened", "written", "renamed", "listed"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_where_nothing_can_be_written_all_works_without(when, number, folder, monkeypatch, recwarn):
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
        store = Store(folder)
        store.write(KEY, b"content")
        store.read(KEY)
        store.clear()
    assert len(files(folder)) == (1 if when == "listed" else 0)
    assert not recwarn.list


# --- the folder --------------------------------------------------------------------------------------


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
def test_a_folder_that_others_may_write_to_is_passed_over(kind, tmp_path, folder, monkeypatch):
    floored()
    (path,) = files(folder)
    if kind in ("all", "group"):
        folder.chmod(0o777 if kind == "all" else 0o770)
    elif kind == "above":
        tmp_path.chmod(0o777)
    elif kind == "link":
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
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
def test_an_entry_that_is_a_link_is_not_read(folder, tmp_path):
    store = Store(folder)
    store.write(KEY, b"content")
    (path,) = files(folder)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert store.read(KEY) is None
    assert store.summary().programs == 0
    store.write(KEY, b"other")
    assert (store.read(KEY), path.is_symlink()) == (b"other", False)
    assert b"content" in (tmp_path / "elsewhere").read_bytes()


@pytest.mark.parametrize("value", ["off", "0", "False", " no "])
def test_it_is_switched_off(value, folder, monkeypatch, compiled):
    monkeypatch.setenv("DEGMM_CACHE", value)
    floored()
    floored()
    assert (len(compiled), files(folder)) == (2, [])
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


def test_processes_share_the_programs_and_find_the_same(folder):
    def start(**environment):
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", FIT],
            env=os.environ | {"DEGMM_CACHE_DIR": str(folder)} | environment,
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
    written = files(folder)
    assert len(written) >= 5
    assert {path.suffix for path in written} == {".program"}
    later = [ended(process) for process in [start(), start(DEGMM_CACHE="off")]]
    assert len({digest for digest, _ in (*at_once, *later)}) == 1
    assert files(folder) == written
    assert later[0][1] <= later[1][1] - len(written)


# --- the command -------------------------------------------------------------------------------------


def test_the_command_tells_and_clears(folder, capsys, monkeypatch):
    Store(folder).write(KEY, bytes(3 * 1024**2))
    (folder / "notes.txt").write_text("not a program")
    assert degmm("cache", "--json") == 0
    row = json.loads(capsys.readouterr().out)["tables"][0]["rows"][0]
    assert (row["folder"], row["on"], row["programs"]) == (str(folder), True, 1)
    assert row["bytes"] > 3 * 1024**2
    assert degmm("cache", "--clear") == 0
    assert "removed 1 program, 3.0 MB" in capsys.readouterr().out
    assert [path.name for path in files(folder)] == ["notes.txt"]
    monkeypatch.setenv("DEGMM_CACHE", "off")
    assert degmm("cache") == 0
    assert "DEGMM_CACHE=off" in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="of POSIX")
def test_the_command_says_why_a_folder_is_not_used(folder, capsys):
    folder.mkdir()
    folder.chmod(0o777)
    assert degmm("cache") == 0
    assert "others may write to" in " ".join(capsys.readouterr().out.split())
    assert degmm("cache", "--clear") == 2
    assert "others may write to" in capsys.readouterr().err


def test_the_command_does_not_wait_for_jax():
    script = "import sys; from degmm.cli import main\ntry: main(['cache', '-q'])\n"
    script += "except SystemExit as end: sys.exit(end.code or 'jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
