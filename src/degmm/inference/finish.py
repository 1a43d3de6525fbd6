"""The end of a deep fit: one exact M-step on all ensembles, and exact EM steps that polish it."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from degmm.arrays import Array
from degmm.compilation import jit
from degmm.families.base import Family, Limits, MixtureParameters, Statistics
from degmm.inference.batches import Ensembles
from degmm.inference.deep import DeepState
from degmm.inference.mixture import evaluate, into_blocks
from degmm.inference.responses import prior_of, respond
from degmm.inference.search import SIDE_BY_SIDE, EMSettings, best_run
from degmm.inference.solution import Result, Solution
from degmm.moments import Moments, bucket, padded
from degmm.processes import total
from degmm.sharding import current_mesh


class Trained(NamedTuple):
    """One trained network, and the parameters it was trained with."""

    network: Any
    parameters: MixtureParameters


def current_network(state: DeepState, index: int) -> Trained:
    """Return one of the networks of a training, as it is."""
    return Trained(*jax.tree.map(lambda leaf: np.asarray(leaf)[index], (state.network, state.parameters)))


def network_of(state: DeepState, index: int) -> Trained:
    """Return one of the networks of a training: where it was best on the validation set, if it ever was."""
    if state.best is not None and np.isfinite(np.asarray(state.best.value)[index]):
        state = state._replace(network=state.best.network, parameters=state.best.parameters)
    return current_network(state, index)


def responsibilities(
    graph: Any, network: Any, reference: Float[np.ndarray, "K"], ensembles: Ensembles
) -> Float[np.ndarray, "K n"]:
    """Return the network's responsibilities of all ensembles, block by block."""
    parts = [
        np.asarray(respond(graph, network, reference, block.inputs()))[:, : block.n_samples]
        for block in ensembles.blocks()
    ]
    return np.concatenate(parts, axis=1)


def full_m_step(
    graph: Any,
    family: Family,
    trained: Trained,
    reference: Float[np.ndarray, "K"],
    ensembles: Ensembles,
    limits: Limits,
) -> MixtureParameters:
    """Return the parameters that the network's responsibilities of all ensembles determine."""
    found: Any = None
    parameters = trained.parameters
    for block in ensembles.blocks():
        gamma = respond(graph, trained.network, reference, block.inputs())
        part = _statistics(family, parameters, padded(block.moments, bucket(block.n_samples)), gamma)
        found = part if found is None else jax.tree.map(jnp.add, found, part)
    found = total(jax.tree.map(np.asarray, found))
    return jax.tree.map(np.asarray, _m_step(family, found, parameters, limits))


@partial(jit, static_argnums=0)
def _statistics(
    family: Family, parameters: MixtureParameters, moments: Moments, gamma: Float[Array, "K n"]
) -> Statistics:
    return family.statistics(family.factor(parameters), moments, gamma)


@partial(jit, static_argnums=0)
def _m_step(
    family: Family, statistics: Statistics, parameters: MixtureParameters, limits: Limits
) -> MixtureParameters:
    return family.m_step(statistics, family.factor(parameters), limits)


def polished(
    graph: Any, family: Family, found: Trained, ensembles: Ensembles, settings: EMSettings, steps: int
) -> Solution:
    """Return the trained parameters after exact EM steps, never worse than before them.

    With context the prior of the clusters is the network's, and stays as it is.
    """
    trained = found.parameters
    moments = ensembles.moments
    if ensembles.context is None and steps:
        # On small data, copies of the one start cost less than a compilation for another shape.
        small = current_mesh() is None and len(into_blocks(moments, settings.n_components).counts) == 1
        copies = min(SIDE_BY_SIDE, settings.n_init) if small else 1
        start = jax.tree.map(lambda part: np.repeat(part[None], copies, axis=0), trained)
        return best_run(family, start, moments, settings, max_iter=steps)
    prior = None
    if ensembles.context is not None:
        prior = np.asarray(prior_of(graph, found.network, trained.weights, ensembles.context))
    value = _likelihood(family, trained, moments, prior)
    for _ in range(steps):
        gamma = evaluate(family, trained, moments, prior)[1]
        statistics = total(jax.tree.map(np.asarray, _statistics(family, trained, moments, gamma)))
        step = _m_step(family, statistics, trained, settings.limits(moments))
        step = MixtureParameters(*map(np.asarray, step))._replace(weights=trained.weights)
        better = _likelihood(family, step, moments, prior)
        if not better > value:
            break
        trained, value = step, better
    if prior is not None:  # from here on π_k is the mean over the contexts
        share = np.asarray(moments.weights / total(moments.weights.sum()), np.float64)
        trained = trained._replace(weights=total(np.exp(prior) @ share).astype(trained.weights.dtype))
    return Solution(trained, value, 0, np.zeros(0), Result.COMPLETED, True)


def _likelihood(
    family: Family, parameters: MixtureParameters, moments: Moments, prior: np.ndarray | None
) -> float:
    log_density = evaluate(family, parameters, moments, prior)[0]
    return total(float(np.asarray(moments.weights, np.float64) @ np.asarray(log_density, np.float64)))
