"""Locks between processes, on every system: files that one process at a time holds, gone when none does."""

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".degmm-lock"
"""That of a folder, which whoever writes there holds"""
HOST = re.sub(r"\W", "", platform.node())
"""This machine, in the names of what may be left over: whether a process elsewhere lives is not known here"""
POLL = 0.003
"""Seconds between two tries"""


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock that a file is, and yield whether it is held.

    It is not where another process or thread holds it and ``wait`` is False, or where the file system has no
    locks: there, whoever writes does so as if alone. However a process ends, it holds no lock any more.
    """
    from filelock import FileLock

    with suppress(OSError):
        if path.is_symlink():  # a link of another's, which would be followed out of the folder
            path.unlink()
    if not path.parent.is_dir():  # which FileLock would make
        yield False
        return
    lock = FileLock(path, mode=0o666, poll_interval=POLL, fallback_to_soft=False)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except OSError:  # that time is up is one, too
        yield False
        return
    try:
        yield True
    finally:
        try:
            # While it is held: who waits for it sees that it is gone, and makes another.
            with suppress(OSError):
                os.unlink(path)
        finally:
            lock.release()
