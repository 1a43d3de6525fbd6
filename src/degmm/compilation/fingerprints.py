"""Texts that stand for values: equal in two processes only where the values do the same there.

What is not known for certain has none: an object of a user's own, whose source no version tells.
"""

import hashlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from types import CodeType, FunctionType, MappingProxyType, NoneType
from typing import Any

import numpy as np
from jax.tree_util import PyTreeDef

KNOWN = frozenset(
    [
        *("degmm", "jax", "jaxlib", "flax", "optax", "jaxtyping", "numpy"),
        *("builtins", "collections", "functools", "operator", "types", "typing"),
    ]
)
"""Packages whose code is told by versions and digests that are part of every key"""
DEEPEST = 60
"""Values within values, after which they are taken to hold themselves"""
MISSING = object()


class UnknownError(Exception):
    """A value has no fingerprint."""


def fingerprint(value: Any) -> str:
    """Return the text that stands for a value.

    Raises
    ------
    UnknownError
        If what the value does is not known for certain.
    """
    return "".join(_tokens(value, DEEPEST))


def _tokens(value: Any, deeper: int) -> Iterator[str]:
    if deeper == 0:
        raise UnknownError("values within values")
    kind = type(value)
    if value is NoneType:
        yield "type:None;"
        return
    if value is None or value is Ellipsis or kind in (bool, int, float, complex, str, bytes):
        yield f"{kind.__name__}:{value!r};"
        return
    if kind in (tuple, list, dict, set, frozenset, MappingProxyType):
        yield f"{kind.__name__}["
        yield from _items(value, deeper)
        yield "]"
        return
    if isinstance(value, np.dtype):
        if value.hasobject or value.names:
            raise UnknownError(str(value))
        yield f"dtype:{value.str};"
    elif kind is np.ndarray or isinstance(value, np.generic):
        yield from _array(value)
    elif isinstance(value, Enum):
        yield f"{_name(kind)}.{value.name};"
    elif kind is partial:
        yield "partial["
        yield from _tokens((value.func, value.args, value.keywords), deeper - 1)
        yield "]"
    elif (named := _found_name(value)) is not None:
        yield f"name:{named};"
    elif kind is FunctionType:
        yield from _function(value, deeper)
    elif kind is PyTreeDef:
        yield from _tree(value, deeper)
    else:
        yield f"{_name(kind)}["
        yield from _tokens(_parts(value), deeper - 1)
        yield "]"


def _items(value: Any, deeper: int) -> Iterator[str]:
    if isinstance(value, Mapping):
        for pair in value.items():
            yield from _tokens(pair, deeper - 1)
    elif isinstance(value, set | frozenset):
        yield from sorted("".join(_tokens(item, deeper - 1)) for item in value)
    else:
        for item in value:
            yield from _tokens(item, deeper - 1)


def _tree(value: Any, deeper: int) -> Iterator[str]:
    node = value.node_data()
    if node is None:
        yield "*" if value.num_leaves else "none;"
        return
    yield "tree["
    yield from _tokens(node, deeper - 1)
    yield from _items(value.children(), deeper)
    yield "]"


def _array(value: Any) -> Iterator[str]:
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise UnknownError("an array of objects")
    content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    yield f"array:{array.dtype.descr!r}:{array.shape}:{content};"


def _parts(value: Any) -> Any:
    """Return what an object of a known type consists of."""
    if isinstance(value, tuple):
        return tuple(value)
    if is_dataclass(value):
        held = {field.name: getattr(value, field.name, MISSING) for field in fields(value)}
        rest = {name: part for name, part in getattr(value, "__dict__", {}).items() if name not in held}
        if rest or MISSING in held.values():
            raise UnknownError(type(value).__name__)
        return held
    if isinstance(value, Mapping):
        return dict(value)
    raise UnknownError(f"an object of the type {type(value).__name__}")


def _name(kind: type) -> str:
    named = _found_name(kind)
    if named is None:
        raise UnknownError(f"the type {kind.__qualname__}")
    return named


def _found_name(value: Any) -> str | None:
    """Return the name that a function or type of a known package has there, if it has one."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name or not _is_known(module):
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    # A compiled function stands in its module for the one that it was made of.
    if found is value or (found is not None and getattr(found, "__wrapped__", None) is value):
        return f"{module}:{name}"
    return None


def _is_known(module: str) -> bool:
    return module.partition(".")[0] in KNOWN


def _function(value: FunctionType, deeper: int) -> Iterator[str]:
    """Say what a function without a name of its own is: its code, and all that it holds."""
    module = value.__globals__.get("__name__", "")
    if not _is_known(module):
        raise UnknownError(f"the function {value.__qualname__}")
    cells = {}
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        try:
            cells[name] = cell.cell_contents
        except ValueError as error:
            raise UnknownError(f"{value.__qualname__} before {name} is set") from error
    yield f"function:{module}["
    yield from _code(value.__code__, deeper)
    yield from _tokens((value.__defaults__, value.__kwdefaults__, cells), deeper - 1)
    yield "]"


def _code(code: CodeType, deeper: int) -> Iterator[str]:
    """Tell the functions of a line apart; what they call is told by the digest of their package."""
    yield f"code:{code.co_qualname}:{code.co_firstlineno}:{code.co_names!r}:{code.co_code!r}["
    for constant in code.co_consts:
        yield from (
            _code(constant, deeper - 1) if isinstance(constant, CodeType) else _tokens(constant, deeper - 1)
        )
    yield "]"
