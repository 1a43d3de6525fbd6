"""The files of the store: one a program, written whole, checked before they are believed."""

import contextlib
import hashlib
import os
import re
import secrets
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from degmm.store.place import OTHERS_MAY_WRITE

MAGIC = b"degmm program\n"
FORMAT = 1
HEADER = struct.Struct(f"<{len(MAGIC)}sH32s32sQ")
"""Magic bytes, version of the format, the key, SHA-256 and length of the content that follows"""
MOST_BYTES = 512 * 1024**2
"""Of all programs together"""
ENTRY = re.compile(r"[0-9a-f]{64}\.program")
PART = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{16}\.part")
"""A file that is being written, or was when its process ended"""
PART_SECONDS = 3600.0
"""Age from which such a file is taken to be left over"""
USED_SECONDS = 3600.0
"""A use is noted where the last one noted is older, to write little"""


class Summary(NamedTuple):
    """What a store holds."""

    programs: int
    bytes: int


class Store:
    """Programs in a folder by their keys. No method raises an ``OSError``: a store that fails is empty.

    Parameters
    ----------
    folder : Path
        Of which :func:`degmm.store.place.why_unsafe` has nothing to say.
    most_bytes : int
        Of all programs together; those not used for longest go first.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._most_bytes = folder, most_bytes

    def read(self, key: bytes) -> bytes | None:
        """Return the content under a key, whole and unchanged, or None."""
        try:
            handle = os.open(
                self._path(key), os.O_RDONLY | _flag("O_NOFOLLOW") | _flag("O_NONBLOCK") | _flag("O_BINARY")
            )
            with os.fdopen(handle, "rb") as file:
                found = os.fstat(file.fileno())
                if not _is_own(found):
                    return None
                raw = file.read()
                if time.time() - found.st_mtime > USED_SECONDS:
                    with contextlib.suppress(OSError):
                        os.utime(file.fileno() if os.utime in os.supports_fd else self._path(key))
        except OSError:
            return None
        return _content(raw, key)

    def write(self, key: bytes, content: bytes) -> None:
        """Keep a content under a key, if that can be done."""
        beside = self._folder / f"{key.hex()}.{secrets.token_hex(8)}.part"
        header = HEADER.pack(MAGIC, FORMAT, key, hashlib.sha256(content).digest(), len(content))
        if HEADER.size + len(content) > self._most_bytes:
            return
        try:
            _make(self._folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _flag("O_BINARY")
            with os.fdopen(os.open(beside, flags, 0o600), "wb") as file:
                file.write(header)
                file.write(content)
            os.replace(beside, self._path(key))
            self._shrink()
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)

    def remove(self, key: bytes) -> None:
        """Take out what is under a key."""
        _removed(self._path(key))

    def summary(self) -> Summary:
        """Return the number of programs and their bytes."""
        sizes = [found.st_size for _, found in self._files(ENTRY)]
        return Summary(len(sizes), sum(sizes))

    def clear(self) -> Summary:
        """Remove all programs, and nothing else; return what was removed."""
        removed = [found.st_size for path, found in self._files(ENTRY) if _removed(path)]
        for path, _ in self._files(PART):
            _removed(path)
        return Summary(len(removed), sum(removed))

    def _path(self, key: bytes) -> Path:
        return self._folder / f"{key.hex()}.program"

    def _shrink(self) -> None:
        now = time.time()
        for path, found in self._files(PART):
            if now - found.st_mtime > PART_SECONDS:
                _removed(path)
        files = sorted(self._files(ENTRY), key=lambda file: file[1].st_mtime)
        total = sum(found.st_size for _, found in files)
        for path, found in files:
            if total <= self._most_bytes:
                return
            if _removed(path):
                total -= found.st_size

    def _files(self, names: re.Pattern[str]) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield the regular files of the folder whose names are of a kind; others may vanish meanwhile."""
        try:
            with os.scandir(self._folder) as entries:
                named = [Path(entry.path) for entry in entries if names.fullmatch(entry.name)]
        except OSError:
            return
        for path in named:
            with contextlib.suppress(OSError):
                found = os.lstat(path)
                if stat.S_ISREG(found.st_mode):
                    yield path, found


def _content(raw: bytes, key: bytes) -> bytes | None:
    if len(raw) < HEADER.size:
        return None
    magic, version, found, digest, length = HEADER.unpack_from(raw)
    content = raw[HEADER.size :]
    if (magic, version, found, length) != (MAGIC, FORMAT, key, len(content)):
        return None
    return content if hashlib.sha256(content).digest() == digest else None


def _is_own(found: os.stat_result) -> bool:
    if not stat.S_ISREG(found.st_mode):
        return False
    if not hasattr(os, "geteuid"):
        return True
    return found.st_uid == os.geteuid() and not found.st_mode & OTHERS_MAY_WRITE


def _make(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for the user alone."""
    missing = [folder, *folder.parents]
    missing = [one for one in missing if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _flag(name: str) -> int:
    return getattr(os, name, 0)
