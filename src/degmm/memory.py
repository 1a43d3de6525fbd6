"""How much memory there is, and files that would fill it, seen before they are read."""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup/memory.max")
"""Where Linux says how much memory a container has"""
LEAST = 256 * 1024**2
"""Bytes up to which nothing is asked"""
MOST_TIMES = 2000
"""How much more than its size a file may hold: zlib packs a thousand zeros in a byte"""


def memory_of_machine() -> int | None:
    """Return how many bytes of memory this process may use at most; None where that cannot be told."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return None
    try:
        return min(total, int(CGROUP.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        return total


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
