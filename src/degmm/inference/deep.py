"""Deep inference: a network gives the E-step, the M-step equations the parameters, Adam the network."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.scipy.special import logsumexp
from jaxtyping import Bool, Float, Int

from degmm.arrays import Array
from degmm.compilation import jit
from degmm.families.base import Family, Limits, MixtureParameters
from degmm.families.derivative import smooth_log_density
from degmm.families.gaussian import diagonal_of
from degmm.inference.batches import Batch
from degmm.inference.objectives import Objective
from degmm.inference.responses import log_prior, response
from degmm.inference.stepwise import averaged, averaging_rate
from degmm.moments import spread
from degmm.sharding import AXIS, STATIC, WHOLE, Spec, gradients_summed, on_devices, over_devices

ADAM = optax.scale_by_adam()
RECORD = ("loss", "log_likelihood", "kl", "validation")
"""Columns of the history: loss and log-likelihood per member, KL(γ‖posterior) an ensemble, and the
objective a member on the validation set"""


class Schedule(NamedTuple):
    """How training goes on over the steps."""

    learning_rate: Float[Array, ""]
    """Adam's rate at the first step; it falls to 0 at the last along a cosine"""
    n_steps: Int[Array, ""]
    epoch_steps: Int[Array, ""]
    """Steps, one a batch, in an epoch"""
    warmup: Int[Array, ""]
    """Steps at the start in which the network learns the starting responsibilities"""
    penalty: Float[Array, ""]
    """λ of the penalty λ Σ_k tr W_k on the loss a member"""
    clip: Float[Array, ""]
    """Largest norm of a gradient; longer ones are shortened to it"""
    batch_weight: Float[Array, ""]
    """Σ w of a batch, in the mean over batches"""
    batch_members: Float[Array, ""]
    """Σ w M, likewise"""
    patience: Int[Array, ""]
    """Epochs without a better validation objective after which training stops"""


class Best(NamedTuple):
    """A network where it was best on the validation set."""

    value: Float[Array, "R"]
    epoch: Int[Array, "R"]
    network: Any
    parameters: MixtureParameters


class DeepState(NamedTuple):
    """State of a training of R networks side by side; R is the first axis of what they own."""

    step: Int[Array, ""]
    network: Any
    optimiser: Any
    parameters: MixtureParameters
    history: Float[Array, "capacity R 4"]
    """The columns of ``RECORD`` by epoch, each the mean over its steps"""
    best: Best | None
    """None where there is no validation set"""
    stopped: Bool[Array, ""]


class Sets(NamedTuple):
    """The ensembles of a training."""

    batches: Batch
    """Batches along a first axis; of length 1, if all ensembles are one batch"""
    subsets: Batch | None
    """The same with random subsets of the members, along one more first axis"""
    validation: Batch | None


def initial_state(
    networks: Any, parameters: MixtureParameters, max_epochs: int, *, validated: bool
) -> DeepState:
    """Return the state before the first step; the networks' parameters are stacked."""
    # NumPy throughout: what JAX makes one by one, it compiles one by one.
    dtype = parameters.means.dtype
    R = jax.tree.leaves(networks)[0].shape[0]
    capacity = 2 ** int(np.ceil(np.log2(max(max_epochs, 1024))))
    parameters = MixtureParameters(*(np.stack([part] * R) for part in parameters))
    optimiser = jax.eval_shape(jax.vmap(ADAM.init), networks)
    best = Best(np.full(R, -np.inf, dtype), np.zeros(R, int), networks, parameters)
    return DeepState(
        step=np.array(0),
        network=networks,
        optimiser=jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), optimiser),
        parameters=parameters,
        history=np.zeros((capacity, R, len(RECORD)), dtype),
        best=best if validated else None,
        stopped=np.array(False),
    )


@partial(jit, static_argnums=(0, 1, 2, 9), donate_argnums=3)
def train(
    graph: Any,
    family: Family,
    objective: Objective,
    state: DeepState,
    start: MixtureParameters,
    sets: Sets,
    limits: Limits,
    schedule: Schedule,
    stop: Int[Array, ""],
    axis: str | None = None,
) -> DeepState:
    """Train from the state's step up to step ``stop``, on one batch after the other.

    The constants of the scores are relative to the weights of ``start`` throughout. Were they relative
    to those of the last step, γ and the weights would feed each other, and clusters be lost.

    ``axis`` is that of the devices that the ensembles are shared out over, if they are.
    """
    count = jax.tree.leaves(sets.batches)[0].shape[0]
    rounds = 0 if sets.subsets is None else jax.tree.leaves(sets.subsets)[0].shape[0]
    alone = jax.tree.leaves(state.network)[0].shape[0] == 1
    side_by_side = (lambda function: function) if alone else jax.vmap
    summed = partial(over_devices, axis)

    def value_of(
        batch: Batch, log_gamma: Array, tilt: Array, parameters: MixtureParameters
    ) -> tuple[Array, Array]:
        """Return the objective, the weighted sum over the device's ensembles, and the log joint densities."""
        joint = log_prior(parameters.weights, tilt) + smooth_log_density(family, parameters, batch.moments)
        return (batch.moments.weights * objective.of_ensembles(joint, log_gamma)).sum(), joint

    def loss_of(
        network: Any, step: Array, previous: MixtureParameters, batch: Batch, subset: Batch | None
    ) -> tuple[Array, Any]:
        network = gradients_summed(axis, network)
        log_gamma, tilt = response(graph, network, start.weights, batch.inputs)
        gamma = jnp.exp(log_gamma)
        settled = gamma if objective.through_m_step else lax.stop_gradient(gamma)
        factors = lax.stop_gradient(family.factor(previous))
        weights = batch.moments.weights
        statistics, mass = summed((family.statistics(factors, batch.moments, settled), weights.sum()))
        parameters = family.m_step(statistics, factors, limits)
        if count > 1:
            rate = averaging_rate(step - schedule.warmup, mass / schedule.batch_weight)
            parameters = averaged(family, previous, parameters, rate)
        value, joint = value_of(batch, log_gamma, tilt, parameters)
        trace = diagonal_of(parameters.within).sum()
        learning = (weights * (batch.target * log_gamma).sum(axis=0)).sum()
        if subset is not None:
            # Fewer members say less: a bound on their likelihood would let small clusters die, and so
            # would learning what the parameters of this step make of them, since those follow γ. The
            # network learns the posterior of fewer members under the clusters that it started from.
            fewer = response(graph, network, start.weights, subset.inputs)
            known = log_prior(start.weights, lax.stop_gradient(fewer.tilt))
            posterior = jax.nn.softmax(known + smooth_log_density(family, start, subset.moments), axis=0)
            value = value + (weights * (posterior * fewer.log_gamma).sum(axis=0)).sum()
            learning = learning + (weights * (subset.target * fewer.log_gamma).sum(axis=0)).sum()
        log_density = logsumexp(joint, axis=0)
        divergence = (gamma * (log_gamma - joint + log_density)).sum(axis=0)
        sums = (value, learning, (weights * log_density).sum(), (weights * divergence).sum())
        value, learning, likelihood, divergence = summed(sums)
        # A member, by what a batch holds on average: a batch of heavy ensembles counts for more.
        loss = jnp.where(
            step < schedule.warmup,
            -learning / schedule.batch_members,
            schedule.penalty * trace - value / schedule.batch_members,
        )

        likelihood, divergence = likelihood / schedule.batch_members, divergence / schedule.batch_weight
        record = [loss, likelihood, divergence, jnp.nan]
        return loss, (parameters, jnp.stack([jnp.asarray(r, loss.dtype) for r in record]))

    def validated(state: DeepState) -> DeepState:
        """Look at the validation set, at the end of an epoch."""
        assert sets.validation is not None
        assert state.best is not None
        batch, epoch = sets.validation, state.step // schedule.epoch_steps

        def look(network: Any, parameters: MixtureParameters, best: Best) -> tuple[Best, Array]:
            log_gamma, tilt = response(graph, network, start.weights, batch.inputs)
            members = batch.moments.weights @ batch.moments.counts
            value, members = summed((value_of(batch, log_gamma, tilt, parameters)[0], members))
            value = value / members
            better = (value > best.value) & (state.step > schedule.warmup)
            found = Best(value, epoch, network, parameters)
            return jax.tree.map(partial(jnp.where, better), found, best), value

        best, values = side_by_side(look)(state.network, state.parameters, state.best)
        waited = epoch - jnp.maximum(best.epoch, schedule.warmup // schedule.epoch_steps)
        history = state.history.at[epoch - 1, ..., 3].set(values)
        return state._replace(history=history, best=best, stopped=(waited >= schedule.patience).all())

    def one_step(state: DeepState) -> DeepState:
        step = state.step
        # all ensembles in one batch are not copied
        place = step % count if count > 1 else 0
        batch = jax.tree.map(lambda part: part[place], sets.batches)
        subset = None
        if sets.subsets is not None:
            subset = jax.tree.map(lambda part: part[(step // count) % rounds, place], sets.subsets)

        def move(network: Any, optimiser: Any, parameters: MixtureParameters) -> Any:
            before = jax.tree.map(partial(jnp.where, step < schedule.warmup), start, parameters)
            slope, (after, record) = jax.grad(loss_of, has_aux=True)(network, step, before, batch, subset)
            norm = optax.tree.norm(slope)
            shortened = jnp.minimum(1, schedule.clip / jnp.maximum(norm, schedule.clip))
            direction, moments = ADAM.update(optax.tree.scale(shortened, slope), optimiser)
            moved = optax.apply_updates(network, optax.tree.scale(-rate_at(schedule, step), direction))
            # A step that is not finite is not taken; the history shows it.
            finite = jnp.isfinite(norm) & jnp.isfinite(record[:3]).all()
            taken = jax.tree.map(
                partial(jnp.where, finite), (moved, moments, after), (network, optimiser, parameters)
            )
            return *taken, record

        network, optimiser, parameters, record = side_by_side(move)(
            state.network, state.optimiser, state.parameters
        )
        epoch = step // schedule.epoch_steps
        history = state.history.at[epoch].add(record / schedule.epoch_steps)
        state = DeepState(step + 1, network, optimiser, parameters, history, state.best, state.stopped)
        if sets.validation is None:
            return state
        return lax.cond((step + 1) % schedule.epoch_steps == 0, validated, lambda same: same, state)

    final = lax.while_loop(
        lambda s: (s.step < stop) & ~s.stopped, one_step, _without_axis(state) if alone else state
    )
    return _with_axis(final) if alone else final


def train_on_devices(*arguments: Any) -> DeepState:
    """Call :func:`train`, with the ensembles shared out over the devices, if there are several."""
    sets: Sets = arguments[5]
    shared = Sets(
        _shared_out(sets.batches, 1),
        None if sets.subsets is None else _shared_out(sets.subsets, 2),
        None if sets.validation is None else _shared_out(sets.validation, 0),
    )
    specs = (STATIC, STATIC, STATIC, WHOLE, WHOLE, shared, WHOLE, WHOLE, WHOLE)
    return on_devices(train, arguments, specs, donated=(3,))


def _shared_out(batch: Batch, leading: int) -> Batch:
    """Return how a batch is shared out over devices, after ``leading`` further axes."""
    ensembles_first = Spec(*[None] * leading, AXIS)
    inputs = jax.tree.map(lambda _: ensembles_first, batch.inputs)
    return Batch(inputs, spread(leading), Spec(*[None] * (leading + 1), AXIS))


def _without_axis(state: DeepState) -> DeepState:
    """Return the state of a single network without the axis of networks: a batch of one costs more."""
    owned = (state.network, state.optimiser, state.parameters, state.best)
    network, optimiser, parameters, best = jax.tree.map(lambda leaf: leaf[0], owned)
    return DeepState(state.step, network, optimiser, parameters, state.history[:, 0], best, state.stopped)


def _with_axis(state: DeepState) -> DeepState:
    owned = (state.network, state.optimiser, state.parameters, state.best)
    network, optimiser, parameters, best = jax.tree.map(lambda leaf: leaf[None], owned)
    return DeepState(state.step, network, optimiser, parameters, state.history[:, None], best, state.stopped)


def rate_at(schedule: Schedule, step: Int[Array, ""]) -> Float[Array, ""]:
    """Return the learning rate of a step.

    When the warm-up ends, Adam knows only the gradients of its objective: the first steps on the new
    one are short ones.
    """
    since = (step - schedule.warmup + 1) / jnp.maximum(schedule.warmup, 1)
    rising = jnp.where(since > 0, jnp.minimum(since, 1), 1)
    return schedule.learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * step / schedule.n_steps)) * rising
