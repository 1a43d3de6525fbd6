"""The mixture of components of one family: E-step, likelihood and the pass that EM repeats."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from degmm.arrays import Array
from degmm.compilation import jit
from degmm.families.base import Factors, Family, Limits, MixtureParameters, Statistics
from degmm.moments import Moments, bucket, padded
from degmm.sharding import over_devices

BLOCK_VALUES = 2**18
"""A pass works on blocks of n·K·D numbers of about this many, which stay in a processor's cache."""
BLOCK_RANGE = (1024, 8192)
"""Fewest and most ensembles in a block."""


def log_joint(family: Family, factors: Factors, moments: Moments) -> Float[Array, "K n"]:
    """Return log π_k + log f_k(x_i)."""
    return jnp.log(factors.parameters.weights)[:, None] + family.log_density(factors, moments)


def e_step(joint: Float[Array, "K n"]) -> tuple[Float[Array, "n"], Float[Array, "K n"]]:
    """Return log Σ_k π_k f_k(x_i) and the responsibilities, from one set of exponentials."""
    top = jnp.max(joint, axis=0)
    top = jnp.where(jnp.isfinite(top), top, 0)
    exponentials = jnp.exp(joint - top)
    total = exponentials.sum(axis=0)
    return top + jnp.log(total), exponentials / total


def evaluate(
    family: Family,
    parameters: MixtureParameters,
    moments: Moments,
    log_prior: Float[np.ndarray, "K n"] | None = None,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "K n"]]:
    """Return each ensemble's log density and exact responsibilities, in standard units.

    Where ``log_prior`` is given, it is log π_k of each ensemble in place of that of ``parameters``.
    """
    n = moments.n_samples
    if log_prior is not None:
        log_prior = np.pad(log_prior, [(0, 0), (0, bucket(n) - n)])
    log_density, responsibilities = _evaluate(family, parameters, padded(moments, bucket(n)), log_prior)
    return np.asarray(log_density)[:n], np.asarray(responsibilities)[:, :n]


@partial(jit, static_argnums=0)
def _evaluate(
    family: Family, parameters: MixtureParameters, moments: Moments, log_prior: Float[Array, "K n"] | None
) -> tuple[Float[Array, "n"], Float[Array, "K n"]]:
    factors = family.factor(parameters)
    if log_prior is None:
        return e_step(log_joint(family, factors, moments))
    return e_step(log_prior + family.log_density(factors, moments))


def divergence(
    gamma: Float[np.ndarray, "n K"], posterior: Float[np.ndarray, "n K"], weights: Float[np.ndarray, "n"]
) -> float:
    """Return the weighted mean of KL(γ ‖ posterior), in nats an ensemble."""
    tiny = np.finfo(np.float64).tiny
    gamma, posterior = gamma.astype(np.float64), np.maximum(posterior.astype(np.float64), tiny)
    terms = np.where(gamma > 0, gamma * (np.log(np.maximum(gamma, tiny)) - np.log(posterior)), 0.0)
    return float(np.average(terms.sum(axis=1), weights=weights))


def m_step_from(
    family: Family,
    responsibilities: Float[Array, "K n"],
    moments: Moments,
    limits: Limits,
    axis: str | None = None,
) -> MixtureParameters:
    """Return the parameters that responsibilities alone determine.

    The first M-step is taken about the origin; a second one about its means removes the
    cancellation that the first suffers where clusters are narrow and far from the origin.
    """
    K, D = responsibilities.shape[0], moments.n_features
    dtype = moments.mean.dtype
    identity = jnp.broadcast_to(jnp.eye(D, dtype=dtype), (K, D, D))
    parameters = MixtureParameters(jnp.full(K, 1 / K, dtype), jnp.zeros((K, D), dtype), identity, identity)

    def step(_: Array, parameters: MixtureParameters) -> MixtureParameters:
        factors = family.factor(parameters)
        statistics = over_devices(axis, family.statistics(factors, moments, responsibilities))
        return family.m_step(statistics, factors, limits)

    return jax.lax.fori_loop(0, 2, step, parameters)  # a loop, so that the step is compiled once


@partial(jax.jit, static_argnums=0)  # traced once, however often a compiled function calls it
def full_pass(family: Family, factors: Factors, blocks: Moments) -> tuple[Float[Array, ""], Statistics]:
    """Return the log-likelihood and the statistics of the next M-step, block by block.

    The responsibilities of one block exist at a time, never those of all ensembles.
    """

    def one(block: Moments) -> tuple[Float[Array, ""], Statistics]:
        log_density, responsibilities = e_step(log_joint(family, factors, block))
        return (block.weights * log_density).sum(), family.statistics(factors, block, responsibilities)

    if blocks.counts.shape[0] == 1:
        return one(jax.tree.map(lambda part: part[0], blocks))
    return jax.tree.map(lambda parts: parts.sum(axis=0), jax.lax.map(one, blocks))


def block_shape(n: int, n_features: int, n_components: int, parts: int = 1) -> tuple[int, int]:
    """Return into how many blocks, a multiple of ``parts``, of how many ensembles n are laid out."""
    low, high = BLOCK_RANGE
    size = int(np.clip(2 ** int(np.log2(BLOCK_VALUES / (n_components * n_features) + 1)), low, high))
    count = parts * bucket(-(-n // (size * parts)), smallest=1)
    return count, bucket(-(-n // count))  # the padding is shared out, and an eighth of all at most


def into_blocks(moments: Moments, n_components: int, parts: int = 1) -> Moments:
    """Lay moments out as blocks along a new first axis, filled up with ensembles of weight 0.

    Their number is a multiple of ``parts``, for as many devices.
    """
    n = moments.n_samples
    count, size = block_shape(n, moments.n_features, n_components, parts)

    def lay_out(part: np.ndarray, fill: float) -> np.ndarray:
        out = np.full((count, *part.shape[:-1], size), fill, part.dtype)
        whole = n // size
        body = part[..., : whole * size].reshape(*part.shape[:-1], whole, size)
        out[:whole] = np.moveaxis(body, -2, 0)
        if whole < count:
            out[whole, ..., : n - whole * size] = part[..., whole * size :]
        return out

    counts, mean, scatter, weights = map(np.asarray, moments)
    return Moments(
        lay_out(counts, counts[0]), lay_out(mean, 0.0), lay_out(scatter, 0.0), lay_out(weights, 0.0)
    )
