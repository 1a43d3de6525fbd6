"""The probabilities of the clusters, case by case, over time or over the year."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from degmm.ensembles.arrays import doubles_of
from degmm.ensembles.times import YEAR, dates_in, day_of_year, month_of
from degmm.plotting.cells import Cells, cells_in_time, cells_of_cases
from degmm.plotting.marks import legend_beside
from degmm.plotting.style import PALETTE, colour_of, entitle
from degmm.wording import percent

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
HATCHES = (None, "////", "....", "xxxx", "||||", "++++")
"""Of clusters beyond ten, whose colours repeat"""
PARTS = 10
"""Of a month, in a picture over the year"""
REACH = 14
"""Days to either side that a mean over the year is of"""
TOLERANCE = 1e-3
"""How far the probabilities of a case may be from a sum of 1, as those of single precision are"""


def responsibilities(
    axes: Axes,
    responsibilities: Float[np.ndarray, "n K"],
    times: Any = None,
    *,
    by: str = "time",
    colours: Sequence[int] | None = None,
    noun: str = "cluster",
    first: int = 0,
    title: str | None = None,
) -> Axes:
    """Draw the probabilities of the clusters, stacked: over time, over the year or by month.

    Parameters
    ----------
    axes : matplotlib Axes
    responsibilities : array-like, shape (n, K)
        γ, as ``predict_proba`` gives it: each row sums to 1. A row with NaN, of a case without a member,
        leaves a gap.
    times : array-like of dates, shape (n,), optional
        When each case is, in any order; by default the cases are drawn in their order. Cases of the same
        time, such as stations, are averaged.
    by : {"time", "month", "dayofyear"}
        ``"time"`` draws each case; where there are too many to see, means of a calendar unit (or, without
        times, of so many cases that follow each other). Times without a case are left white. ``"month"``
        draws the mean of all cases of each month of the year, ``"dayofyear"`` that of each tenth of a month,
        with its neighbours within a fortnight.
    colours : sequence of int, optional
        Colour number of each cluster, so that matched clusters look alike over several pictures.
    noun, first : str and int
        What the clusters are called in the legend, and the number of the first.
    title : str, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If a shape does not fit, a row is no probabilities, all rows are NaN, a time is missing or no date,
        or ``by`` is unknown or wants times that are not given.
    """
    shares, present = _checked(responsibilities)
    n, K = shares.shape
    numbers = list(range(K)) if colours is None else list(colours)
    if len(numbers) != K:
        raise ValueError(f"colours: expected {K}, one per cluster, got {len(numbers)}")
    dates = None if times is None else dates_of(times, n)
    if by not in ("time", *OVER_THE_YEAR):
        known = ", ".join(map(repr, ("time", *OVER_THE_YEAR)))
        raise ValueError(f"by: expected one of {known}; got {by!r}")
    if by in OVER_THE_YEAR:
        if dates is None:
            raise ValueError(f"times: by={by!r} needs the dates of the cases")
        OVER_THE_YEAR[by](axes, shares[present], dates[present], numbers)
    else:
        _areas(axes, cells_of_cases(shares) if dates is None else cells_in_time(shares, dates), numbers)
        if dates is None:
            axes.set_xlabel("case")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        else:
            date_ticks(axes)
    axes.set_ylim(0, 1)
    means = shares[present].mean(axis=0)
    # From the top down, as the areas are stacked.
    handles = [
        Patch(**_look(numbers[k]), label=f"{k + first} ({percent(float(means[k]))})")
        for k in reversed(range(K))
    ]
    legend_beside(axes, handles, title=f"{noun} (mean)")
    entitle(axes, title)
    return axes


def _checked(values: Any) -> tuple[Float[np.ndarray, "n K"], np.ndarray]:
    """Return the probabilities in float64, and which rows have any."""
    shares = doubles_of(values, "responsibilities")
    if shares.ndim != 2 or 0 in shares.shape:
        raise ValueError(f"responsibilities: expected the shape (n, K), got {shares.shape}")
    present = np.logical_not(np.isnan(shares).any(axis=1))
    if not present.any():
        raise ValueError("responsibilities: every row has a NaN")
    sums = shares.sum(axis=1)
    wrong = present & ~((np.abs(sums - 1) < TOLERANCE) & (np.nan_to_num(shares) > -TOLERANCE).all(axis=1))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(f"responsibilities: row {i} is no probabilities that sum to 1: {shares[i]}")
    return shares, present


def dates_of(times: Any, n: int) -> np.ndarray:
    """Return the dates of n cases, in seconds; a number is none, although NumPy counts it from 1970."""
    given = np.asarray(times)
    dates = dates_in("time", given)
    if dates is None and given.dtype.kind == "U":  # years and months alone
        with suppress(ValueError):
            dates = given.astype("datetime64[s]")
    if dates is None:
        raise ValueError(f"times: expected dates such as datetime64, got {given.dtype}")
    if dates.shape != (n,):
        raise ValueError(f"times: expected one for each of {n} cases, got shape {dates.shape}")
    if np.isnat(dates).any():
        raise ValueError(f"times: case {int(np.argmax(np.isnat(dates)))} has no date; leave it out")
    return dates.astype("datetime64[s]")


def _look(colour: int) -> dict[str, Any]:
    hatch = HATCHES[colour // len(PALETTE) % len(HATCHES)]
    return {"facecolor": colour_of(colour), "edgecolor": "white", "hatch": hatch, "linewidth": 0}


def _areas(axes: Axes, cells: Cells, colours: Sequence[int]) -> None:
    tops = cells.values.cumsum(axis=1)
    # Each area reaches down to the axis behind those below it, so that no seam shows between two.
    for k in reversed(range(len(colours))):
        axes.stairs(tops[:, k], cells.edges, baseline=0, fill=True, **_look(colours[k]))
    axes.set_xlim(cells.edges[0], cells.edges[-1])
    axes.set_ylabel(f"mean probability\n{cells.mean_of}" if cells.mean_of else "probability")


def date_ticks(axes: Axes) -> None:
    """Write dates along the axis, as few as are legible."""
    axes.xaxis_date()
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _by_month(axes: Axes, shares: np.ndarray, dates: np.ndarray, colours: Sequence[int]) -> None:
    month = month_of(dates)
    months = np.unique(month)
    means = np.stack([shares[month == m].mean(axis=0) for m in months])
    tops = means.cumsum(axis=1)
    for k, colour in enumerate(colours):
        axes.bar(months, means[:, k], bottom=tops[:, k] - means[:, k], width=0.85, **_look(colour))
    axes.set_xlim(-0.6, 11.6)
    axes.set_xticks(range(12), MONTHS)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("mean probability")


def _over_the_year(axes: Axes, shares: np.ndarray, dates: np.ndarray, colours: Sequence[int]) -> None:
    """Draw running means over the year, which goes round, with white where there are no cases."""
    K, bins = shares.shape[1], 12 * PARTS
    place = np.minimum((day_of_year(dates) * (bins / YEAR)).astype(int), bins - 1)
    reach = round(REACH * bins / YEAR)
    summed = np.zeros((bins, K + 1))
    for shift in range(-reach, reach + 1):
        for k in range(K):
            summed[:, k] += np.bincount((place + shift) % bins, shares[:, k], bins)
        summed[:, K] += np.bincount((place + shift) % bins, minlength=bins)
    means = summed[:, :K] / np.where(summed[:, K:] > 0, summed[:, K:], np.nan)
    _areas(axes, Cells(np.linspace(0, 12, bins + 1), means, "over the year"), colours)
    axes.set_ylabel("mean probability")
    axes.set_xticks(np.arange(12) + 0.5, MONTHS)
    axes.tick_params(axis="x", length=0)


OVER_THE_YEAR = {"month": _by_month, "dayofyear": _over_the_year}
