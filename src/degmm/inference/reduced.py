"""The few directions in which clusters of many variables lie apart, where a search for starts is cheap.

K clusters differ in K − 1 directions at most, as far as their means go. Those in which the ensembles vary
most, in units of what members of one ensemble vary by, are the discriminant directions if clusters share
their covariance (Rao 1948); single members give the principal components.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from degmm.families import STRUCTURES, Family
from degmm.moments import Moments
from degmm.scatter import NoScatter, Variances, unpack

FEWEST_DIRECTIONS = 6
"""Directions at least …"""
FURTHER_DIRECTIONS = 2
"""… and at least so many more than the means of the clusters lie in."""
SPREAD_DIRECTIONS = 2
"""Variables in whose spread ensembles differ most, which are directions too"""
HUMPED_DIRECTIONS, HUMP_STEPS = 2, 15
"""Directions of the lowest kurtosis, of single members, and steps that each is improved by"""
RANK = 1e-10
"""Directions in which ensembles vary by a smaller share of the most are nothing but rounding"""
HUGE = 1e50
"""Of these the fourth power is finite"""
MOST_USED = 1024
"""Ensembles that directions are taken from."""


def n_directions(n_features: int, n_components: int) -> int:
    """Return in how many directions a search goes."""
    return min(n_features, max(FEWEST_DIRECTIONS, n_components - 1 + FURTHER_DIRECTIONS))


def directions_of(moments: Moments, n_components: int) -> Float[np.ndarray, "D r"]:
    """Return the directions in which ensembles vary most, relative to the members of one ensemble.

    Where there are several members, the variables of the most unequal spread are directions too. Of single
    members, whose principal components need not tell clusters, those in which they have two humps are.
    """
    import scipy.linalg

    D, n = moments.mean.shape
    some = moments
    if n > MOST_USED:  # at random, since ensembles may recur in a rhythm
        some = moments.take(np.sort(np.random.default_rng(0).choice(n, MOST_USED, replace=False)))
    share = np.asarray(some.weights, np.float64) / some.total_weight
    mean = np.asarray(some.mean, np.float64)
    apart = _to_be_raised((mean - (mean @ share)[:, None]) * np.sqrt(share))
    root = _within_root(some)
    whitened = apart if root is None else _to_be_raised(_solved(root, apart))
    r = n_directions(D, n_components)
    size = min(whitened.shape)
    r = min(r, size)
    top: dict[str, Any] = {"subset_by_index": [size - r, size - 1]}
    several = whitened.shape[1] >= D
    values, vectors = scipy.linalg.eigh(whitened @ whitened.T if several else whitened.T @ whitened, **top)
    true = values > RANK * max(values[-1], 0)
    vectors = vectors[:, true]
    if not several:
        vectors = (whitened @ vectors) / np.sqrt(values[true])
    vectors = vectors[:, ::-1] if true.any() else np.eye(D)[:, :r]  # ensembles may all have one mean
    if root is None:
        return np.concatenate([vectors, _of_two_humps(apart)], axis=1)
    turned = _solved(root.T, vectors, lower=False)
    axes = np.eye(D)[:, _of_unequal_spread(some)]
    return np.concatenate([turned / np.linalg.norm(turned, axis=0), axes], axis=1)


def _to_be_raised(values: Float[np.ndarray, "D n"]) -> Float[np.ndarray, "D n"]:
    """Return values in a unit in which their powers are finite; directions know no unit."""
    largest = np.abs(values).max()
    return values / largest if largest > HUGE else values


def _of_two_humps(apart: Float[np.ndarray, "D n"]) -> Float[np.ndarray, "D h"]:
    """Return directions of low kurtosis, in which two clusters of like size lie apart (Peña & Prieto 2001).

    The variables of the lowest are where fixed-point steps begin (Hyvärinen & Oja 1997), if there are
    ensembles enough for directions between them.
    """
    D, n = apart.shape
    variance = (apart**2).sum(axis=1)
    varies = variance > RANK * variance.max()
    kurtosis = np.where(varies, (apart**4).sum(axis=1) * n / np.where(varies, variance, 1) ** 2, np.inf)
    first = np.argsort(kurtosis, kind="stable")[: min(HUMPED_DIRECTIONS, int(varies.sum()))]
    if n <= 2 * D:
        return np.eye(D)[:, first]
    pooled = apart @ apart.T / n
    root = np.linalg.cholesky(pooled + _least(np.diagonal(pooled)) * np.eye(D))
    z = _solved(root, apart)
    found = np.zeros((D, 0))
    for d in first:
        w = root[d] / np.linalg.norm(root[d])
        for _ in range(HUMP_STEPS):
            w = z @ (w @ z) ** 3 / n - 3 * w
            w -= found @ (found.T @ w)
            w /= np.linalg.norm(w)
        found = np.column_stack([found, w])
    turned = _solved(root.T, found, lower=False)
    return turned / np.linalg.norm(turned, axis=0)


def _of_unequal_spread(moments: Moments) -> Int[np.ndarray, "s"]:
    """Return the variables whose spread within ensembles varies most from one to another, on a log scale."""
    squares = np.asarray(moments.scatter.diagonal(moments.n_features), np.float64)
    several = (np.asarray(moments.counts) > 1) & (squares > 0).all(axis=0)
    if several.sum() < 2:
        return np.arange(0)
    log_spread = np.log(squares[:, several] / (np.asarray(moments.counts, np.float64)[several] - 1))
    return np.argsort(-log_spread.var(axis=1), kind="stable")[:SPREAD_DIRECTIONS]


def _within_root(moments: Moments) -> np.ndarray | None:
    """Return a root of the pooled covariance within ensembles, a vector if it is diagonal.

    None if there is none: ensembles of single members.
    """
    D = moments.n_features
    weights = np.asarray(moments.weights, np.float64)
    degrees = weights @ np.maximum(np.asarray(moments.counts, np.float64) - 1, 0)
    if isinstance(moments.scatter, NoScatter) or degrees <= 0:
        return None
    if isinstance(moments.scatter, Variances):
        variances = np.asarray(moments.scatter.values, np.float64) @ weights / degrees
        return np.sqrt(np.maximum(variances, _least(variances)))
    dtype = moments.dtype
    pooled = np.asarray(moments.scatter.weighted(weights.astype(dtype)[None], D), np.float64)[0] / degrees
    pooled = unpack(pooled, D)
    return np.linalg.cholesky(pooled + _least(np.diagonal(pooled)) * np.eye(D))


def _least(variances: np.ndarray) -> float:
    """Return a variance that directions without any within ensembles count as having."""
    return float(1e-3 * variances.mean() + np.finfo(np.float64).tiny)


def _solved(root: np.ndarray, right: np.ndarray, *, lower: bool = True) -> np.ndarray:
    import scipy.linalg

    if root.ndim == 1:
        return right / root[:, None]
    return scipy.linalg.solve_triangular(root, right, lower=lower)


def reduced(moments: Moments, directions: Float[np.ndarray, "D r"]) -> Moments:
    """Return the moments in the coordinates that directions give, scaled to mean 0 and variance 1."""
    weights = np.asarray(moments.weights, np.float64)
    mean = directions.T.astype(moments.dtype) @ np.asarray(moments.mean)
    mass = weights * np.asarray(moments.counts, np.float64)
    centre = mean.astype(np.float64) @ mass / mass.sum()
    scatter = moments.scatter.projected(directions)
    squares = np.asarray(scatter.diagonal(directions.shape[1]), np.float64) @ weights
    variance = (squares + (mean - centre[:, None]).astype(np.float64) ** 2 @ mass) / mass.sum()
    # a direction in which nothing but rounding varies stays as it is
    varies = variance > np.finfo(moments.dtype).eps ** 2 * variance.max()
    scale = np.where(varies, 1 / np.sqrt(np.where(varies, variance, 1)), 1)
    mean = ((mean - centre[:, None]) * scale[:, None]).astype(moments.dtype)
    return moments._replace(mean=mean, scatter=scatter.rescaled(scale))


def reduced_family(family: Family) -> Family:
    """Return the family of the same components in other coordinates."""
    # where variables are turned, variances do not stay apart
    full = STRUCTURES["full"]
    return replace(family, covariance=full) if family.covariance.diagonal else family


def least_share(family: Family, moments: Moments) -> float:
    """Return the share of members that a component needs for a covariance of its own in all directions.

    It is twice that of as many members as make it regular: with fewer it is fitted to them alone.
    """
    if family.covariance.name != "full":
        return 0.0
    members = float(np.asarray(moments.counts, np.float64).sum())
    return min(2 * (moments.n_features + 1) / members, 0.5)
