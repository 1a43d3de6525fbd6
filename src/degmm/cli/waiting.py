"""Lines that say what takes long, so that nobody waits before a silent terminal."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from degmm.inference.progress import SECONDS_A_LINE

MOST_SECONDS = 300.0
"""Between two lines; they come at twice the time of the one before until then"""
FULL = 0.9
"""Share of the memory in use from which that is said, for the system then begins to put memory on disk"""


@contextmanager
def waiting(enabled: bool, work: str) -> Iterator[None]:
    """Say now and then, on standard error, which work goes on and for how long, while the context is open.

    Work that is done in ten seconds passes in silence.
    """
    if not enabled:
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_tell, args=(work, done), name="degmm-waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _tell(work: str, done: threading.Event) -> None:
    started, pause = time.perf_counter(), SECONDS_A_LINE
    while not done.wait(pause):
        seconds = time.perf_counter() - started
        with suppress(OSError, ValueError):  # nobody listens any more
            print(f"{work}: {seconds:.0f} s so far{_of_memory()}", file=sys.stderr, flush=True)
        pause = min(seconds, MOST_SECONDS)


def _of_memory() -> str:
    """Say how much memory is in use, if that is nearly all."""
    from degmm.capacity import free_memory, memory_of_machine

    free, there = free_memory(), memory_of_machine()
    if free is None or not there or free > (1 - FULL) * there:
        return ""
    used = f"{max(there - free, 0) / 1e9:.3g} of {there / 1e9:.3g} GB"
    return f"; {used} of memory are in use, which may slow it down"
