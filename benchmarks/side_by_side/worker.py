"""One measurement, in this process: ``python -m benchmarks.side_by_side.worker '{"job": …}'``.

Prints a line of JSON when the library is imported and the data are there, and more with the figures. What a
job does not need is not imported, since some jobs are whole processes that are timed from outside.
"""

import json
import os
import sys
import threading
import time
from typing import Any

from benchmarks.side_by_side import memory
from benchmarks.side_by_side.timing import middle, tell, timed

OVER_THE_LIMIT = 3
"""Exit code of a process that took too long"""


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
    end_after(told["limit"], before)
    first, (iterations, log_likelihood) = timed(lambda: run(X, told))
    tell(first=first, memory=memory.status("VmHWM") - before)
    tell(iterations=int(iterations), log_likelihood=log_likelihood)
    if told["again"]:
        tell(warm=middle(lambda: run(X, told)))


def process(told: dict[str, Any]) -> None:
    """Import a library and fit once: all that a process does whose whole time is measured."""
    from benchmarks.side_by_side.libraries import loaded

    end_after(told["limit"])
    run = loaded(told["library"])
    import numpy as np

    iterations, log_likelihood = run(np.load(told["path"]), told)
    tell(iterations=int(iterations), log_likelihood=log_likelihood)


def end_after(seconds: float, before: float | None = None) -> None:
    """End this process when it has taken so long, and tell how much memory it had taken beyond ``before``."""

    def end() -> None:
        if before is not None:
            tell(memory=memory.status("VmHWM") - before)
        os._exit(OVER_THE_LIMIT)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def passes(told: dict[str, Any]) -> None:
    """Time a copy of the members, their moments, an iteration of EM, and the least that it needs."""
    from benchmarks.side_by_side.passes import figures

    tell(**figures(told))


def wide(told: dict[str, Any]) -> None:
    """Time iterations of EM and default fits of many variables."""
    from benchmarks.side_by_side.wide import measure

    end_after(told["limit"])
    measure(told)


def command(told: dict[str, Any]) -> None:
    """Run a whole command: its seconds, and the most memory that it took."""
    import resource
    import subprocess

    start = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, *told["arguments"]],
            capture_output=True,
            text=True,
            cwd=told["folder"],
            timeout=told["limit"],
        )
    except subprocess.TimeoutExpired:
        sys.exit(OVER_THE_LIMIT)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit((done.stderr.strip().splitlines() or ["no message"])[-1])
    kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (
        1024 if sys.platform == "darwin" else 1
    )
    tell(seconds=seconds, memory=kilobytes * 1024 / 1e6)


def levels(told: dict[str, Any]) -> None:
    """Fit many times, and tell the memory as it goes."""
    from benchmarks.side_by_side.many_fits import levels

    end_after(told["limit"])
    levels(told)


def emos(told: dict[str, Any]) -> None:
    """Time EMOS of each family."""
    from benchmarks.side_by_side.families import seconds_of_families

    end_after(told["limit"])
    seconds_of_families(told)


JOBS = {job.__name__: job for job in (fit, process, passes, wide, command, levels, emos)}

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    JOBS[given["job"]](given)
