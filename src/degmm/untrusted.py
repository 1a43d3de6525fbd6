"""JSON and TOML that may come from others: read in bounded time, or refused in one sentence.

All that this package reads of the two passes here. Their grammars allow what no model, record or
configuration has, and what then breaks a program far from where it was read: thousands of levels, which
exhaust the stack; numbers that no float holds; keys of thousands of parts, on which a parser spends a time
that grows as their number squared.
"""

import json
import math
import tomllib
from pathlib import Path
from typing import Any

from degmm.files import read_inside

MOST_BYTES = 64 * 1024**2
"""Of JSON: the records of long calibrations have a tenth"""
MOST_BYTES_OF_TOML = 1024**2
DEEPEST = 20
"""Levels of lists and tables; files of this package have six"""
MOST_PARTS = 10
"""Parts of a key of TOML; configurations have keys of one"""
MOST_DIGITS = 80
"""Of an integer: seeds may have 128 bits, and a float holds it; what sizes something is checked besides"""
OPENING, CLOSING = "[{", "]}"


def read_json_inside(folder: Path, path: Path, *, finite: bool = True) -> Any:
    """Return what a file of JSON holds that lies in a folder which may come from others.

    Raises
    ------
    ValueError
        As :func:`degmm.files.read_inside` and :func:`read_json`.
    OSError
        If it is not there, or cannot be read.
    """
    return read_json(read_inside(folder, path, MOST_BYTES), finite=finite)


def read_json(content: bytes, *, finite: bool = True) -> Any:
    """Return what JSON holds.

    Parameters
    ----------
    content : bytes
    finite : bool
        Whether NaN and infinite numbers are refused, too.

    Raises
    ------
    ValueError
        If it is no JSON, or has numbers or a depth that no file of this package has.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has {len(content):,} bytes, of {MOST_BYTES:,} at most")
    try:
        value = json.loads(
            content, parse_int=_integer, parse_float=_number, parse_constant=_no_number if finite else None
        )
    except UnfitError:
        raise
    except RecursionError:
        raise ValueError("it is no JSON: its lists or tables are nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from error
    check_plain(value, finite=finite)
    return value


class UnfitError(ValueError):
    """JSON that holds what no file of this package does."""


def _integer(text: str) -> int:
    digits = len(text.lstrip("-"))
    if digits > MOST_DIGITS:
        raise UnfitError(f"it has an integer of {digits} digits")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise UnfitError(f"it has a number that is too large for a float, {text:.20}")
    return value


def _no_number(text: str) -> float:
    raise UnfitError(f"it has a number that is not finite, {text}")


def read_toml(content: bytes) -> dict[str, Any]:
    """Return what TOML holds.

    Raises
    ------
    ValueError
        As :func:`read_json`, and for keys of many parts.
    """
    if len(content) > MOST_BYTES_OF_TOML:
        raise ValueError(f"it has {len(content):,} bytes, of {MOST_BYTES_OF_TOML:,} at most")
    text = content.decode("utf-8").removeprefix("\ufeff")
    _check_structure(text)
    try:
        value = tomllib.loads(text)
    except RecursionError:
        raise ValueError("its lists or tables are nested too deeply") from None
    except ValueError as error:
        if "limit" in str(error) and "digits" in str(error):  # of int, which names a setting of Python's
            raise ValueError(f"it has an integer of more than {MOST_DIGITS} digits") from error
        raise
    check_plain(value)
    return value


def check_plain(value: Any, *, finite: bool = True) -> None:
    """See that a value has a moderate depth and numbers that a float holds.

    Raises
    ------
    ValueError
        If not.
    """
    level = [value]
    for _ in range(DEEPEST + 1):
        inner: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                inner.extend(part.values())
            elif isinstance(part, list):
                inner.extend(part)
            elif isinstance(part, float) and finite and not math.isfinite(part):
                raise ValueError("it has a number that is not finite, or too large for a float")
            elif isinstance(part, int) and abs(part) >= 10**MOST_DIGITS:
                raise ValueError(f"it has an integer of more than {MOST_DIGITS} digits")
        if not inner:
            return
        level = inner
    raise ValueError(f"its lists or tables are nested more than {DEEPEST} levels deep")


def _check_structure(text: str) -> None:
    """See in one pass that TOML has no deep nesting and no long keys; other faults the parser tells."""
    at, depth, dots = 0, 0, 0
    while at < len(text):
        sign = text[at]
        if sign in "\"'":
            at = _after_text(text, at)
            continue
        if sign == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        if sign in OPENING:
            depth += 1
        elif sign in CLOSING:
            depth -= 1
        # A number has one point, so that all points between two of these signs are counted as a key's.
        dots = dots + 1 if sign == "." else 0 if sign in "=,\n[]{}" else dots
        if depth > DEEPEST:
            raise ValueError(f"its lists or tables are nested more than {DEEPEST} levels deep")
        if dots >= MOST_PARTS:
            raise ValueError(f"it has a key of more than {MOST_PARTS} parts")
        at += 1


def _after_text(text: str, at: int) -> int:
    """Return where a quoted text of TOML that begins at a place ends; the end of all if nothing closes it."""
    quote = text[at]
    long = text.startswith(quote * 3, at)
    mark = quote * 3 if long else quote
    at += len(mark)
    while at < len(text):
        if quote == '"' and text[at] == "\\":
            at += 2
        elif text.startswith(mark, at):
            return at + len(mark)
        elif text[at] == "\n" and not long:
            return at
        else:
            at += 1
    return at
