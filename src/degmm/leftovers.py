"""What killed writers leave in an output folder: the next one removes what is certainly dead.

That is a real file or folder of this user, made on this machine, whose writer's lock is free. All else stays:
links, what others own, and what another machine may be at work on.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path

from degmm.files import PART, read_inside
from degmm.locks import HOST, locked

STAGED, COMPLETE = ".degmm-staged-", ".degmm-complete-"
"""Folders of results that are being made, and of those that are complete and wait to be moved"""
ALIVE = ".lock"
"""Ending of the file that is locked as long as the results of that name are being made"""
HEAD = "model.json"
"""Of a saved model, which names its arrays"""
ARRAYS = re.compile(r"model-([0-9a-f]{12})\.safetensors")
"""Their file, by the first digits of the SHA-256 of what it holds"""
PROBE = re.compile(r"\.degmm-[a-z0-9_]{8}")
"""Empty files by which earlier versions tried whether a folder can be written"""
PROBE_SECONDS = 3600.0


def this_user(folder: Path) -> int:
    """Return the number of the user, as the file system tells it."""
    return os.geteuid() if hasattr(os, "geteuid") else os.stat(folder).st_uid


def remove_leftovers(folder: Path, user: int) -> None:
    """Remove what is dead in a folder that this process has locked."""
    remove_parts(folder, user)
    for path, facts in _of_user(folder, ".degmm-*", user):
        name = path.name
        if name.startswith(STAGED):
            _remove_staged(path, facts)
        elif PROBE.fullmatch(name) and stat.S_ISREG(facts.st_mode) and not facts.st_size:
            _unlink_if_old(path, facts)
    _remove_arrays(folder, user)


def remove_parts(folder: Path, user: int) -> None:
    """Remove files that were not written to their ends, of a folder that this process has locked."""
    for path, facts in _of_user(folder, f"{PART}{HOST}-*", user):
        if stat.S_ISREG(facts.st_mode):
            _unlink(path)


def real_folders(folder: Path, prefix: str, owner: int) -> list[Path]:
    """Return the folders in a folder whose names begin so, in order: no links, and only an owner's."""
    return [path for path, facts in _of_user(folder, f"{prefix}*", owner) if stat.S_ISDIR(facts.st_mode)]


def _of_user(folder: Path, pattern: str, user: int) -> list[tuple[Path, os.stat_result]]:
    found = []
    for path in sorted(folder.glob(pattern)):
        with suppress(OSError):  # it was moved meanwhile
            facts = os.lstat(path)
            if facts.st_uid == user:
                found.append((path, facts))
    return found


def _remove_staged(path: Path, facts: os.stat_result) -> None:
    """Remove results that were being made, or their lock, if this machine's process for them has ended."""
    name = path.name.removesuffix(ALIVE)
    if [*name.removeprefix(STAGED).split("-"), ""][1] != HOST:
        return
    if stat.S_ISDIR(facts.st_mode):
        with locked(path.with_name(name + ALIVE), wait=False) as dead:
            if dead:
                shutil.rmtree(path, ignore_errors=True)
    elif stat.S_ISREG(facts.st_mode) and path.name.endswith(ALIVE):
        with locked(path, wait=False):
            pass  # which removes it


def _remove_arrays(folder: Path, user: int) -> None:
    """Remove arrays of models that no head names any more, as of a save that was killed."""
    there = [
        (path, match[1])
        for path, facts in _of_user(folder, "model-*.safetensors", user)
        if stat.S_ISREG(facts.st_mode) and (match := ARRAYS.fullmatch(path.name))
    ]
    if not there:
        return
    named = ""
    try:
        if os.path.lexists(folder / HEAD):
            named = json.loads(read_inside(folder, folder / HEAD))["arrays"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return  # a head of another's: who knows what it names
    if not isinstance(named, str):
        return
    for path, digits in there:
        if path.name != named and _digest(path).startswith(
            digits
        ):  # what it says it is: a model's, saved whole
            _unlink(path)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _unlink_if_old(path: Path, facts: os.stat_result) -> None:
    if time.time() - facts.st_mtime > PROBE_SECONDS:
        _unlink(path)


def _unlink(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
