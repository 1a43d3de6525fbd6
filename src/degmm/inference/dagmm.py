"""Training of DAGMM: compression, estimation and the mixture of each batch together (Zong et al. 2018)."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.scipy.special import logsumexp
from jaxtyping import Float, Int

from degmm.arrays import Array
from degmm.compilation import jit
from degmm.families.base import Family, Limits, MixtureParameters
from degmm.inference.mixture import log_joint
from degmm.moments import Moments
from degmm.nets.dagmm import merged
from degmm.scatter import NoScatter

ADAM = optax.scale_by_adam()
RECORD = ("loss", "reconstruction", "energy")
"""Columns of the history: the loss, its mean ‖x − x'‖², and its mean energy, each a row"""


class DAGMMSchedule(NamedTuple):
    """How training goes on, and what is minimised."""

    learning_rate: Float[Array, ""]
    last_rate: Float[Array, ""]
    """Adam's rate falls from ``learning_rate`` to this along a cosine"""
    max_epochs: Int[Array, ""]
    n_batches: Int[Array, ""]
    """Batches of an epoch; their sizes differ by one row at most, so that none is a remnant"""
    energy: Float[Array, ""]
    """λ₁ of the loss mean ‖x − x'‖² + λ₁ mean E(z) + λ₂ Σ_k Σ_j 1/Σ_kjj"""
    penalty: Float[Array, ""]
    """λ₂"""
    ridge: Float[Array, ""]
    """Added to the diagonals of the covariances of z"""
    noise: Float[Array, ""] | None
    """Standard deviation of the noise added to what the encoder reads; None for no noise"""


class DAGMMState(NamedTuple):
    """State of a training."""

    epoch: Int[Array, ""]
    network: Any
    optimiser: Any
    history: Float[Array, "capacity 3"]
    """The columns of ``RECORD`` by epoch, each the mean over its rows; not finite where a step was not"""


def initial_state(network: Any, max_epochs: int) -> DAGMMState:
    """Return the state before the first epoch."""
    # NumPy: what JAX makes one by one, it compiles one by one.
    dtype = jax.tree.leaves(network)[0].dtype
    optimiser = jax.eval_shape(ADAM.init, network)
    capacity = 2 ** int(np.ceil(np.log2(max(max_epochs, 1024))))
    return DAGMMState(
        epoch=np.array(0),
        network=network,
        optimiser=jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), optimiser),
        history=np.zeros((capacity, len(RECORD)), dtype),
    )


@partial(jit, static_argnums=(0, 1, 2), donate_argnums=3)
def train(
    graph: Any,
    family: Family,
    batch_size: int,
    state: DAGMMState,
    rows: Float[Array, "r D"],
    edges: Float[Array, "r"] | None,
    n_rows: Int[Array, ""],
    limits: Limits,
    schedule: DAGMMSchedule,
    seed: Array,
    stop: Int[Array, ""],
) -> DAGMMState:
    """Train from the state's epoch up to epoch ``stop``.

    Rows beyond ``n_rows`` fill the array up and are never seen. An epoch goes through all rows once, in
    a new order; where ``edges``, the sums of the weights up to each row, are given, it has as many rows,
    each as often as its share of the weights says. So a batch is never one of light rows alone. The
    mixture is that of the batch: the M-step of the estimation network's probabilities.
    """
    key = jax.random.key(seed)
    smaller, larger = n_rows // schedule.n_batches, n_rows % schedule.n_batches

    def loss_of(network: Any, x: Array, share: Array, key: Array) -> tuple[Array, Array]:
        module = merged(graph, network)
        for_noise, for_dropout = jax.random.split(key)
        noise = None
        if schedule.noise is not None:
            noise = schedule.noise * jax.random.normal(for_noise, x.shape, x.dtype)
        z, again = module.latent(x, noise)
        gamma = jnp.exp(module.log_gamma(z, for_dropout))
        moments = single_members(z, share)
        centred = jnp.broadcast_to(lax.stop_gradient(share @ z), (len(gamma), z.shape[1]))
        parameters = _m_step(family, gamma, moments, centred, limits, schedule.ridge)
        joint = log_joint(family, family.factor(parameters), moments)
        energy = -share @ logsumexp(joint, axis=0)
        error = share @ ((x - again) ** 2).sum(axis=1)
        narrow = (1 / jnp.diagonal(parameters.within, axis1=1, axis2=2)).sum()
        loss = error + schedule.energy * energy + schedule.penalty * narrow
        return loss, jnp.stack([loss, error, energy])

    def one_batch(place: Array, carry: tuple[DAGMMState, Array]) -> tuple[DAGMMState, Array]:
        state, order = carry
        offset = jnp.arange(batch_size)
        # the first ``larger`` batches have a row more
        first = place * smaller + jnp.minimum(place, larger)
        size = smaller + (place < larger)
        chosen = order[jnp.minimum(first + offset, n_rows - 1)]
        share = jnp.where(offset < size, 1 / size, 0).astype(rows.dtype)
        now = jax.random.fold_in(jax.random.fold_in(key, state.epoch), place + 1)
        slope, record = jax.grad(loss_of, has_aux=True)(state.network, rows[chosen], share, now)
        direction, moments = ADAM.update(slope, state.optimiser)
        done = state.epoch / schedule.max_epochs
        rate = schedule.last_rate + (schedule.learning_rate - schedule.last_rate) * 0.5 * (
            1 + jnp.cos(jnp.pi * done)
        )
        moved = optax.apply_updates(state.network, optax.tree.scale(-rate, direction))
        # a step that is not finite is not taken; the history shows it
        finite = jnp.isfinite(optax.tree.norm(slope)) & jnp.isfinite(record).all()
        record = jnp.where(finite, record, jnp.nan)
        network, optimiser = jax.tree.map(
            partial(jnp.where, finite), (moved, moments), (state.network, state.optimiser)
        )
        history = state.history.at[state.epoch].add(record * (size / n_rows))
        return DAGMMState(state.epoch, network, optimiser, history), order

    def one_epoch(state: DAGMMState) -> DAGMMState:
        own, places = jax.random.fold_in(jax.random.fold_in(key, state.epoch), 0), jnp.arange(len(rows))
        lots = jax.random.uniform(own, places.shape, rows.dtype)
        order = jnp.argsort(jnp.where(places < n_rows, lots, 2))
        if edges is not None:
            start = jax.random.uniform(jax.random.fold_in(own, 1), (), rows.dtype)
            drawn = jnp.searchsorted(edges, (order + start) * (edges[-1] / n_rows), side="right")
            order = jnp.minimum(drawn, n_rows - 1)
        state, _ = lax.fori_loop(0, schedule.n_batches, one_batch, (state, order))
        return state._replace(epoch=state.epoch + 1)

    return lax.while_loop(lambda s: s.epoch < stop, one_epoch, state)


def single_members(z: Float[Array, "r L"], weights: Float[Array, "r"]) -> Moments:
    """Return rows as the moments of ensembles of one member."""
    return Moments(jnp.ones_like(weights), z.T, NoScatter(jnp.zeros((0, len(weights)), z.dtype)), weights)


def _m_step(
    family: Family,
    gamma: Float[Array, "K r"],
    moments: Moments,
    about: Float[Array, "K L"],
    limits: Limits,
    ridge: Float[Array, ""],
) -> MixtureParameters:
    """Return the parameters of cluster probabilities, from sums about a point near the data."""
    K, L = about.shape
    identity = jnp.broadcast_to(jnp.eye(L, dtype=about.dtype), (K, L, L))
    before = MixtureParameters(jnp.full(K, 1 / K, about.dtype), about, identity, jnp.zeros_like(identity))
    factors = family.factor(before)
    found = family.m_step(family.statistics(factors, moments, gamma), factors, limits)
    return found._replace(within=found.within + ridge * identity)
