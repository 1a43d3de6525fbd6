"""One measurement, in this process: ``python -m benchmarks.side_by_side.worker '{"job": …}'``.

Prints a line of JSON when the library is imported and the data are there, and one with the figures.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.side_by_side import memory

OVER_THE_LIMIT = 3
"""Exit code of a process whose fits took too long"""
WARM_REPEATS = 5
WARM_SECONDS = 4.0
"""The warm fit is repeated until this much time has passed, and the best is taken"""


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that a call takes, and what it returns."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def best(call: Callable[[], Any], repeats: int = WARM_REPEATS, seconds: float = WARM_SECONDS) -> float:
    """Return the shortest time of several calls: what a busy machine adds is left out."""
    found: list[float] = []
    while not found or (len(found) < repeats and sum(found) < seconds):
        found.append(timed(call)[0])
    return min(found)


def tell(**figures: Any) -> None:
    """Print figures for the process that waits for them."""
    print(json.dumps(figures), flush=True)


def fit(told: dict[str, Any]) -> None:
    """Import a library, fit for the first time, and again."""
    from benchmarks.side_by_side.libraries import loaded

    run = loaded(told["library"])
    start_up = time.monotonic() - told["launched"]
    import numpy as np

    X = np.load(told["path"], mmap_mode="r" if told["mapped"] else None)
    memory.forget_peak()
    before = memory.status("VmRSS")
    tell(start_up=start_up)
    _end_after(told["limit"], before)
    first, (iterations, log_likelihood) = timed(lambda: run(X, told))
    tell(first=first, memory=memory.status("VmHWM") - before)
    tell(iterations=int(iterations), log_likelihood=log_likelihood)
    tell(warm=best(lambda: run(X, told)))


def _end_after(seconds: float, before: float) -> None:
    """End this process when its fits have taken so long, and tell how much memory they had taken."""

    def end() -> None:
        tell(memory=memory.status("VmHWM") - before)
        os._exit(OVER_THE_LIMIT)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def passes(told: dict[str, Any]) -> None:
    """Time a copy of the members, their moments, an iteration of EM, and the least that it needs."""
    from benchmarks.side_by_side.passes import figures

    tell(**figures(told))


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    {"fit": fit, "passes": passes}[given["job"]](given)
