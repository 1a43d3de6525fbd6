"""Cases side by side on an axis of time or of case numbers: each a cell, or means where there are many."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.dates import date2num

MOST_CASES, MOST_MEANS = 400, 200
"""More cells, of a case or of the mean of several, would be too narrow to see."""
GAP = 3.0
"""Cases further apart than so many usual steps have a gap between them."""
DAY = 86400
"""Seconds"""
UNITS = {
    "h": "hour",
    "6h": "six hours",
    "D": "day",
    "W": "week",
    "M": "month",
    "3M": "quarter",
    "Y": "year",
    "10Y": "decade",
    "100Y": "century",
}
"""What cases are averaged over, the shortest first, as NumPy and in words"""


class Cells(NamedTuple):
    """Values on consecutive parts of an axis, NaN where there is a gap."""

    edges: Float[np.ndarray, "m+1"]
    """Of the cells: case numbers, or Matplotlib's days"""
    values: Float[np.ndarray, "m K"]
    mean_of: str
    """Words for what a cell is the mean of, such as ``in each month``; empty where it is one case"""


def cells_of_cases(values: Float[np.ndarray, "n K"]) -> Cells:
    """Return cells in the order of the cases, means of equally many where there are too many."""
    n = len(values)
    size = 1 if n <= MOST_CASES else -(-n // MOST_MEANS)
    edges = np.append(np.arange(0, n, size), n) - 0.5
    means = _means(values, np.arange(n) // size, len(edges) - 1)
    return Cells(edges, means, f"of {size} cases each" if size > 1 else "")


def cells_in_time(values: Float[np.ndarray, "n K"], times: np.ndarray) -> Cells:
    """Return cells in the order of their times, datetime64 (n,), which may be in any order.

    Cells reach to halfway to their neighbours, but not into a gap. Where the usual step is too short for
    the span, they are means of calendar units.
    """
    times = times.astype("datetime64[s]")
    moments, of = np.unique(times, return_inverse=True)
    seconds = moments.astype(np.int64)
    step = float(np.quantile(np.diff(seconds), 0.5, method="lower")) if len(seconds) > 1 else float(DAY)
    if seconds[-1] - seconds[0] >= MOST_CASES * step:
        return _calendar(values, times)
    edges, cells = _around(seconds, step)
    means = np.full((len(edges) - 1, values.shape[1]), np.nan)
    means[cells] = _means(values, of, len(moments))
    alike = len(moments) < len(times)
    return Cells(date2num(edges.round().astype("datetime64[s]")), means, "at each time" if alike else "")


def _around(seconds: Int[np.ndarray, "m"], step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges of cells about moments and of the gaps between them, and which are cells."""
    left, right = seconds - step / 2, seconds + step / 2
    near = np.diff(seconds) <= GAP * step
    middles = (seconds[1:] + seconds[:-1]) / 2
    right[:-1] = np.where(near, middles, right[:-1])
    left[1:] = np.where(near, middles, left[1:])
    edges, places = np.unique(np.concatenate([left, right]), return_inverse=True)
    return edges, places[: len(seconds)]


def _calendar(values: np.ndarray, times: np.ndarray) -> Cells:
    words = ""
    for unit, words in UNITS.items():  # noqa: B007 (the last one is wanted)
        place = times.astype(f"datetime64[{unit}]")
        number = (place - place.min()).astype(int)
        count = int(number.max()) + 1
        if count <= MOST_MEANS:
            break
    edges = place.min() + np.arange(count + 1)
    return Cells(date2num(edges.astype("datetime64[s]")), _means(values, number, count), f"in each {words}")


def _means(values: np.ndarray, of: np.ndarray, count: int) -> np.ndarray:
    """Return the means of the rows with the same number; rows with NaN do not count."""
    present = ~np.isnan(values).any(axis=1)
    sizes = np.bincount(of[present], minlength=count)
    sums = np.stack([np.bincount(of[present], column[present], count) for column in values.T], axis=1)
    return sums / np.where(sizes > 0, sizes, np.nan)[:, None]
