"""Central intervals of forecasts, of distributions and of ensembles alike."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from degmm.verification.arrays import TIES, by_position, generator, members_of_one, one_variable, share
from degmm.verification.pit import pit
from degmm.verification.ranks import ranks_among


class Coverage(NamedTuple):
    """How many observations lie in the central intervals of their forecasts."""

    coverage: Any
    """Share of the observations; of each variable for y of shape (n, D)"""
    nominal: Any
    """Share that calibrated forecasts have"""
    count: Any
    """Number of observations"""


class Inside(NamedTuple):
    """Which observations lie in the central intervals of their forecasts."""

    inside: Float[np.ndarray, "..."]
    """1 where it does, 0 where not, NaN where there is no observation or interval; of the shape of y"""
    nominal: Float[np.ndarray, "..."]
    """Probability of the interval of each"""


def inside(forecast: Any, y: Any, level: float = 0.9, seed: Any = 0) -> Inside:
    """Return which observations lie in the central intervals of their forecasts.

    Parameters
    ----------
    forecast, y, level, seed
        As for :func:`coverage`.

    Raises
    ------
    ValueError
        If a shape or value is wrong, or ``level`` is not between 0 and 1.
    """
    level = share("level", level)
    if hasattr(forecast, "cdf"):
        values = pit(forecast, y, seed)
        tail = (1 - level) / 2
        held = np.where(np.isnan(values), np.nan, (values >= tail) & (values <= 1 - tail))
        return Inside(held, np.full(values.shape, level))
    members, observed = one_variable(forecast, y, ties=True)
    rank, M = ranks_among(members, observed, generator(seed, stream=TIES).uniform(size=len(members)))
    out = outside(M, level)
    used = (M > 1) & ~np.isnan(observed)
    held = np.where(used, (rank >= out) & (rank <= M - out), np.nan)
    return Inside(held, np.where(used, (M + 1 - 2 * out) / (M + 1), np.nan))


def coverage(forecast: Any, y: Any, level: float = 0.9, seed: Any = 0) -> Coverage:
    """Return how many observations lie in the central intervals of their forecasts.

    Parameters
    ----------
    forecast : object with ``cdf``, or Ensemble, xarray.DataArray or array-like, shape (n, M) or (n, M, 1)
        Forecast distributions, or members of one variable, NaN where absent.
    y : array-like, shape (n,), or (n, D) where ``cdf`` takes it
        Observations, NaN where there is none.
    level : float
        Probability of the interval, with equal ones on both sides. M members have no interval of any level:
        those from the j-th smallest to the j-th largest hold (M + 1 − 2j)/(M + 1), and the j nearest to
        ``level`` is taken, of each case by its own M. A single member has none, and its case is left out.
    seed : int or numpy.random.Generator
        For observations at point masses, or equal to members, which are drawn as in :func:`pit` and
        :func:`ranks`.

    Returns
    -------
    Coverage
        With the nominal level: ``level``, or the mean of the ensembles' own.

    Raises
    ------
    ValueError
        If a shape or value is wrong, ``level`` is not between 0 and 1, or there is no observation.
    """
    held, nominal = inside(forecast, y, level, seed)
    counts = (~np.isnan(held)).sum(axis=0)
    if held.ndim == 2:
        shares = np.nansum(held, axis=0) / np.where(counts > 0, counts, np.nan)
        return Coverage(shares, np.full(counts.shape, level), counts)
    if not counts:
        raise ValueError("y: no observation has an ensemble of two members or more")
    common = level if hasattr(forecast, "cdf") else float(np.nanmean(nominal))
    return Coverage(float(np.nanmean(held)), common, int(counts))


def central_interval(
    forecast: Any, level: float = 0.9
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Return the ends of the central intervals of forecasts, those that :func:`coverage` counts by.

    Parameters
    ----------
    forecast : object with ``quantile``, or Ensemble, xarray.DataArray or array-like, shape (n, M), (n, M, 1)
        Forecast distributions, or members of one variable, NaN where absent.
    level : float
        Probability of the interval. Ensembles have one from the j-th smallest member to the j-th largest,
        with the j for which (M + 1 − 2j)/(M + 1) is nearest to it.

    Returns
    -------
    low, high : ndarray, shape (n,), or (n, D) of forecasts of D variables
        In the unit of the forecast; NaN where there is none, or a single member.

    Raises
    ------
    ValueError
        If ``level`` is not between 0 and 1, or members have a wrong shape.
    """
    level = share("level", level)
    if hasattr(forecast, "quantile") and hasattr(forecast, "cdf"):
        forecast, _ = by_position(forecast, None)
        ends = np.asarray(forecast.quantile([(1 - level) / 2, (1 + level) / 2]), np.float64)
        return ends[..., 0], ends[..., 1]
    ordered = np.sort(members_of_one(forecast), axis=1)  # NaN come last
    M = (~np.isnan(ordered)).sum(axis=1)
    out = outside(M, level)
    n, has = np.arange(len(ordered)), M > 1
    low, high = np.where(has, out - 1, 0), np.where(has, M - out, 0)
    return np.where(has, ordered[n, low], np.nan), np.where(has, ordered[n, high], np.nan)


def outside(M: Any, level: float) -> Any:
    """Return j for ensembles of M members: the interval of a level goes from the j-th smallest member on."""
    return np.clip(np.rint((M + 1) * (1 - level) / 2), 1, np.maximum(M // 2, 1)).astype(int)
