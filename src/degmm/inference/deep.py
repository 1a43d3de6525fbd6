"""Deep inference: a network gives the E-step, the M-step equations the parameters, Adam the network."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.scipy.special import logsumexp
from jaxtyping import Float, Int

from degmm import nets
from degmm.arrays import Array
from degmm.compilation import jit
from degmm.families.base import Family, Limits, MixtureParameters
from degmm.families.derivative import smooth_log_density
from degmm.inference.objectives import Objective
from degmm.moments import Moments, bucket, padded
from degmm.nets import EncoderInputs

ADAM = optax.scale_by_adam()


class Schedule(NamedTuple):
    """How training goes on over the epochs."""

    learning_rate: Float[Array, ""]
    """Adam's rate at the first epoch; it falls to 0 at the last along a cosine"""
    max_epochs: Int[Array, ""]
    warmup: Int[Array, ""]
    """Epochs at the start in which the network learns the starting responsibilities"""
    penalty: Float[Array, ""]
    """λ of the penalty λ Σ_k tr W_k on the loss a member"""


class DeepState(NamedTuple):
    """State of a training."""

    epoch: Int[Array, ""]
    network: Any
    optimiser: Any
    parameters: MixtureParameters
    history: Float[Array, "capacity 3"]
    """Loss a member, log-likelihood a member and KL(γ‖posterior) an ensemble, by epoch"""


def initial_state(network: Any, parameters: MixtureParameters, max_epochs: int) -> DeepState:
    """Return the state before the first epoch."""
    dtype = parameters.means.dtype
    capacity = 2 ** int(np.ceil(np.log2(max(max_epochs, 1024))))
    return DeepState(
        jnp.array(0),
        network,
        ADAM.init(network),
        MixtureParameters(*map(jnp.asarray, parameters)),
        jnp.full((capacity, 3), jnp.nan, dtype),
    )


def encoder_inputs(moments: Moments, members: np.ndarray | None) -> EncoderInputs:
    """Lay moments out as encoders read them, ensembles first, filled up to one of a few numbers."""
    n = moments.n_samples
    moments = padded(moments, bucket(n))
    if members is not None:
        members = np.pad(members, [(0, bucket(n) - n), (0, 0), (0, 0)])
    variance = moments.scatter / moments.counts
    return EncoderInputs(
        np.asarray(moments.counts),
        np.ascontiguousarray(np.asarray(moments.mean).T),
        np.ascontiguousarray(np.asarray(variance).T),
        members,
    )


@partial(jit, static_argnums=0)
def respond(
    graph: Any, network: Any, log_weights: Float[Array, "K"], inputs: EncoderInputs
) -> Float[Array, "n K"]:
    """Return the network's responsibilities γ."""
    return jax.nn.softmax(nets.apply(graph, network, inputs) + log_weights, axis=1)


@partial(jit, static_argnums=(0, 1, 2), donate_argnums=3)
def train(
    graph: Any,
    family: Family,
    objective: Objective,
    state: DeepState,
    inputs: EncoderInputs,
    moments: Moments,
    target: Float[Array, "K n"],
    limits: Limits,
    schedule: Schedule,
    stop: Int[Array, ""],
) -> DeepState:
    """Train on all ensembles from the state's epoch up to epoch ``stop``.

    Parameters
    ----------
    target : Array, shape (K, n)
        Starting responsibilities, which the network learns by cross-entropy while
        ``epoch < schedule.warmup``; the objective takes over from there.
    """
    weights = moments.weights / moments.weights.sum()
    members_per_ensemble = (weights * moments.counts).sum()

    def loss_of(network: Any, epoch: Array, previous: MixtureParameters) -> tuple[Array, Any]:
        scores = nets.apply(graph, network, inputs).T
        log_gamma = jax.nn.log_softmax(scores + jnp.log(previous.weights)[:, None], axis=0)
        gamma = jnp.exp(log_gamma)
        settled = gamma if objective.through_m_step else lax.stop_gradient(gamma)
        factors = lax.stop_gradient(family.factor(previous))
        parameters = family.m_step(family.statistics(factors, moments, settled), factors, limits)
        joint = jnp.log(parameters.weights)[:, None] + smooth_log_density(family, parameters, moments)
        trace = jnp.trace(parameters.within, axis1=1, axis2=2).sum()
        value = (weights * objective.of_ensembles(joint, log_gamma)).sum() / members_per_ensemble
        learning = -(weights * (target * log_gamma).sum(axis=0)).sum() / members_per_ensemble
        loss = jnp.where(epoch < schedule.warmup, learning, schedule.penalty * trace - value)

        log_density = logsumexp(joint, axis=0)
        divergence = (gamma * (log_gamma - joint + log_density)).sum(axis=0)
        record = jnp.stack(
            [loss, (weights * log_density).sum() / members_per_ensemble, (weights * divergence).sum()]
        )
        return loss, (parameters, record)

    def one_epoch(epoch: Array, state: DeepState) -> DeepState:
        fixed = lax.stop_gradient(state.parameters)
        slope, (parameters, record) = jax.grad(loss_of, has_aux=True)(state.network, epoch, fixed)
        direction, optimiser = ADAM.update(slope, state.optimiser)
        rate = schedule.learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * epoch / schedule.max_epochs))
        network = optax.apply_updates(state.network, optax.tree.scale(-rate, direction))
        # A step that is not finite is not taken; the history shows it.
        finite = jnp.isfinite(optax.tree.norm(slope)) & jnp.isfinite(record).all()
        network, optimiser, parameters = jax.tree.map(
            partial(jnp.where, finite),
            (network, optimiser, parameters),
            (state.network, state.optimiser, state.parameters),
        )
        return DeepState(epoch + 1, network, optimiser, parameters, state.history.at[epoch].set(record))

    return lax.fori_loop(state.epoch, stop, one_epoch, state)


def train_with_reports(
    advance: Callable[[DeepState, int], DeepState],
    state: DeepState,
    max_epochs: int,
    stops: list[int],
    on_stop: Callable[[DeepState], None],
) -> DeepState:
    """Train up to ``max_epochs``, handing the state to ``on_stop`` at the epochs in ``stops``."""
    for stop in sorted({*stops, max_epochs}):
        if stop > 0:
            state = advance(state, stop)
        if stop in stops:
            on_stop(state)
    return state
