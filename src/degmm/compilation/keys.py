"""What a call of a compiled function depends on: in this process, and in any."""

import hashlib
from collections.abc import Hashable
from enum import Enum
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np

from degmm.compilation.fingerprints import UnknownError, fingerprint
from degmm.compilation.origin import origin, settings

try:  # not public: where a version of jax has it no more, all is left to jax.jit
    from jax._src.config import trace_context
    from jax._src.core import AxisEnv, trace_state_clean
except ImportError:  # pragma: no cover - other versions of jax
    trace_context = None

SCALARS = frozenset((bool, int, float, complex))
ORDINARY = "biufc"
"""Kinds of data types that have neither objects, texts nor dates"""
RANDOM_KEYS = frozenset(("key<fry>", "key<rbg>", "key<urbg>"))
"""Types of jax's own random keys"""


class Call(NamedTuple):
    """A call with arguments."""

    static: tuple[Any, ...]
    dynamic: tuple[Any, ...]
    tree: Any
    leaves: tuple[Any, ...]
    """Shape, type and weakness of each array"""
    context: tuple[Any, ...]
    """Of jax"""

    @property
    def key(self) -> Hashable:
        """What tells the program apart from others of its function, in this process."""
        kinds = tuple(type(value) for value in self.static)
        return self.static, kinds, self.tree, self.leaves, self.context


def call_of(values: tuple[Any, ...], static: tuple[int, ...]) -> Call | None:
    """Return what a call is, or None where it must be left to ``jax.jit``."""
    if trace_context is None or not trace_state_clean() or _on_one_cpu() is None:
        return None
    context = trace_context()
    if _told(context) is None or _is_set("jax_debug_nans") or _is_set("jax_debug_infs"):
        return None
    dynamic = tuple(value for i, value in enumerate(values) if i not in static)
    leaves, tree = jax.tree.flatten(dynamic)
    kinds = tuple(map(_kind, leaves))
    if None in kinds:
        return None
    return Call(tuple(values[i] for i in static if i < len(values)), dynamic, tree, kinds, context)


def disk_key(
    function: Any, static: tuple[int, ...], donated: tuple[int, ...], options: Any, call: Call
) -> bytes | None:
    """Return the key of a program in any process, or None where it cannot be told for certain."""
    process = origin()
    if process is None:
        return None
    try:
        parts = (
            process,
            settings(),
            _told(call.context) or "",
            fingerprint((static, donated, options)),
            fingerprint(function),
            fingerprint(call.static),
            fingerprint(call.tree),
            fingerprint([_in_words(kind) for kind in call.leaves]),
        )
    except (UnknownError, RecursionError):
        return None
    return hashlib.sha256(repr(parts).encode()).digest()


@cache
def _on_one_cpu() -> Any:
    """Return where arrays of the one device are, or None if this process has another or several."""
    devices = jax.devices()
    if len(devices) != 1 or devices[0].platform != "cpu" or jax.process_count() != 1:
        return None
    return jax.sharding.SingleDeviceSharding(devices[0])


@cache
def _told(context: tuple[Any, ...]) -> str | None:
    """Return a text for jax's own context, or None where it is no plain one."""
    if _is_set("jax_disable_jit"):
        return None
    told = []
    for value in context:
        if isinstance(value, AxisEnv):  # empty, outside of all that is traced
            continue
        if not (value is None or value == () or isinstance(value, bool | int | float | str | Enum)):
            return None
        told.append(repr(value))
    return repr(told)


def _is_set(setting: str) -> bool:
    return bool(getattr(jax.config, setting))


def _kind(leaf: Any) -> Any:
    """Return what a program knows of an argument, or None where it is no ordinary one."""
    if isinstance(leaf, jax.Array):
        # A tracer is one too, and has no sharding of this kind.
        if isinstance(leaf, jax.core.Tracer) or leaf.sharding != _on_one_cpu():
            return None
        return leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)  # random keys have none
    kind = type(leaf)
    if kind is np.ndarray or isinstance(leaf, np.generic):
        known = leaf.dtype.kind in ORDINARY and leaf.dtype.isnative
        return (leaf.shape, leaf.dtype, False) if known else None
    return kind if kind in SCALARS else None


def _in_words(kind: Any) -> Any:
    if isinstance(kind, type):
        return kind.__name__
    shape, dtype, weak = kind
    if not isinstance(dtype, np.dtype) and str(dtype) not in RANDOM_KEYS:
        raise UnknownError(f"arrays of {dtype}")
    return shape, str(dtype), weak
