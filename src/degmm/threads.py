"""Work shared out over the cores of this machine, by threads: compiled functions let each other run."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Found = TypeVar("Found")


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[int], Found], count: int) -> Iterator[Found]:
    """Yield ``work(0)``, ``work(1)``, … ``work(count − 1)`` in this order.

    The first is done alone: what it compiles, the others find compiled.
    """
    yield work(0)
    with ThreadPoolExecutor(cores()) as pool:
        yield from pool.map(work, range(1, count))
