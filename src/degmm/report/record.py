"""The record that a command leaves in its output folder, and what is said of a bad one."""

import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

from degmm.folders import RECORD, read_located

FORMAT = 1
"""Version of the layout of a record that this program reads."""
EXPECTED = "expected the output folder of degmm describe, fit, select, calibrate or compare"

FACTS: dict[str, Any] = {
    "command": str,
    "title": str,
    "finished": str,
    "seconds": int | float,
    "command_line": str,
    "configuration": dict,
    "versions": dict,
    "input": dict | None,
    "items": list,
}
INPUT: dict[str, Any] = {"file": str, "bytes": int | None, "sha256": str | None}
KINDS: dict[str, dict[str, Any]] = {
    "note": {"text": str},
    "warning": {"text": str},
    "table": {"title": str, "columns": list, "rows": list},
    "picture": {"file": str, "caption": str},
    "file": {"file": str, "text": str},
}


def read_record(folder: Path) -> dict[str, Any]:
    """Read the record of an output folder.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict
        With all keys that a page needs, of the right types.

    Raises
    ------
    ValueError
        If there is no such folder or no record in it, or that is damaged or of a newer version.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; {EXPECTED}")
    path = folder / RECORD
    content = _content(folder, path)
    try:
        run = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"it is no JSON: {error}") from error
    version = run.get("format") if isinstance(run, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise ValueError(
            f"{path}: written in a newer format ({version}, this version reads up to {FORMAT}); upgrade degmm"
        )
    try:
        if type(version) is not int or version != FORMAT:
            raise ValueError("it has no valid 'format'")
        _check(run)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    return run


def _content(folder: Path, path: Path) -> bytes:
    try:
        return read_located(folder, RECORD)
    except FileNotFoundError:
        raise ValueError(f"{folder}: no {RECORD}; {EXPECTED}") from None
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({error.strerror or error}); check its permissions"
        ) from error


def _damaged(path: Path, why: str) -> ValueError:
    return ValueError(f"{path}: damaged ({why}); run the command again")


def _check(run: dict[str, Any]) -> None:
    _check_keys(run, FACTS, "the record")
    if not (math.isfinite(run["seconds"]) and run["seconds"] >= 0):
        raise ValueError("'seconds' is no duration")
    datetime.fromisoformat(run["finished"])
    if run["input"] is not None:
        _check_keys(run["input"], INPUT, "'input'")
    for i, item in enumerate(run["items"]):
        _check_item(item, f"item {i}")


def _check_item(item: Any, where: str) -> None:
    _check_keys(item, {"section": str, "kind": str}, where)
    if item["kind"] not in KINDS:
        raise ValueError(f"{where} is of an unknown kind {item['kind']!r}")
    _check_keys(item, KINDS[item["kind"]], where)
    if item["kind"] == "picture" and "\0" in item["file"]:
        raise ValueError(f"{where}, a picture, has no name of a file")
    if item["kind"] == "table":
        lines = [item["columns"], *item["rows"]]
        if not all(isinstance(line, list) and len(line) == len(lines[0]) for line in lines):
            raise ValueError(f"{where}, a table, has rows that do not fit its columns")
        if not all(isinstance(cell, str) for line in lines for cell in line):
            raise ValueError(f"{where}, a table, has cells that are no text")


def _check_keys(value: Any, keys: dict[str, Any], where: str) -> None:
    for key, kind in keys.items():
        if not isinstance(value, dict) or key not in value:
            raise ValueError(f"{where} has no {key!r}")
        if not isinstance(value[key], kind):
            raise ValueError(f"{key!r} of {where} is of a wrong type, {type(value[key]).__name__}")
