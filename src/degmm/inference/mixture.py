"""The mixture of components of one family: E-step, likelihood and the pass that EM repeats."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from degmm.arrays import Array
from degmm.compilation import jit
from degmm.families.base import Factors, Family, Limits, MixtureParameters, Statistics
from degmm.inference.blocks import block_by_block, blocks_like, into_blocks, out_of_blocks, summed
from degmm.moments import Moments
from degmm.sharding import over_devices


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
    # each counts here, also what has no weight
    blocks = into_blocks(moments._replace(weights=np.ones_like(moments.weights)), len(parameters.weights))
    prior = None if log_prior is None else blocks_like(blocks, log_prior)
    log_density, responsibilities = _evaluate(family, parameters, blocks, prior)
    n = moments.n_samples
    return out_of_blocks(log_density, n), out_of_blocks(responsibilities, n)


@partial(jit, static_argnums=0)
def _evaluate(
    family: Family, parameters: MixtureParameters, blocks: Moments, log_prior: Float[Array, "C K b"] | None
) -> tuple[Float[Array, "C b"], Float[Array, "C K b"]]:
    factors = family.factor(parameters)

    def one(block: Moments, prior: Float[Array, "K b"] | None) -> tuple[Array, Array]:
        if prior is None:
            return e_step(log_joint(family, factors, block))
        return e_step(prior + family.log_density(factors, block))

    return block_by_block(one, blocks, log_prior)


def divergence(
    gamma: Float[np.ndarray, "n K"], posterior: Float[np.ndarray, "n K"], weights: Float[np.ndarray, "n"]
) -> float:
    """Return the weighted mean of KL(γ ‖ posterior), in nats per ensemble."""
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
    """Return the parameters that responsibilities alone determine."""

    def statistics(factors: Factors) -> Statistics:
        return over_devices(axis, family.statistics(factors, moments, responsibilities))

    return _two_m_steps(family, statistics, responsibilities.shape[0], moments.mean, limits)


def m_step_from_blocks(
    family: Family,
    responsibilities: Float[Array, "C K b"],
    blocks: Moments,
    limits: Limits,
    axis: str | None = None,
) -> MixtureParameters:
    """Return the parameters that responsibilities of blocks of ensembles alone determine."""

    def statistics(factors: Factors) -> Statistics:
        def one(block: Moments, gamma: Float[Array, "K b"]) -> Statistics:
            return family.statistics(factors, block, gamma)

        return over_devices(axis, summed(one, blocks, responsibilities))

    return _two_m_steps(family, statistics, responsibilities.shape[1], blocks.mean[0], limits)


def _two_m_steps(
    family: Family,
    statistics: Callable[[Factors], Statistics],
    n_components: int,
    like: Float[Array, "D n"],
    limits: Limits,
) -> MixtureParameters:
    """Return the parameters that statistics determine.

    The first M-step is taken about the origin; a second one about its means removes the
    cancellation that the first suffers where clusters are narrow and far from the origin.
    """
    K, D, dtype = n_components, like.shape[0], like.dtype
    shape = (K, D) if family.covariance.diagonal else (K, D, D)
    unit = jnp.ones(D, dtype) if family.covariance.diagonal else jnp.eye(D, dtype=dtype)
    identity = jnp.broadcast_to(unit, shape)
    parameters = MixtureParameters(jnp.full(K, 1 / K, dtype), jnp.zeros((K, D), dtype), identity, identity)

    def step(_: Array, parameters: MixtureParameters) -> MixtureParameters:
        factors = family.factor(parameters)
        return family.m_step(statistics(factors), factors, limits)

    return jax.lax.fori_loop(0, 2, step, parameters)  # a loop, so that the step is compiled once


@partial(jax.jit, static_argnums=0)  # traced once, however often a compiled function calls it
def full_pass(family: Family, factors: Factors, blocks: Moments) -> tuple[Float[Array, ""], Statistics]:
    """Return the log-likelihood and the statistics of the next M-step, block by block.

    The responsibilities of one block exist at a time, never those of all ensembles.
    """

    def one(block: Moments) -> tuple[Float[Array, ""], Statistics]:
        log_density, responsibilities = e_step(log_joint(family, factors, block))
        return (block.weights * log_density).sum(), family.statistics(factors, block, responsibilities)

    return summed(one, blocks)
