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
    features: Float[np.ndarray, "n F"], weights: Float[np.ndarray, "n"], n_components: int, seed: int
) -> Int[np.ndarray, "n"]:
    """Partition ensembles by the nearest of K seeds chosen by k-means++ (Arthur & Vassilvitskii 2007).

    Each seed is the best of a few that are drawn by the squared distance from those so far, as
    scikit-learn has it, whose draws these are: to import its clusterers takes longer than many a fit.
    """
    rng = np.random.RandomState(seed)
    norms = (features**2).sum(axis=1)

    def squared_distances(chosen: np.ndarray) -> np.ndarray:
        found = norms[chosen, None] - 2 * features[chosen] @ features.T + norms
        return np.maximum(found, 0)

    first = rng.choice(len(features), p=weights / weights.sum())
    seeds, nearest = [first], squared_distances(np.array([first]))[0]
    trials = 2 + int(np.log(n_components))
    while len(seeds) < n_components:
        shares = np.cumsum(weights * nearest)
        drawn = np.searchsorted(shares, rng.uniform(size=trials) * shares[-1])
        drawn = np.minimum(drawn, len(features) - 1)
        closer = np.minimum(nearest, squared_distances(drawn))
        best = int(np.argmin(closer @ weights))
        nearest = closer[best]
        seeds.append(drawn[best])
    return _nearest(features, features[seeds])


def random_seeds(
    features: Float[np.ndarray, "n F"], weights: Float[np.ndarray, "n"], n_components: int, seed: int
) -> Int[np.ndarray, "n"]:
    """Partition ensembles by the nearest of K ensembles drawn at random."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(features), n_components, replace=False, p=weights / weights.sum())
    return _nearest(features, features[chosen])


def _nearest(features: Float[np.ndarray, "n F"], centres: Float[np.ndarray, "K F"]) -> Int[np.ndarray, "n"]:
    squared = (centres**2).sum(axis=1) - 2 * features @ centres.T
    return squared.argmin(axis=1)


START_METHODS: dict[str, Callable[..., Int[np.ndarray, "n"]]] = {
    "k-means++": kmeans_plusplus,
    "random": random_seeds,
}


def starting_labels(
    method: str, moments: Moments, n_components: int, n_starts: int, rng: np.random.Generator
) -> Int[np.ndarray, "starts n"]:
    """Return ``n_starts`` partitions, half of them by means alone, half by means and log spreads."""
    weights = np.asarray(moments.weights, np.float64)
    views = [spread_features(moments), mean_features(moments)]
    seeds = rng.integers(2**31 - 1, size=n_starts)
    return np.stack(
        [
            START_METHODS[method](views[s % 2], weights, n_components, int(seed))
            for s, seed in enumerate(seeds)
        ]
    )


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
