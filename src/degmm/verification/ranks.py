"""Ranks of observations among the members of their ensembles."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from degmm.verification.arrays import TIES, generator, one_variable


def ranks(X: Any, y: Any, seed: Any = 0) -> Int[np.ndarray, "n"]:
    """Return the rank of each observation among the members of its ensemble.

    Parameters
    ----------
    X : Ensemble, xarray.DataArray or array-like, shape (n, M) or (n, M, 1)
        Members of one variable, NaN where absent.
    y : array-like, shape (n,)
        Observations in the unit of X, NaN where there is none.
    seed : int or numpy.random.Generator
        For the ranks that are drawn.

    Returns
    -------
    ndarray of int, shape (n,)
        From 0, below all members, to M, above all; −1 for a case without a member or an observation.

    Raises
    ------
    ValueError
        If a shape or a value of X or y is wrong, or the seed is none.

    Notes
    -----
    An observation that is equal to members, such as no rain, takes a rank among them at random; they are
    compared in the lower of their two precisions, float32 where one comes from such a file. With
    M_i < M members present, a rank r is spread at random over its share of the M + 1 ranks, from
    r (M + 1)/(M_i + 1) to (r + 1)(M + 1)/(M_i + 1). So all ranks are equally probable where the
    observation is exchangeable with the members (Hamill 2001,
    doi:10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2).
    """
    members, observed = one_variable(X, y, ties=True)
    rng = generator(seed, stream=TIES)
    n, M = members.shape
    ties, within = rng.uniform(size=(2, n))
    rank, counts = ranks_among(members, observed, ties)
    spread = ((rank + within) * ((M + 1) / (counts + 1))).astype(int)
    # Without absent members a rank stays as it is, whatever the rounding.
    rank = np.where(counts == M, rank, np.minimum(spread, M))
    return np.where(np.isnan(observed) | (counts == 0), -1, rank)


def ranks_among(
    members: Float[np.ndarray, "n M"], observed: Float[np.ndarray, "n"], ties: Float[np.ndarray, "n"]
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Return the rank among the members present, 0 to M_i, and M_i; ``ties``, in [0, 1), settle ties."""
    counts = (~np.isnan(members)).sum(axis=1)
    below = (members < observed[:, None]).sum(axis=1)
    equal = (members == observed[:, None]).sum(axis=1)
    return below + (ties * (equal + 1)).astype(int), counts


def rank_counts(X: Any, y: Any, seed: Any = 0) -> Int[np.ndarray, "M+1"]:
    """Return how many observations have each rank, 0 to M; the arguments are those of :func:`ranks`."""
    found = ranks(X, y, seed)
    return np.bincount(found[found >= 0], minlength=one_variable(X, y)[0].shape[1] + 1)
