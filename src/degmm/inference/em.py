"""Expectation-Maximisation on moments: several runs side by side in one compiled loop."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Bool, Float, Int

from degmm.arrays import Array
from degmm.compilation import jit
from degmm.families.base import Factors, Family, Limits, MixtureParameters, Statistics
from degmm.families.covariance import WIDE_FEATURES
from degmm.inference.mixture import full_pass
from degmm.moments import Moments
from degmm.sharding import AXIS, STATIC, WHOLE, Spec, over_devices

RUNNING, CONVERGED, NON_FINITE = 0, 1, 2
EM_SPECS = (STATIC, WHOLE, Spec(AXIS), WHOLE, WHOLE, WHOLE, STATIC)
"""What each device has of the arguments of ``run_em``: blocks of its own, and all else whole"""


class EMState(NamedTuple):
    """State of one run of EM."""

    iteration: Int[Array, ""]
    """Number of M-steps done; −1 before the first pass"""
    factors: Factors
    log_likelihood: Float[Array, ""]
    """ℓ at the parameters of ``factors``"""
    statistics: Statistics
    """What the M-step from there needs"""
    history: Float[Array, "capacity"]
    """ℓ by iteration, NaN where there was none"""
    status: Int[Array, ""]
    resting: Bool[Array, ""]
    """Whether the last M-step gained too little to see"""

    @property
    def parameters(self) -> MixtureParameters:
        """The parameters reached."""
        return self.factors.parameters


@partial(jit, static_argnums=(0, 6, 7))
def run_em(
    family: Family,
    starts: MixtureParameters,
    blocks: Moments,
    limits: Limits,
    tol: Float[Array, ""],
    max_iter: Int[Array, ""],
    capacity: int,
    axis: str | None = None,
) -> EMState:
    """Run EM from each of several starts (first axis of ``starts``) until it converges.

    A run stops when two M-steps in a row raise the mean log-likelihood of an ensemble by less than
    ``tol``, or than rounding lets be seen: one alone may only have moved a covariance on to its
    boundary. With ``tol=0`` it makes ``max_iter`` M-steps.

    Parameters
    ----------
    capacity : int
        Length of the history that is kept, at least ``max_iter + 1``.
    axis : str, optional
        Axis of the devices that the blocks are shared out over.
    """
    total_weight = over_devices(axis, blocks.weights.sum())

    def init(parameters: MixtureParameters) -> EMState:
        # The first pass sets all but the parameters; to compute it here would compile it twice.
        factors = jax.eval_shape(family.factor, parameters)
        statistics = jax.eval_shape(partial(full_pass, family), factors, blocks)[1]
        unset = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), (factors, statistics))
        dtype = blocks.mean.dtype
        return EMState(
            iteration=jnp.array(-1),
            factors=unset[0]._replace(parameters=parameters),
            log_likelihood=jnp.array(-jnp.inf, dtype),
            statistics=unset[1],
            history=jnp.full(capacity, jnp.nan, dtype),
            status=jnp.array(RUNNING),
            resting=jnp.array(False),
        )

    def step(state: EMState) -> EMState:
        # The first pass only evaluates the start: one body, hence one compilation, serves both.
        fresh = state.iteration < 0
        moved = family.m_step(state.statistics, state.factors, limits)
        candidate = jax.tree.map(partial(jnp.where, fresh), state.factors.parameters, moved)
        factors = family.factor(candidate)
        value, statistics = over_devices(axis, full_pass(family, factors, blocks))
        return advanced(state, factors, value, statistics, total_weight, tol)

    def unfinished(state: EMState) -> Array:
        return (state.status == RUNNING) & (state.iteration < max_iter)

    def run(parameters: MixtureParameters) -> EMState:
        return lax.while_loop(unfinished, step, init(parameters))

    if starts.weights.shape[0] == 1:  # a loop of its own is compiled and run faster
        alone = run(jax.tree.map(lambda part: part[0], starts))
        return jax.tree.map(lambda part: jnp.asarray(part)[None], alone)
    if starts.means.shape[-1] > WIDE_FEATURES:  # products fill the processor, and branches are taken or not
        return lax.map(run, starts)
    return jax.vmap(run)(starts)


def advanced(
    state: EMState,
    factors: Factors,
    value: Float[Array, ""],
    statistics: Statistics,
    total_weight: Float[Array, ""],
    tol: Float[Array, ""],
) -> EMState:
    """Return the state after a pass at new parameters, which found this log-likelihood and these sums."""
    fresh = state.iteration < 0
    finite = jnp.isfinite(value)
    gain = (value - state.log_likelihood) / total_weight
    eps = jnp.finfo(state.log_likelihood.dtype).eps
    visible = jnp.maximum(tol, 2 * eps * jnp.abs(value) / total_weight)
    resting = ~fresh & (tol > 0) & (gain < visible)
    accept = finite & ~(resting & (gain < 0))
    converged = resting & (state.resting | ~accept)
    iteration = state.iteration + 1
    return EMState(
        iteration=iteration,
        factors=jax.tree.map(partial(jnp.where, accept), factors, state.factors),
        log_likelihood=jnp.where(accept, value, state.log_likelihood),
        statistics=jax.tree.map(partial(jnp.where, accept), statistics, state.statistics),
        history=state.history.at[iteration].set(jnp.where(accept, value, state.log_likelihood)),
        status=jnp.where(~finite, NON_FINITE, jnp.where(converged, CONVERGED, RUNNING)),
        resting=resting,
    )
