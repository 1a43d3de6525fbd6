"""Where the store is, whether it is wanted, and whether the folder is the user's own."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

OFF = ("off", "0", "false", "no")
"""Values of ``DEGMM_CACHE`` that switch the store off"""
ON = ("", "on", "1", "true", "yes")
"""Values that leave it on"""
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
MOST_LINKS = 40
"""Symbolic links on the way to the folder, after which they are taken for a loop"""


class Place(NamedTuple):
    """The folder of the store, and in words for the user why it is not used, if so."""

    folder: Path | None
    off: str = ""
    """That it is not wanted"""
    unsafe: str = ""
    """That programs there cannot be trusted"""

    @property
    def unused(self) -> str:
        """Why it is not used; empty where it is."""
        return self.off or self.unsafe


def find_place() -> Place:
    """Return where the environment wants the store; what is said of the folder holds at this moment.

    A folder that is not there yet is made when the first program is written.

    Raises
    ------
    ValueError
        If ``DEGMM_CACHE`` is neither on nor off.
    """
    wanted = os.environ.get("DEGMM_CACHE", "")
    plain = wanted.strip().lower()
    if plain not in (*ON, *OFF):
        raise ValueError(
            f"DEGMM_CACHE: expected on or off (or 1, true, yes, 0, false, no); got {wanted!r}; a folder is "
            "named by DEGMM_CACHE_DIR"
        )
    off = f"DEGMM_CACHE={wanted}" if plain in OFF else ""
    folder = _wanted()
    if folder is None:
        return Place(
            None, off, "no folder for what is kept between runs is known here; DEGMM_CACHE_DIR names one"
        )
    return Place(folder, off, why_unsafe(folder))


def _wanted() -> Path | None:
    given = os.environ.get("DEGMM_CACHE_DIR")
    if given:
        return Path(os.path.abspath(os.path.expanduser(given)))
    import platformdirs  # not needed where the folder is named

    try:
        folder = platformdirs.user_cache_path("degmm", appauthor=False)
    except (OSError, RuntimeError, KeyError):
        return None
    return folder / "programs" if folder.is_absolute() else None


def is_writable(folder: Path) -> bool:
    """Return whether this user may write to a folder, or make it where it is not there yet."""
    there = next((at for at in (folder, *folder.parents) if at.exists()), folder)
    return os.access(there, os.W_OK | os.X_OK)


def why_unsafe(folder: Path) -> str:
    """Return why programs in a folder cannot be trusted, or an empty string.

    A program is code: nobody but the user and the system's administrator may write to the folder, or
    to one above it, where another could be put in its place. Above it, a folder that all may write
    to is sound where each may move only what is his own (as in ``/tmp``). What is not there yet
    is the user's own once made.
    """
    if not hasattr(os, "geteuid"):  # Windows: a user's folder for applications is his own
        return ""
    try:
        return _why_unsafe(folder)
    except OSError as error:
        return f"{folder}: {error.strerror or error}"


def _why_unsafe(folder: Path) -> str:
    parts = list(reversed(folder.parts[1:]))
    at, links = Path(folder.anchor), 0
    user = os.geteuid()
    while True:
        try:
            found = os.lstat(at)
        except FileNotFoundError:
            return ""
        if found.st_uid not in (0, user):
            return f"{at} belongs to another user"
        if stat.S_ISLNK(found.st_mode):
            if not parts:
                return f"{at} is a symbolic link; name the folder itself"
            links += 1
            if links > MOST_LINKS:
                return f"{at}: too many symbolic links"
            target = at.parent / os.readlink(at)
            parts += reversed(target.parts[1:])
            at = Path(target.anchor)
            continue
        if not stat.S_ISDIR(found.st_mode):
            return f"{at} is not a folder"
        if not parts:
            if found.st_uid != user:
                return f"{at} belongs to another user"
            return f"others may write to {at}" if found.st_mode & OTHERS_MAY_WRITE else ""
        if found.st_mode & OTHERS_MAY_WRITE and not found.st_mode & stat.S_ISVTX:
            return f"others may write to {at}"
        at = _below(at, parts.pop())


def _below(folder: Path, name: str) -> Path:
    return folder.parent if name == ".." else folder / name
