"""Pictures of ensembles against what was observed."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from degmm import verification
from degmm.plotting.marks import legend_beside
from degmm.plotting.style import colour_of, entitle
from degmm.wording import counted

BAND = 0.95
"""Probability of the band of counts"""


def spread_skill(
    axes: Axes, X: Any, y: Any, *, unit: str = "", bins: int = 10, title: str | None = None
) -> Axes:
    """Draw the error of ensemble means against the spread of their ensembles, in bins of like spread.

    Points on the diagonal are of ensembles whose spread tells their error; above it they are too narrow.

    Parameters
    ----------
    axes : matplotlib Axes
    X : Ensemble, xarray.DataArray or array-like, shape (n, M) or (n, M, 1)
        Members of one variable, NaN where absent.
    y : array-like, shape (n,)
        Observations, NaN where there is none.
    unit : str
        That of X and y, for the labels.
    bins : int
        Bins of equally many cases by the standard deviation of the members (divisor M − 1) times
        √((M + 1)/M); see :func:`degmm.verification.spread_skill`.
    title : str, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        As :func:`degmm.verification.spread_skill`.
    """
    found = verification.spread_skill(X, y, bins)
    axes.plot(found.spread, found.error, "o-", color=colour_of(0), ms=5, lw=1.3, label=_cases(found.counts))
    furthest = float(max(found.spread.max(), found.error.max()))
    end = 1.07 * furthest if furthest > 0 else 1.0
    axes.plot([0, end], [0, end], color="#555555", lw=0.9, ls="--", label="error = spread", zorder=1)
    axes.set(xlim=(0, end), ylim=(0, end), aspect="equal")
    # The same ticks on both, so that the eye can compare them.
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    known = f" [{unit}]" if unit else ""
    axes.set_xlabel(f"spread{known}\n(standard deviation × √((M + 1)/M))")
    axes.set_ylabel(f"error of the ensemble mean{known}\n(root mean square)")
    axes.grid(lw=0.4, color="#DDDDDD")
    axes.set_axisbelow(True)
    legend_beside(axes)
    entitle(axes, title)
    return axes


def rank_histogram(
    axes: Axes, X: Any, y: Any, *, seed: Any = 0, legend: bool = True, title: str | None = None
) -> Axes:
    """Draw how often the observation has each rank among the members of its ensemble.

    All ranks are equally frequent where observations are exchangeable with the members. High ends say that
    ensembles are too narrow, a high middle that they are too wide, and a slope that they are biased.

    Parameters
    ----------
    axes : matplotlib Axes
    X : Ensemble, xarray.DataArray or array-like, shape (n, M) or (n, M, 1)
        Members of one variable, NaN where absent: see :func:`degmm.verification.ranks`.
    y : array-like, shape (n,)
        Observations, NaN where there is none.
    seed : int or numpy.random.Generator
        For the ranks of observations that are equal to members, and of those with fewer than M members.
    legend : bool
        Whether to say beside it what is what.
    title : str, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        As :func:`degmm.verification.ranks`, or if no case has a member and an observation.

    Notes
    -----
    The band holds the count of one rank with a probability of at least 95 % if all ranks are equally
    probable and the cases independent (binomial distribution), so that of 20 ranks one may well be
    outside. Cases that follow each other in time are alike, and the counts then scatter more.
    """
    counts = verification.rank_counts(X, y, seed)
    if not counts.any():
        raise ValueError("X: no case has a member, and an observation in y")
    M = len(counts) - 1
    _bars(axes, counts, np.arange(M + 2) - 0.5)
    axes.set_xlim(-0.5 - 0.01 * (M + 1), M + 0.5 + 0.01 * (M + 1))
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel(f"rank of the observation among {counted(M, 'member')}")
    axes.set_ylabel("number of cases")
    if legend:
        legend_beside(axes)
    entitle(axes, title)
    return axes


def pit_histogram(
    axes: Axes,
    forecast: Any,
    y: Any,
    *,
    bins: int = 20,
    seed: Any = 0,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """Draw how often the observation has each probability under its forecast.

    The counterpart of :func:`rank_histogram` for distributions: all parts are equally frequent where
    observations come from their forecasts.

    Parameters
    ----------
    axes : matplotlib Axes
    forecast : object with ``cdf``
        See :func:`degmm.verification.pit`.
    y : array-like, shape (n,)
        Observations, NaN where there is none.
    bins : int
        Equally wide parts of [0, 1].
    seed : int or numpy.random.Generator
        For observations at point masses.
    legend : bool
        Whether to say beside it what is what.
    title : str, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        As :func:`degmm.verification.pit`.
    """
    counts = verification.pit_counts(forecast, y, bins, seed)
    _bars(axes, counts, np.linspace(0, 1, bins + 1))
    axes.set_xlim(-0.01, 1.01)
    axes.set_xlabel("forecast probability of ≤ observation")
    axes.set_ylabel("number of cases")
    if legend:
        legend_beside(axes)
    entitle(axes, title)
    return axes


def _bars(axes: Axes, counts: np.ndarray, edges: np.ndarray) -> None:
    """Draw counts, and what they would be if all were equally probable."""
    from scipy.stats import binom

    n, K = int(counts.sum()), len(counts)
    low, high = (float(end) for end in binom.interval(BAND, n, 1 / K))
    width = 0.9 * np.diff(edges)
    middles = (edges[1:] + edges[:-1]) / 2
    axes.bar(middles, counts, width=width, color=colour_of(4), alpha=0.8, lw=0, label=counted(n, "case"))
    axes.axhspan(
        low, high, color="#555555", alpha=0.22, lw=0, label=f"{100 * BAND:.0f} % of counts\nif uniform"
    )
    axes.axhline(n / K, color="#333333", lw=1.0, ls="--", label="uniform")
    axes.set_ylim(0, 1.05 * max(float(counts.max()), high))


def _cases(counts: np.ndarray) -> str:
    """Return how many cases a point stands for, in words."""
    least, most = int(counts.min()), int(counts.max())
    many = counted(most, "case") if least == most else f"{least} to {most} cases"
    return f"{counted(len(counts), 'bin')} of\n{many}"
