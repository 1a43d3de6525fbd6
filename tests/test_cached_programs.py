"""Compiled programs are loaded where they were compiled before, in memory and from the store."""

import gc
import os
import sys
import weakref
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stored_programs import files, floored

from degmm.compilation import disk, jit, programs
from degmm.compilation.memory import Programs
from degmm.compilation.outside import outside_calls
from degmm.families.covariance import compose

KEY = bytes(range(32))
pytestmark = pytest.mark.usefixtures("empty_store")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_program_is_compiled_once_and_then_loaded(dtype, empty_store, compilations, monkeypatch):
    first = floored(dtype=dtype)
    assert (len(compilations), len(files(empty_store))) == (1, 1)
    second = floored(dtype=dtype)
    assert len(compilations) == 1
    monkeypatch.setenv("DEGMM_CACHE", "off")
    without = floored(dtype=dtype)
    assert len(compilations) == 2
    assert first.dtype == dtype
    assert np.linalg.eigvalsh(first[0]).min() == pytest.approx(0.1, rel=1e-5)
    assert first.tobytes() == second.tobytes() == without.tobytes()


def test_programs_of_sorting_and_of_random_numbers_are_loaded(empty_store, compilations):
    def run():
        made = jit(partial(nets_sorted, 3))
        return [np.asarray(part) for part in made(jax.random.key(4), np.arange(7.0)[::-1].copy())]

    nets_sorted = named("degmm.arrays", lambda count, key, x: (jax.random.normal(key, (count,)), jnp.sort(x)))
    key = jax.random.key(4)
    run()
    before = len(compilations)
    numbers, ordered = run()
    assert (len(compilations), len(files(empty_store))) == (before, 1)
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


def test_donated_memory_is_used_by_loaded_programs_too(empty_store, compilations):
    for _ in range(2):
        given = jnp.ones((4, 3, 3))
        found = jit(jax.lax.neg, donate_argnums=0)(given)
        assert given.is_deleted()
        np.testing.assert_array_equal(found, -np.ones((4, 3, 3)))
    kept = jnp.ones((4, 3, 3))
    jit(jax.lax.neg)(kept)
    assert not kept.is_deleted()
    assert len(files(empty_store)) == 2


def test_what_jax_transforms_is_left_to_it(empty_store):
    made = jit(compose)
    V, values = np.eye(2, dtype=np.float32)[None], np.ones((1, 2), np.float32)
    wanted = compose(V, values)
    np.testing.assert_allclose(jax.jit(lambda: made(V, values))(), wanted)
    np.testing.assert_allclose(jax.vmap(made)(V[None], values[None])[0], wanted)
    np.testing.assert_allclose(jax.grad(lambda d: made(V, d).sum())(values), np.ones((1, 2)))
    assert (made.programs_made, files(empty_store)) == (0, [])


def test_a_program_that_does_not_run_is_compiled_anew(empty_store, monkeypatch, compilations):
    first = floored()
    os.utime(files(empty_store)[0], (1, 1))

    def broken(key, call):
        def run(*values):
            raise jax.errors.JaxRuntimeError("NOT_FOUND")

        return disk.StoredProgram(run, in_pool=False)

    with monkeypatch.context() as patched:
        patched.setattr(disk, "load", broken)
        assert floored().tobytes() == first.tobytes()
    assert len(compilations) == 2
    assert files(empty_store)[0].stat().st_mtime > 1  # written anew
    assert floored().tobytes() == first.tobytes()
    assert len(compilations) == 2


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


def test_what_calls_back_is_not_kept(empty_store):
    def calling(x):
        return jax.pure_callback(lambda y: y, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    lowered = jax.jit(calling).lower(np.ones(2, np.float32))
    disk.save(KEY, outside_calls(lowered), lowered.compile())
    assert files(empty_store) == []
    lowered = jax.jit(jnp.negative).lower(np.ones(2, np.float32))
    disk.save(KEY, outside_calls(lowered), lowered.compile())
    assert len(files(empty_store)) == 1


def test_nothing_is_kept_of_what_may_come_from_a_cache_of_jax(empty_store, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "of_jax"))
    try:
        floored()
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
    assert files(empty_store) == []
    floored()
    assert len(files(empty_store)) == 1
