"""Registries are looked up by name, and a name that is not there is answered in one way."""

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def find(argument: str, name: Any, known: Mapping[str, T]) -> T:
    """Return ``known[name]``.

    Raises
    ------
    ValueError
        If there is no such name; the message names ``argument`` and lists what is known.
    """
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"{argument}: expected one of {', '.join(map(repr, known))}; got {name!r}")
    return known[name]
