"""How much memory there is, and files that would fill it, seen before they are read."""

from contextlib import suppress
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says how much memory a container has, and has in use"""
LEAST = 256 * 1024**2
"""Bytes up to which nothing is asked"""
MOST_TIMES = 2000
"""How much more than its size a file may hold: zlib packs a thousand zeros in a byte"""


def memory_of_machine() -> int | None:
    """Return how many bytes of memory this process may use at most; None where that cannot be told."""
    limits = [_number_in("memory.max"), _limit_of_process()]
    with suppress(OSError, RuntimeError, NotImplementedError):
        limits.append(int(psutil.virtual_memory().total))
    return min((limit for limit in limits if limit is not None), default=None)


def free_memory() -> int | None:
    """Return how many bytes are free, or of use to nobody; None where that cannot be told."""
    limit, used = _number_in("memory.max"), _number_in("memory.current")
    try:
        free = int(psutil.virtual_memory().available)
    except (OSError, RuntimeError, NotImplementedError):
        return None
    if limit is None or used is None:
        return free
    return min(free, max(limit - used + _cached(), 0))


def _limit_of_process() -> int | None:
    """Return how much memory this process may ask for, as ``ulimit -v`` sets it; None for any."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _number_in(name: str) -> int | None:
    """Return what the container's file says; None where there is no container, or one without a limit."""
    try:
        return int((CGROUP / name).read_text())
    except (OSError, ValueError):
        return None


def _cached() -> int:
    """Return the bytes of files that the container holds in memory and has not used lately."""
    try:
        lines = (CGROUP / "memory.stat").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    except (OSError, ValueError, IndexError):
        return 0


def check_amount(what: str, expanded: int, stored: int | None, instead: str) -> None:
    """See that what a file holds fits in memory, and in the file.

    Parameters
    ----------
    what : str
        Of what a message tells.
    expanded : int
        Bytes that it takes in memory.
    stored : int or None
        Bytes that it takes in the file; None where that is not known.
    instead : str
        What the user can do about it.

    Raises
    ------
    ValueError
        If it would not fit in memory, or is so much larger than the file that nobody has written it.
    """
    if expanded <= LEAST:
        return
    there = memory_of_machine()
    if there is not None and expanded > there:
        raise ValueError(
            f"{what} would take {expanded / 1e9:.3g} GB of memory, and this machine has {there / 1e9:.3g} "
            f"GB; {instead}"
        )
    if stored is not None and expanded > MOST_TIMES * max(stored, 1):
        raise ValueError(
            f"{what} would take {expanded / 1e9:.3g} GB of memory, and has {stored:,} bytes in the file, "
            f"which only a damaged file or one made to do harm has; {instead}"
        )
