"""A deep fit from start to end: starting responsibilities, training, polish, record."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from degmm import nets
from degmm.families.base import Family
from degmm.families.covariance import CovarianceStructure, at_floor, dense
from degmm.inference.batches import Ensembles, random_subset
from degmm.inference.checkpoints import Checkpoints
from degmm.inference.deep import DeepState, Schedule, Sets, initial_state, train_on_devices
from degmm.inference.feed import Feed
from degmm.inference.finish import (
    Trained,
    current_network,
    full_m_step,
    network_of,
    polished,
    responsibilities,
)
from degmm.inference.objectives import Objective
from degmm.inference.progress import TrainingProgress
from degmm.inference.search import EMSettings, search_on_sample
from degmm.inference.solution import Result, Solution, reorder
from degmm.nets import EncoderSizes, MakeEncoder
from degmm.processes import from_first, sample_of_all, total

SCALE_SAMPLE = 8192
"""Ensembles from which the scales of what encoders read are taken, at most."""
SHORT = 0.01
"""Log-likelihood, nats per member, by which a trained network may be below the clusters it started from."""
PROGRESS_REPORTS = 20
"""Number of progress reports over a training."""


@dataclass(frozen=True)
class DeepSettings:
    """What a deep fit needs beside the data, the family and the sizes."""

    start: EMSettings
    encoder: MakeEncoder
    objective: Objective
    penalty: float
    max_epochs: int
    batch_size: int | None
    """Ensembles in a batch; None for all"""
    warmup: float
    """Share of the epochs"""
    learning_rate: float
    clip_norm: float
    member_subsets: int
    """Random subsets of each ensemble's members that the network also sees; 0 for none"""
    patience: int
    n_networks: int
    """Networks that are trained side by side, from different initial weights"""
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
    reference: np.ndarray
    """π_k that the scores are relative to, in the order of the network's outputs"""
    prior: np.ndarray
    """π_k that the gate tilts, likewise"""
    order: np.ndarray
    """The network's output that each cluster is"""
    solution: Solution
    history: np.ndarray
    """The columns of ``degmm.inference.deep.RECORD`` by epoch"""
    warmup: int
    """Epochs of the warm-up"""
    snapshots: list[Snapshot]


def fit_deep(
    family: Family,
    ensembles: Ensembles,
    members: Float[np.ndarray, "n M D"],
    validation: Ensembles | None,
    shown: Ensembles,
    sizes: EncoderSizes,
    settings: DeepSettings,
    rng: np.random.Generator,
    checkpoints: Checkpoints,
) -> DeepFit:
    """Train a network on ensembles, then polish its parameters by exact EM steps.

    Parameters
    ----------
    family : Family
    ensembles : Ensembles
    members : ndarray, shape (n, M, D)
        Their members, for random subsets of them.
    validation : Ensembles, optional
        By which the best network of the training is chosen.
    shown : Ensembles
        Those whose labels the snapshots hold.
    sizes : EncoderSizes
    settings : DeepSettings
    rng : Generator
    checkpoints : Checkpoints
        Where the training goes on from, and leaves its states.
    """
    start = search_on_sample(family, ensembles.moments, settings.start, rng).parameters
    graph = nets.structure(settings.encoder, sizes)
    networks = _initial_networks(ensembles, sizes, settings, rng)
    views = [ensembles]
    views += [random_subset(ensembles, members, rng) for _ in range(settings.member_subsets)]
    rng = from_first(rng)  # which has served unequal parts
    seed = int(rng.integers(2**31 - 1))
    feed = Feed(family, views, validation, start, settings.batch_size, seed)
    steps = feed.epoch_steps
    schedule = _schedule(settings, feed, ensembles)
    limits = settings.start.limits(ensembles.moments)

    def advance(state: DeepState, sets: Sets, stop: int) -> DeepState:
        return train_on_devices(
            graph, family, settings.objective, state, start, sets, limits, schedule, np.asarray(stop)
        )

    snapshots: list[list[Snapshot]] = []
    state = initial_state(networks, start, settings.max_epochs, validated=validation is not None)
    state = checkpoints.latest(state)
    stops = _stops(settings)
    saved = checkpoints.epochs(settings.max_epochs)
    offset = ensembles.scaling.log_jacobian
    with TrainingProgress(settings.progress, settings.max_epochs) as progress:

        def on_stop(state: DeepState, planned: int) -> None:
            epoch = int(state.step) // steps  # less than planned, if it has stopped early
            if planned in stops["progress"] or state.stopped:
                record = np.asarray(state.history)[max(epoch - 1, 0)]
                loss, likelihood, divergence = record[record[:, 0].argmin()][:3]
                progress.report(
                    epoch,
                    f"loss {loss:.4f}, log-likelihood {likelihood - offset:.4f} a member, "
                    f"KL {max(divergence, 0):.4f}",
                )
            if settings.snapshots and (planned in stops["snapshots"] or state.stopped):
                networks = [current_network(state, r) for r in range(settings.n_networks)]
                snapshots.append([_snapshot(graph, one, start.weights, shown, epoch) for one in networks])
            if planned in saved or (saved and state.stopped):
                checkpoints.save(epoch, state)

        state = _trained(feed, advance, state, stops["progress"] | stops["snapshots"] | saved, on_stop)

    n_epochs = int(state.step) // steps
    chosen = _best_network(state, n_epochs)
    history = np.asarray(state.history, np.float64)[:n_epochs, chosen]
    trained = network_of(state, chosen)
    if steps > 1:
        parameters = full_m_step(graph, family, trained, start.weights, ensembles, limits)
        trained = trained._replace(parameters=parameters)
    solution = polished(graph, family, trained, ensembles, settings.start, settings.polish)
    mass = total(float(np.asarray(ensembles.moments.weights, np.float64) @ ensembles.moments.counts))
    short = (feed.start_log_likelihood - solution.log_likelihood) / mass
    solution = solution._replace(
        history=history[:, 1],
        n_iter=n_epochs,
        **_ending(history, solution, settings, n_epochs, short, family.covariance),
    )
    order = np.argsort(-np.asarray(solution.parameters.weights), kind="stable")
    return DeepFit(
        network=trained.network,
        reference=np.asarray(start.weights),
        prior=trained.parameters.weights,
        order=order,
        solution=solution._replace(parameters=reorder(solution.parameters, order)),
        history=history,
        warmup=round(settings.warmup * settings.max_epochs),
        snapshots=[_reordered(snapshot[chosen], order) for snapshot in snapshots],
    )


def _initial_networks(
    ensembles: Ensembles, sizes: EncoderSizes, settings: DeepSettings, rng: np.random.Generator
) -> Any:
    """Return the initial networks, with scales from a sample of the ensembles."""
    seed = int(rng.integers(2**31 - 1))
    chosen, _ = sample_of_all(ensembles.n_samples, SCALE_SAMPLE, rng)
    some = (ensembles if chosen is None else ensembles.take(chosen)).of_all_processes()
    inputs = some.inputs()
    nets.check_scores(settings.encoder, sizes, inputs)
    weights = np.pad(some.moments.weights, [(0, inputs.mean.shape[0] - some.n_samples)])
    made = nets.initial_parameters(settings.encoder, sizes, seed, settings.n_networks, inputs, weights)
    leaves, structure = jax.tree.flatten(made)
    return jax.tree.unflatten(structure, from_first(leaves))


def _schedule(settings: DeepSettings, feed: Feed, ensembles: Ensembles) -> Schedule:
    epoch_steps, dtype = feed.epoch_steps, ensembles.moments.mean.dtype
    weights, counts = (
        np.asarray(p, np.float64) for p in (ensembles.moments.weights, ensembles.moments.counts)
    )
    members, mass = total((weights @ counts, weights.sum()))
    share = feed.batch_samples / feed.n_samples
    return Schedule(
        np.asarray(settings.learning_rate, dtype),
        np.asarray(settings.max_epochs * epoch_steps),
        np.asarray(epoch_steps),
        np.asarray(round(settings.warmup * settings.max_epochs) * epoch_steps),
        np.asarray(settings.penalty, dtype),
        np.asarray(settings.clip_norm, dtype),
        np.asarray(share * mass, dtype),
        np.asarray(share * members, dtype),
        np.asarray(settings.patience),
    )


def _best_network(state: DeepState, n_epochs: int) -> int:
    """Return the network of the best objective: on the validation set, or else in the last epoch."""
    last = -np.asarray(state.history, np.float64)[max(n_epochs - 1, 0), :, 0]
    value = last if state.best is None else np.asarray(state.best.value, np.float64)
    if not np.isfinite(value).any():
        value = last
    return int(np.where(np.isfinite(value), value, -np.inf).argmax())


def _trained(
    feed: Feed,
    advance: Callable[[DeepState, Sets, int], DeepState],
    state: DeepState,
    stops: set[int],
    on_stop: Callable[[DeepState, int], None],
) -> DeepState:
    """Train to the last of ``stops``, handing the state to ``on_stop`` after those epochs."""
    if state.stopped:
        return state  # early, before the training was taken up again
    for epoch in sorted(stops):
        stop = epoch * feed.epoch_steps
        if int(state.step) >= max(stop, 1):
            continue  # done before the training was taken up again
        while int(state.step) < stop and not state.stopped:
            sets, until = feed.between(int(state.step), stop)
            state = advance(state, sets, until)
        on_stop(state, epoch)
        if state.stopped:
            break
    return state


def _stops(settings: DeepSettings) -> dict[str, set[int]]:
    last = settings.max_epochs
    reports = np.linspace(0, last, PROGRESS_REPORTS + 1) if settings.progress else np.array([last])
    kept = np.geomspace(1, last + 1, settings.snapshots) - 1
    return {
        "progress": {round(e) for e in reports.tolist()} - {0},
        "snapshots": {round(e) for e in kept.tolist()},
    }


def _snapshot(
    graph: Any, trained: Trained, reference: np.ndarray, ensembles: Ensembles, epoch: int
) -> Snapshot:
    parameters = trained.parameters
    gamma = responsibilities(graph, trained.network, reference, ensembles)
    return Snapshot(
        epoch,
        parameters.weights,
        parameters.means.astype(np.float64),
        dense(parameters.within + parameters.between).astype(np.float64),
        gamma.argmax(axis=0),
    )


def _reordered(snapshot: Snapshot, order: np.ndarray) -> Snapshot:
    position = np.argsort(order)
    return snapshot._replace(
        weights=snapshot.weights[order],
        means=snapshot.means[order],
        covariances=snapshot.covariances[order],
        labels=position[snapshot.labels],
    )


def _ending(
    history: np.ndarray,
    solution: Solution,
    settings: DeepSettings,
    n_epochs: int,
    short: float,
    structure: CovarianceStructure,
) -> dict[str, Any]:
    """Return how a training ended, ``short`` nats per member below its start."""
    finite = bool(np.isfinite(history[:, :3]).all() and np.isfinite(solution.log_likelihood))
    if not finite:
        return {"result": Result.NON_FINITE, "converged": False}
    # A penalty asks for less likelihood. Clusters that are all equal have an exact γ: KL does not tell.
    if short > SHORT and not settings.penalty:
        return {"result": Result.UNTRAINED, "converged": False}
    if at_floor(solution.parameters.within, settings.start.reg_covar, structure).any():
        return {"result": Result.AT_FLOOR, "converged": True}
    early = n_epochs < settings.max_epochs
    return {"result": Result.CONVERGED if early else Result.COMPLETED, "converged": True}
