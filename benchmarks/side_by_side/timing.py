"""Seconds of calls, and figures told to the process that waits for them."""

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

REPEATS = 5
SECONDS = 4.0
"""A call is repeated until this much time has passed"""


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that a call takes, and what it returns."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def middle(call: Callable[[], Any], repeats: int = REPEATS, seconds: float = SECONDS) -> float:
    """Return the median time of several calls."""
    found: list[float] = []
    while not found or (len(found) < repeats and sum(found) < seconds):
        found.append(timed(call)[0])
    return statistics.median(found)


def tell(**figures: Any) -> None:
    """Print figures for the process that waits for them."""
    print(json.dumps(figures), flush=True)
