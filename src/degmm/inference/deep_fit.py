"""A deep fit from start to end: starting responsibilities, training, polish, record."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from degmm import nets
from degmm.families.base import Family, MixtureParameters
from degmm.families.covariance import at_floor
from degmm.inference.deep import (
    DeepState,
    Schedule,
    initial_state,
    respond,
    train,
    train_with_reports,
)
from degmm.inference.mixture import evaluate, into_blocks
from degmm.inference.objectives import Objective
from degmm.inference.progress import TrainingProgress
from degmm.inference.search import SIDE_BY_SIDE, EMSettings, best_run, short_runs
from degmm.inference.solution import Result, Solution, reorder
from degmm.moments import Moments, bucket, padded
from degmm.nets import EncoderInputs, EncoderSizes

PROGRESS_REPORTS = 20
"""Number of progress reports over a training."""


@dataclass(frozen=True)
class DeepSettings:
    """What a deep fit needs beside the data, the family and the sizes."""

    start: EMSettings
    encoder: str
    objective: Objective
    penalty: float
    max_epochs: int
    warmup: int
    learning_rate: float
    polish: int
    snapshots: int
    progress: bool


class Snapshot(NamedTuple):
    """The mixture at one epoch of a training."""

    epoch: int
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    labels: np.ndarray


class DeepFit(NamedTuple):
    """What a deep fit gives."""

    network: Any
    """Parameters of the network"""
    prior: np.ndarray
    """π_k in the order of the network's outputs"""
    order: np.ndarray
    """The network's output that each cluster is"""
    solution: Solution
    history: np.ndarray
    """Loss and log-likelihood a member and KL an ensemble, by epoch, shape (epochs, 3)"""
    snapshots: list[Snapshot]


def fit_deep(
    family: Family,
    moments: Moments,
    inputs: EncoderInputs,
    sizes: EncoderSizes,
    settings: DeepSettings,
    rng: np.random.Generator,
) -> DeepFit:
    """Train a network on all ensembles, then polish its parameters by exact EM steps."""
    n, dtype = moments.n_samples, moments.mean.dtype
    start = short_runs(family, moments, settings.start, rng)
    start = jax.tree.map(lambda part: part[0], start)
    target = evaluate(family, start, moments)[1]
    graph = nets.structure(settings.encoder, sizes)
    network = nets.initial_parameters(settings.encoder, sizes, int(rng.integers(2**31 - 1)), dtype)
    schedule = Schedule(
        jnp.asarray(settings.learning_rate, dtype),
        jnp.asarray(settings.max_epochs),
        jnp.asarray(settings.warmup),
        jnp.asarray(settings.penalty, dtype),
    )
    limits = settings.start.limits(moments)
    whole = padded(moments, bucket(n))
    target = np.pad(target, [(0, 0), (0, bucket(n) - n)])

    def advance(state: DeepState, stop: int) -> DeepState:
        return train(
            graph,
            family,
            settings.objective,
            state,
            inputs,
            whole,
            target,
            limits,
            schedule,
            jnp.asarray(stop),
        )

    stops, snapshots = _stops(settings), []
    state = initial_state(network, start, settings.max_epochs)
    with TrainingProgress(settings.progress, settings.max_epochs) as progress:

        def on_stop(state: DeepState) -> None:
            epoch = int(state.epoch)
            if epoch in stops["progress"]:
                progress.report(epoch, np.asarray(state.history[max(epoch - 1, 0)]))
            if epoch in stops["snapshots"]:
                snapshots.append(_snapshot(graph, state, inputs, n))

        every = sorted(stops["progress"] | stops["snapshots"])
        state = train_with_reports(advance, state, settings.max_epochs, every, on_stop)

    history = np.asarray(state.history[: settings.max_epochs], np.float64)
    solution = _polished(family, state, moments, settings, history)
    order = np.argsort(-np.asarray(solution.parameters.weights), kind="stable")
    return DeepFit(
        network=jax.tree.map(np.asarray, state.network),
        prior=np.asarray(state.parameters.weights),
        order=order,
        solution=solution._replace(parameters=reorder(solution.parameters, order)),
        history=history,
        snapshots=[_reordered(snapshot, order) for snapshot in snapshots],
    )


def _stops(settings: DeepSettings) -> dict[str, set[int]]:
    last = settings.max_epochs
    reports = np.linspace(0, last, PROGRESS_REPORTS + 1) if settings.progress else np.zeros(0)
    kept = np.geomspace(1, last + 1, settings.snapshots) - 1
    return {
        "progress": {round(e) for e in reports.tolist()} - {0},
        "snapshots": {round(e) for e in kept.tolist()},
    }


def _snapshot(graph: Any, state: DeepState, inputs: EncoderInputs, n: int) -> Snapshot:
    parameters = MixtureParameters(*map(np.asarray, state.parameters))
    gamma = respond(graph, state.network, jnp.log(state.parameters.weights), inputs)
    return Snapshot(
        int(state.epoch),
        parameters.weights,
        parameters.means.astype(np.float64),
        (parameters.within + parameters.between).astype(np.float64),
        np.asarray(gamma)[:n].argmax(axis=1),
    )


def _reordered(snapshot: Snapshot, order: np.ndarray) -> Snapshot:
    position = np.argsort(order)
    return snapshot._replace(
        weights=snapshot.weights[order],
        means=snapshot.means[order],
        covariances=snapshot.covariances[order],
        labels=position[snapshot.labels],
    )


def _polished(
    family: Family, state: DeepState, moments: Moments, settings: DeepSettings, history: np.ndarray
) -> Solution:
    """Return the trained parameters after the exact EM steps asked for, never worse than before them."""
    trained = MixtureParameters(*map(np.asarray, state.parameters))
    weights = np.asarray(moments.weights, np.float64)
    if settings.polish:
        # On small data, copies of the one start cost less than a compilation for another shape.
        small = len(into_blocks(moments, settings.start.n_components).counts) == 1
        copies = min(SIDE_BY_SIDE, settings.start.n_init) if small else 1
        start = jax.tree.map(lambda part: np.repeat(part[None], copies, axis=0), trained)
        solution = best_run(family, start, moments, settings.start, max_iter=settings.polish)
    else:
        value = float(weights @ np.asarray(evaluate(family, trained, moments)[0], np.float64))
        solution = Solution(trained, value, 0, history[:, 1], Result.COMPLETED, False)
    finite = np.isfinite(history).all() and np.isfinite(solution.log_likelihood)
    floored = at_floor(solution.parameters.within, settings.start.reg_covar).any()
    result = Result.NON_FINITE if not finite else Result.AT_FLOOR if floored else Result.COMPLETED
    return solution._replace(result=result, n_iter=settings.max_epochs, converged=bool(finite))
