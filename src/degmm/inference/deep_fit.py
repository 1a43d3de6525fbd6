"""A deep fit from start to end: starting responsibilities, training, polish, record."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from degmm import nets
from degmm.families.base import Family, MixtureParameters
from degmm.families.covariance import at_floor
from degmm.inference.batches import Ensembles, random_subset, stacked
from degmm.inference.checkpoints import Checkpoints
from degmm.inference.deep import DeepState, Schedule, Sets, initial_state, respond, train
from degmm.inference.finish import full_m_step, polished
from degmm.inference.mixture import evaluate
from degmm.inference.objectives import Objective
from degmm.inference.progress import TrainingProgress
from degmm.inference.search import EMSettings, search_on_sample
from degmm.inference.solution import Result, Solution, reorder
from degmm.nets import EncoderSizes, MakeEncoder

PROGRESS_REPORTS = 20
"""Number of progress reports over a training."""
CHUNK_BATCHES = 64
"""Batches that are handed to the compiled training at a time."""


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
    sizes : EncoderSizes
    settings : DeepSettings
    rng : Generator
    checkpoints : Checkpoints
        Where the training goes on from, and leaves its states.
    """
    start = search_on_sample(family, ensembles.moments, settings.start, rng)[0].parameters
    graph = nets.structure(settings.encoder, sizes)
    inputs = ensembles.inputs()
    weights = np.pad(ensembles.moments.weights, [(0, inputs.mean.shape[0] - ensembles.n_samples)])
    network = nets.initial_parameters(settings.encoder, sizes, int(rng.integers(2**31 - 1)), inputs, weights)
    views = [ensembles]
    views += [random_subset(ensembles, members, rng) for _ in range(settings.member_subsets)]
    feed = Feed(family, views, validation, start, settings, int(rng.integers(2**31 - 1)))
    dtype, steps = ensembles.moments.mean.dtype, feed.epoch_steps
    schedule = Schedule(
        jnp.asarray(settings.learning_rate, dtype),
        jnp.asarray(settings.max_epochs * steps),
        jnp.asarray(steps),
        jnp.asarray(round(settings.warmup * settings.max_epochs) * steps),
        jnp.asarray(settings.penalty, dtype),
        jnp.asarray(settings.clip_norm, dtype),
        jnp.asarray(settings.patience),
    )
    limits = settings.start.limits(ensembles.moments)

    def advance(state: DeepState, sets: Sets, stop: int) -> DeepState:
        return train(
            graph, family, settings.objective, state, start, sets, limits, schedule, jnp.asarray(stop)
        )

    snapshots: list[Snapshot] = []
    state = initial_state(network, start, settings.max_epochs, validated=validation is not None)
    state = checkpoints.latest(state)
    stops = _stops(settings)
    saved = checkpoints.epochs(settings.max_epochs)
    with TrainingProgress(settings.progress, settings.max_epochs) as progress:

        def on_stop(state: DeepState, epoch: int) -> None:
            if epoch in stops["progress"]:
                done = int(state.step) // steps  # fewer, if it has stopped early
                progress.report(done, np.asarray(state.history[max(done - 1, 0)]))
            if epoch in stops["snapshots"]:
                snapshots.append(_snapshot(graph, state, start.weights, ensembles, epoch))
            if epoch in saved:
                checkpoints.save(epoch, state)

        state = _trained(feed, advance, state, stops["progress"] | stops["snapshots"] | saved, on_stop)

    n_epochs = int(state.step) // steps
    history = np.asarray(state.history[:n_epochs], np.float64)
    if state.best is not None and np.isfinite(state.best.value):
        state = state._replace(network=state.best.network, parameters=state.best.parameters)
    if steps > 1:
        parameters = full_m_step(graph, family, state, start.weights, ensembles, limits)
        state = state._replace(parameters=parameters)
    solution = polished(graph, family, state, ensembles, settings.start, settings.polish)
    solution = solution._replace(
        history=history[:, 1], n_iter=n_epochs, **_ending(history, solution, settings, n_epochs)
    )
    order = np.argsort(-np.asarray(solution.parameters.weights), kind="stable")
    return DeepFit(
        network=jax.tree.map(np.asarray, state.network),
        reference=np.asarray(start.weights),
        prior=np.asarray(state.parameters.weights),
        order=order,
        solution=solution._replace(parameters=reorder(solution.parameters, order)),
        history=history,
        warmup=round(settings.warmup * settings.max_epochs),
        snapshots=[_reordered(snapshot, order) for snapshot in snapshots],
    )


class Feed:
    """Hands the ensembles to the training: all as one batch, or batches in a new order each epoch."""

    def __init__(
        self,
        family: Family,
        views: list[Ensembles],
        validation: Ensembles | None,
        start: MixtureParameters,
        settings: DeepSettings,
        seed: int,
    ) -> None:
        whole = views[0]
        self._views, self._seed = views, seed
        self._targets = [evaluate(family, start, view.moments)[1] for view in views]
        size = settings.batch_size
        self._size = None if size is None or size >= whole.n_samples else size
        self.epoch_steps = 1 if self._size is None else -(-whole.n_samples // self._size)
        self._validation = None
        if validation is not None:
            self._validation = validation.batch(evaluate(family, start, validation.moments)[1])
        self._whole = self._sets([np.arange(whole.n_samples)]) if self._size is None else None

    def between(self, step: int, stop: int) -> tuple[Sets, int]:
        """Return batches from a step on, and the step up to which they last, ``stop`` at most."""
        if self._whole is not None:
            return self._whole, stop
        epoch, first = divmod(step, self.epoch_steps)
        n, size = self._views[0].n_samples, self._size
        assert size is not None
        order = np.random.default_rng((self._seed, epoch)).permutation(n)
        order = np.resize(order, self.epoch_steps * size).reshape(self.epoch_steps, size)
        # The training takes batch ``step % length`` of a chunk: chunks are aligned to that.
        length = min(CHUNK_BATCHES, self.epoch_steps)
        chunk = first // length
        index = order[chunk * length : (chunk + 1) * length]
        index = np.resize(index, (length, size))
        places = (np.arange(length) - (epoch * self.epoch_steps + chunk * length)) % length
        last = min((chunk + 1) * length, self.epoch_steps) + epoch * self.epoch_steps
        return self._sets(list(index[places])), min(last, stop)

    def _sets(self, indices: list[Int[np.ndarray, "b"]]) -> Sets:
        size = self._size

        def batches(view: Ensembles, target: np.ndarray) -> Any:
            return stacked([view.take(i).batch(target[:, i], size) for i in indices])

        made = [batches(*pair) for pair in zip(self._views, self._targets, strict=True)]
        subsets = stacked(made[1:]) if len(made) > 1 else None
        return Sets(made[0], subsets, self._validation)


def _trained(
    feed: Feed,
    advance: Callable[[DeepState, Sets, int], DeepState],
    state: DeepState,
    stops: set[int],
    on_stop: Callable[[DeepState, int], None],
) -> DeepState:
    """Train to the last of ``stops``, handing the state to ``on_stop`` after those epochs."""
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
    graph: Any, state: DeepState, reference: np.ndarray, ensembles: Ensembles, epoch: int
) -> Snapshot:
    parameters = MixtureParameters(*map(np.asarray, state.parameters))
    gamma = respond(graph, state.network, reference, ensembles.inputs())
    return Snapshot(
        epoch,
        parameters.weights,
        parameters.means.astype(np.float64),
        (parameters.within + parameters.between).astype(np.float64),
        np.asarray(gamma)[:, : ensembles.n_samples].argmax(axis=0),
    )


def _reordered(snapshot: Snapshot, order: np.ndarray) -> Snapshot:
    position = np.argsort(order)
    return snapshot._replace(
        weights=snapshot.weights[order],
        means=snapshot.means[order],
        covariances=snapshot.covariances[order],
        labels=position[snapshot.labels],
    )


def _ending(history: np.ndarray, solution: Solution, settings: DeepSettings, n_epochs: int) -> dict[str, Any]:
    """Return how a training ended."""
    finite = bool(np.isfinite(history[:, :3]).all() and np.isfinite(solution.log_likelihood))
    if not finite:
        return {"result": Result.NON_FINITE, "converged": False}
    if at_floor(solution.parameters.within, settings.start.reg_covar).any():
        return {"result": Result.AT_FLOOR, "converged": True}
    early = n_epochs < settings.max_epochs
    return {"result": Result.CONVERGED if early else Result.COMPLETED, "converged": True}
