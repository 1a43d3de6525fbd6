"""Pictures of calibrated forecasts: how good in each month, how reliable over time, and single ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from degmm.ensembles.times import month_of
from degmm.plotting.marks import legend_beside
from degmm.plotting.responsibilities import MONTHS, date_ticks, dates_of
from degmm.plotting.style import colour_of, entitle
from degmm.wording import percent

PARTS = 12
"""Of a series: as many as months"""
LEAST_IN_PART = 20
"""Cases in a part of a series, in which a share is counted"""
BAND = 0.95
"""Probability of the band of shares"""


def scores_by_month(
    axes: Axes,
    scores: Mapping[str, Float[np.ndarray, "n"]],
    times: Any = None,
    *,
    colours: Sequence[int] | None = None,
    label: str = "CRPS",
    title: str | None = None,
) -> Axes:
    """Draw mean scores by month of the year or, without dates, by part of the series.

    Parameters
    ----------
    axes : matplotlib Axes
    scores : mapping of str to array, shape (n,)
        Of each forecast, NaN where there is none; the smaller, the better.
    times : array of datetime64, shape (n,), optional
    colours : sequence of int, optional
        Colour number of each forecast.
    label : str
        Of the axis of the scores.
    title : str, optional

    Returns
    -------
    matplotlib Axes
    """
    n = len(next(iter(scores.values())))
    of = _parts(n) if times is None else month_of(dates_of(times, n))
    parts = np.unique(of)
    places = range(len(scores)) if colours is None else colours
    for colour, (name, values) in zip(places, scores.items(), strict=True):
        means = [_mean(values[of == part]) for part in parts]
        axes.plot(parts, means, color=colour_of(colour), marker="o", ms=4, lw=1.4, label=name)
    if times is None:
        axes.set_xlabel(f"part of the series, of {n // PARTS if n >= PARTS else 1} cases or so")
    else:
        axes.set_xticks(range(12), MONTHS)
        axes.set_xlim(-0.5, 11.5)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"mean {label}")
    _grid(axes)
    legend_beside(axes)
    entitle(axes, title)
    return axes


def coverage_in_time(
    axes: Axes,
    inside: Mapping[str, Float[np.ndarray, "n"]],
    times: Any = None,
    *,
    level: float = 0.9,
    colours: Sequence[int] | None = None,
    title: str | None = None,
) -> Axes:
    """Draw which share of observations lay in their intervals, part by part of a series.

    Parameters
    ----------
    axes : matplotlib Axes
    inside : mapping of str to array, shape (n,)
        Of each forecast, in order of time: 1 where the observation lay in the interval, 0 where not, NaN
        where there is none.
    times : array of datetime64, shape (n,), optional
        In order.
    level : float
        Probability of the intervals. The band about it holds the share of a part with a probability of at
        least 95 % if forecasts are reliable and their cases independent.
    colours : sequence of int, optional
        Colour number of each forecast.
    title : str, optional

    Returns
    -------
    matplotlib Axes
    """
    from scipy.stats import binom

    n = len(next(iter(inside.values())))
    of = _parts(n, max(1, min(PARTS, n // LEAST_IN_PART)))
    count = int(of[-1]) + 1
    when = np.arange(n) if times is None else dates_of(times, n)
    middles = np.array([when[of == part][(of == part).sum() // 2] for part in range(count)])
    places = range(len(inside)) if colours is None else colours
    for colour, (name, values) in zip(places, inside.items(), strict=True):
        shares = [_mean(values[of == part]) for part in range(count)]
        axes.plot(middles, shares, color=colour_of(colour), marker="o", ms=4, lw=1.4, label=name)
    size = n // count
    low, high = (float(end) / size for end in binom.interval(BAND, size, level))
    axes.axhspan(low, high, color="#555555", alpha=0.2, lw=0, label=f"{percent(BAND)} of parts\nif reliable")
    axes.axhline(level, color="#333333", lw=1.0, ls="--", label=percent(level))
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(f"{'case' if times is None else 'time'} (parts of {size} cases or so)")
    axes.set_ylabel(f"share of observations\nin the {percent(level)} interval")
    if times is not None:
        date_ticks(axes)
    _grid(axes)
    legend_beside(axes)
    entitle(axes, title)
    return axes


def forecast_density(
    axes: Axes,
    members: Float[np.ndarray, "M"],
    densities: Mapping[str, Any],
    observed: float,
    *,
    level: float = 0.9,
    colours: Sequence[int] | None = None,
    unit: str = "",
    title: str | None = None,
) -> Axes:
    """Draw the forecast of a single case: members, densities and their intervals, and what came.

    Parameters
    ----------
    axes : matplotlib Axes
    members : array, shape (M,)
        Of the raw ensemble, NaN where absent.
    densities : mapping of str to Forecast
        Forecasts of this one case, n = 1, of one variable.
    observed : float
        NaN where there was no observation.
    level : float
        Probability of the intervals, which are drawn below the densities.
    colours : sequence of int, optional
        Colour number of each density.
    unit : str
    title : str, optional

    Returns
    -------
    matplotlib Axes
    """
    shown = members[~np.isnan(members)]
    ends = {
        name: np.asarray(f.quantile([0.01, (1 - level) / 2, (1 + level) / 2, 0.99]))[0]
        for name, f in densities.items()
    }
    seen = np.concatenate([shown, [] if np.isnan(observed) else [observed], *ends.values()])
    margin = 0.04 * max(float(np.ptp(seen)), 1e-9)
    grid = np.linspace(seen.min() - margin, seen.max() + margin, 400)
    places = range(len(densities)) if colours is None else colours
    curves = {name: np.asarray(f.pdf(grid[None]))[0] for name, f in densities.items()}
    top = max(float(curve.max()) for curve in curves.values())
    for row, (colour, name) in enumerate(zip(places, densities, strict=True)):
        axes.plot(grid, curves[name], color=colour_of(colour), lw=1.5, label=name)
        axes.fill_between(grid, curves[name], color=colour_of(colour), alpha=0.12, lw=0)
        height = -(0.16 + 0.07 * row) * top
        _, low, high, _ = ends[name]
        axes.plot([low, high], [height, height], color=colour_of(colour), lw=3.5, solid_capstyle="butt")
    axes.plot(shown, np.full(len(shown), -0.07 * top), "|", color="#333333", ms=7, mew=0.8, label="members")
    if not np.isnan(observed):
        axes.axvline(observed, color="#000000", lw=1.1, ls=":", label="observed")
    axes.set_xlim(grid[0], grid[-1])
    axes.set_ylim(-(0.16 + 0.07 * len(densities)) * top, 1.06 * top)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(unit)
    entitle(axes, title)
    return axes


def regime_errors(
    left: Axes,
    right: Axes,
    regimes: Any,
    *,
    unit: str = "",
    first: int = 1,
    name: str = "",
) -> None:
    """Draw the bias and the lack of spread of each regime's ensembles, and what its expert does about them.

    Parameters
    ----------
    left, right : matplotlib Axes
        For the bias and for the spread.
    regimes : pandas.DataFrame
        Rows of ``regimes_`` of one variable.
    unit, name : str
        Of the variable, for the labels.
    first : int
        Number of the first regime.
    """
    K = len(regimes)
    numbers = np.arange(K) + first
    looks: Any = {"width": 0.38, "color": [colour_of(k) for k in range(K)], "lw": 0}
    left.bar(numbers - 0.2, regimes["bias"], alpha=0.4, **looks)
    left.bar(numbers + 0.2, -regimes["correction"], **looks)
    left.axhline(0, color="#333333", lw=0.8)
    left.set_ylabel(f"{name}\nbias{f' [{unit}]' if unit else ''}".strip())
    right.bar(numbers, regimes["spread_ratio"], **(looks | {"width": 0.6}))
    right.axhline(1, color="#333333", lw=1.0, ls="--")
    right.set_ylabel("spread, calibrated / raw")
    for axes, what in (
        (left, "bias (pale), and what is taken off"),
        (right, "what the spread is multiplied by"),
    ):
        axes.set_xticks(numbers)
        axes.set_xlabel("regime")
        axes.tick_params(axis="x", length=0)
        entitle(axes, what)


def _parts(n: int, count: int = PARTS) -> np.ndarray:
    """Return the part of each of n cases, from 0."""
    return np.arange(n) * min(count, n) // n


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _grid(axes: Axes) -> None:
    axes.grid(lw=0.4, color="#DDDDDD")
    axes.set_axisbelow(True)
