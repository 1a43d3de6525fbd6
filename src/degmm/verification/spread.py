"""Spread of ensembles against the error of their mean."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from degmm.verification.arrays import one_variable, whole


class SpreadSkill(NamedTuple):
    """Spread and error of ensembles in bins of like spread, from the least to the largest."""

    spread: Float[np.ndarray, "b"]
    """Root of the mean variance of a member about the ensemble's mean, times (M + 1)/M"""
    error: Float[np.ndarray, "b"]
    """Root-mean-square error of the ensemble mean"""
    counts: Int[np.ndarray, "b"]
    """Number of cases"""


def spread_skill(X: Any, y: Any, bins: int = 10) -> SpreadSkill:
    """Return the spread of ensembles and the error of their mean, in bins of like spread.

    Parameters
    ----------
    X : Ensemble, xarray.DataArray or array-like, shape (n, M) or (n, M, 1)
        Members of one variable, NaN where absent. Cases with fewer than two members are left out.
    y : array-like, shape (n,)
        Observations in the unit of X; cases where it is NaN are left out.
    bins : int
        Bins of equally many cases by their spread. There are fewer bins where there are fewer cases, or
        where cases have the same spread, since those stay together.

    Returns
    -------
    SpreadSkill

    Raises
    ------
    ValueError
        If a shape or a value of X or y is wrong, ``bins`` is no integer of at least 1, or no case has
        two members and an observation.

    Notes
    -----
    Of M members with the standard deviation s (divisor M − 1), exchangeable with the observation, the
    mean has the expected squared error s² (M + 1)/M: the spread is the root of the mean of that over
    the cases of a bin, with each case's own M (Fortin et al. 2014, doi:10.1175/JHM-D-14-0008.1).
    """
    bins = whole("bins", bins)
    members, observed = one_variable(X, y)
    counts = (~np.isnan(members)).sum(axis=1)
    used = (counts > 1) & ~np.isnan(observed)
    if not used.any():
        raise ValueError("X: no case has two members or more, and an observation in y")
    members, observed, counts = members[used], observed[used], counts[used]
    variances = np.nanvar(members, axis=1, ddof=1) * (counts + 1) / counts
    squares = (np.nanmean(members, axis=1) - observed) ** 2
    of = _bins(variances, bins)
    sizes = np.bincount(of)
    return SpreadSkill(
        np.sqrt(np.bincount(of, variances) / sizes), np.sqrt(np.bincount(of, squares) / sizes), sizes
    )


def _bins(values: np.ndarray, bins: int) -> np.ndarray:
    """Return the bin of each value, numbered without gaps; equal values share one."""
    order = np.argsort(values, kind="stable")
    place = np.empty(len(values), int)
    for b, part in enumerate(np.array_split(order, min(bins, len(values)))):
        place[part] = b
    _, first, inverse = np.unique(values[order], return_index=True, return_inverse=True)
    together = np.empty_like(place)
    together[order] = place[order][first][inverse]
    return np.unique(together, return_inverse=True)[1]
