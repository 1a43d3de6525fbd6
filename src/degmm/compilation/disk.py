"""Programs between processes: how they are written to the store, and made ready again."""

import pickle
from functools import cache
from typing import Any, NamedTuple

import jax

from degmm.compilation.keys import Call
from degmm.compilation.outside import OutsideCalls
from degmm.store import Store, find_place


class StoredProgram(NamedTuple):
    """A program that an earlier process left."""

    program: Any
    in_pool: bool
    """As of :class:`OutsideCalls`"""


def load(key: bytes | None, call: Call) -> StoredProgram | None:
    """Return the program that an earlier process left under a key, or None."""
    store = _store()
    if key is None or store is None:
        return None
    content = store.read(key)
    if content is None:
        return None
    try:
        serialised, out_tree, needs_lapack, in_pool = pickle.loads(content)
        if needs_lapack and not _lapack_ready():
            return None
        program = _serialisation().deserialize_and_load(
            serialised, jax.tree.structure((call.dynamic, {})), out_tree
        )
        return StoredProgram(program, in_pool)
    except Exception:  # whatever it is, compiling the program anew mends it
        return None


def save(key: bytes | None, calls: OutsideCalls, program: Any) -> None:
    """Leave a program for later processes, where that is sound; before it first runs.

    What a program calls outside itself must be there in another process: LAPACK is, a function of
    Python's is not. Once run, a program that sorts can no longer be written; nor can one that jax has
    from a store of its own, though jax makes a file of it.
    """
    store = _store()
    if key is None or store is None:
        return
    try:
        if jax.config.values["jax_compilation_cache_dir"] is not None:
            return
        if not calls.only_lapack:
            return
        serialised, _, out_tree = _serialisation().serialize(program)
        content = pickle.dumps(
            (serialised, out_tree, calls.lapack, calls.in_pool), protocol=pickle.HIGHEST_PROTOCOL
        )
    except Exception:  # it is then compiled anew in every process, as all were before there was a store
        return
    store.write(key, content)


def discard(key: bytes | None) -> None:
    """Take a program out of the store that does not run."""
    store = _store()
    if key is not None and store is not None:
        store.remove(key)


def _store() -> Store | None:
    place = find_place()
    return None if place.folder is None or place.unused else Store(place.folder)


def _serialisation() -> Any:
    from jax.experimental import serialize_executable  # may not be in every version of jax

    return serialize_executable


@cache
def _lapack_ready() -> bool:
    """Have LAPACK's functions found, as jax does when it first compiles a call of one."""
    try:
        from jax._src.lax.linalg import initialize_lapack

        initialize_lapack()
    except Exception:
        return False
    return True
