"""Where EM starts: partitions of the ensembles by k-means++ on their moments, or at random."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from jaxtyping import Float, Int

from degmm.arrays import Array
from degmm.compilation import jit
from degmm.families.base import Family, Limits, MixtureParameters
from degmm.families.covariance import WIDE_FEATURES, floor_eigenvalues
from degmm.families.gaussian import floored_weights
from degmm.inference.blocks import blocks_like, into_blocks
from degmm.inference.mixture import m_step_from_blocks
from degmm.moments import Moments, padded
from degmm.processes import largest
from degmm.sharding import AXIS, STATIC, WHOLE, Spec, n_local, on_devices


def mean_features(moments: Moments) -> Float[np.ndarray, "n F"]:
    """Return the member means, each variable with variance 1."""
    return _standardised(np.asarray(moments.mean, np.float64).T)


def spread_features(moments: Moments) -> Float[np.ndarray, "n F"]:
    """Return member means and log spreads, so that regimes that differ only in spread are told apart."""
    means = mean_features(moments)
    counts = np.asarray(moments.counts, np.float64)
    if not (counts > 1).any():
        return means
    squares = np.asarray(moments.scatter.diagonal(moments.n_features), np.float64)
    variance = squares / np.maximum(counts - 1, 1)
    known = (counts > 1) & (variance > 0)
    floor = np.where(known, variance, np.inf).min(axis=1, keepdims=True)
    log_spread = 0.5 * np.log(np.where(known, variance, np.where(np.isfinite(floor), floor, 1.0)))
    return np.concatenate([means, _standardised(log_spread.T)], axis=1)


def _standardised(features: Float[np.ndarray, "n F"]) -> Float[np.ndarray, "n F"]:
    spread = features.std(axis=0)
    return (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def kmeans_plusplus(
    features: Float[np.ndarray, "n F"],
    weights: Float[np.ndarray, "n"],
    n_components: int,
    seeds: Int[np.ndarray, "S"],
) -> Int[np.ndarray, "S n"]:
    """Partition ensembles, once for each seed, by K centres of k-means++ (Arthur & Vassilvitskii 2007).

    Each centre is the best of a few that are drawn by the squared distance from those so far, as
    scikit-learn has it, whose draws these are: to import its clusterers takes longer than many a fit. All
    partitions are made side by side.
    """
    n, S = len(features), len(seeds)
    rngs = [np.random.RandomState(seed) for seed in seeds]
    norms = (features**2).sum(axis=1)

    def squared_distances(chosen: Int[np.ndarray, "..."]) -> Float[np.ndarray, "... n"]:
        some = chosen.ravel()
        found = norms[some, None] - 2 * features[some] @ features.T + norms
        return np.maximum(found, 0, out=found).reshape(*chosen.shape, n)

    nearest = squared_distances(np.array([rng.choice(n, p=weights / weights.sum()) for rng in rngs]))
    labels = np.zeros((S, n), np.int32)
    trials, each = 2 + int(np.log(n_components)), np.arange(S)
    for k in range(1, n_components):
        shares = np.cumsum(weights * nearest, axis=1)
        drawn = [
            np.searchsorted(own, rng.uniform(size=trials) * own[-1])
            for own, rng in zip(shares, rngs, strict=True)
        ]
        closer = squared_distances(np.minimum(drawn, n - 1))
        np.minimum(closer, nearest[:, None, :], out=closer)
        best = closer[each, (closer @ weights).argmin(axis=1)]
        labels[best < nearest] = k
        nearest = best
    return labels


def random_seeds(
    features: Float[np.ndarray, "n F"],
    weights: Float[np.ndarray, "n"],
    n_components: int,
    seeds: Int[np.ndarray, "S"],
) -> Int[np.ndarray, "S n"]:
    """Partition ensembles, once for each seed, by the nearest of K ensembles drawn at random."""
    shares, found = weights / weights.sum(), []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        centres = features[rng.choice(len(features), n_components, replace=False, p=shares)]
        found.append(((centres**2).sum(axis=1) - 2 * features @ centres.T).argmin(axis=1))
    return np.array(found, np.int32)


START_METHODS: dict[str, Callable[..., Int[np.ndarray, "S n"]]] = {
    "k-means++": kmeans_plusplus,
    "random": random_seeds,
}


def starting_labels(
    method: str, moments: Moments, n_components: int, n_starts: int, rng: np.random.Generator
) -> Int[np.ndarray, "starts n"]:
    """Return ``n_starts`` partitions, half of them by means alone, half by means and log spreads."""
    weights = np.asarray(moments.weights, np.float64)
    seeds = rng.integers(2**31 - 1, size=n_starts)
    labels = np.empty((n_starts, moments.n_samples), np.int32)
    for first, features in enumerate((spread_features(moments), mean_features(moments))):
        if n_starts > first:
            labels[first::2] = START_METHODS[method](features, weights, n_components, seeds[first::2])
    return labels


def parameters_from_labels(
    family: Family,
    n_components: int,
    labels: Int[np.ndarray, "starts n"],
    blocks: Moments,
    limits: Limits,
) -> MixtureParameters:
    """Return the parameters of each partition (first axis) of the ensembles that are laid out in blocks."""
    places = blocks_like(blocks, labels.astype(np.int32))
    return _from_labels(family, n_components, np.moveaxis(places, 1, 0), blocks, limits)


@partial(jit, static_argnums=(0, 1))
def _from_labels(
    family: Family, n_components: int, labels: Int[Array, "starts C b"], blocks: Moments, limits: Limits
) -> MixtureParameters:

    def one(partition: Int[Array, "C b"]) -> MixtureParameters:
        hard = jax.nn.one_hot(partition, n_components, axis=1, dtype=blocks.mean.dtype)
        return m_step_from_blocks(family, hard, blocks, limits)

    wide = blocks.mean.shape[1] > WIDE_FEATURES
    return jax.lax.map(one, labels) if wide else jax.vmap(one)(labels)


def parameters_from_responsibilities(
    family: Family, responsibilities: Float[np.ndarray, "K n"], moments: Moments, limits: Limits
) -> MixtureParameters:
    """Return the parameters of given responsibilities, as one start (first axis of length 1)."""
    moments = padded(moments, largest(moments.n_samples))
    missing = moments.n_samples - responsibilities.shape[1]
    blocks = into_blocks(moments, len(responsibilities), n_local())
    gamma = blocks_like(blocks, np.pad(responsibilities, [(0, 0), (0, missing)]))
    parameters = on_devices(_from_responsibilities, (family, gamma, blocks, limits), START_SPECS)
    return jax.tree.map(lambda part: np.asarray(part)[None], parameters)


START_SPECS = (STATIC, Spec(AXIS), Spec(AXIS), WHOLE)
"""What each device has of the arguments of ``_from_responsibilities``"""
_from_responsibilities = partial(jit, static_argnums=(0, 4))(m_step_from_blocks)


def admitted(parameters: MixtureParameters, limits: Limits) -> MixtureParameters:
    """Return given parameters within ``limits``, as one start (first axis of length 1)."""
    return jax.tree.map(lambda part: np.asarray(part)[None], _bounded(parameters, limits))


@jit
def _bounded(parameters: MixtureParameters, limits: Limits) -> MixtureParameters:
    return parameters._replace(
        weights=floored_weights(parameters.weights, limits.weight),
        within=floor_eigenvalues(parameters.within, limits.covariance),
    )
