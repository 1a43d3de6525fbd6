"""A fit of DAGMM: the training of the networks, and the final mixture of all rows."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from degmm.families import Family, make_family
from degmm.families.base import Limits
from degmm.families.covariance import at_floor
from degmm.inference.dagmm import RECORD, DAGMMSchedule, initial_state, train
from degmm.inference.mixture import evaluate
from degmm.inference.progress import TrainingProgress
from degmm.inference.search import EMSettings, best_run
from degmm.inference.solution import Result, Solution, reorder
from degmm.inference.starts import parameters_from_responsibilities
from degmm.moments import Moments, bucket
from degmm.nets import dagmm
from degmm.nets.dagmm import DAGMMSizes
from degmm.precision import precision_of

LEAST_WEIGHT = 1e-8
"""Smallest weight of a component in training"""
REPORTS = 20
"""How often progress is reported"""


class DAGMMSettings(NamedTuple):
    """How the networks are trained."""

    max_epochs: int
    batch_size: int
    learning_rate: float
    decay: float
    energy_weight: float
    penalty: float
    noise: float
    reg_covar: float
    ridge: float
    progress: bool


class TrainedDAGMM(NamedTuple):
    """Trained networks, and how training went."""

    networks: Any
    history: Float[np.ndarray, "epochs 3"]
    variance: float
    """Sum of the variables' variances: the error ‖x − x'‖² of reconstructing each row by the mean"""

    @property
    def result(self) -> Result:
        """How training ended; it always runs all epochs."""
        if not np.isfinite(self.history).all():
            return Result.SKIPPED_STEPS
        error = self.history[-1, RECORD.index("reconstruction")] if len(self.history) else 0.0
        return Result.UNLEARNED if error > self.variance > 0 else Result.COMPLETED


def n_batches(n_rows: int, batch_size: int) -> int:
    """Return the number of batches in an epoch."""
    return -(-n_rows // batch_size)


def train_networks(
    rows: Float[np.ndarray, "r D"],
    weights: Float[np.ndarray, "r"],
    sizes: DAGMMSizes,
    settings: DAGMMSettings,
    seed: int,
) -> TrainedDAGMM:
    """Train compression and estimation network together on rows in standard units."""
    share = weights / weights.sum()
    deviation = (rows - (share.astype(rows.dtype) @ rows)) ** 2
    variance = float(share @ deviation.sum(axis=1, dtype=np.float64))
    n, number, full = len(rows), rows.dtype.type, bucket(len(rows))
    rows = np.pad(rows, [(0, full - n), (0, 0)])
    edges = None
    if np.ptp(weights):
        edges = np.pad(np.cumsum(share * n), (0, full - n), mode="edge").astype(rows.dtype)
    epochs = settings.max_epochs
    with np.errstate(over="ignore"):  # what is infinite in this precision shows in the steps
        schedule = DAGMMSchedule(
            learning_rate=number(settings.learning_rate),
            last_rate=number(settings.learning_rate * settings.decay),
            max_epochs=np.int32(epochs),
            n_batches=np.int32(n_batches(n, settings.batch_size)),
            energy=number(settings.energy_weight),
            penalty=number(settings.penalty),
            ridge=number(settings.ridge),
            noise=number(settings.noise) if settings.noise else None,
        )
    limits = Limits(covariance=number(settings.reg_covar), weight=number(LEAST_WEIGHT))
    family, batch = make_family("independent", "full", None), min(settings.batch_size, full)
    every = max(epochs // REPORTS if settings.progress else epochs, 1)
    with precision_of(rows.dtype), TrainingProgress(settings.progress, epochs) as progress:
        graph = dagmm.structure(sizes)
        state = initial_state(dagmm.initial(sizes, np.uint32(seed), np.dtype(rows.dtype)), epochs)
        for stop in [*range(every, epochs, every), epochs] if epochs else []:
            state = train(
                graph, family, batch, state, rows, edges, np.int32(n), limits, schedule,
                np.uint32(seed), np.int32(stop),
            )  # fmt: skip
            loss, error, energy = np.asarray(state.history)[stop - 1]
            progress.report(stop, f"loss {loss:.4f}, reconstruction {error:.4f}, energy {energy:.4f}")
        networks = jax.tree.map(np.asarray, state.network)
        history = np.asarray(state.history, np.float64)[:epochs]
    return TrainedDAGMM(networks, history, variance)


def final_mixture(
    family: Family,
    gamma: Float[np.ndarray, "r K"],
    moments: Moments,
    settings: EMSettings,
    polish: int,
    trained: TrainedDAGMM,
    ridge: Float[np.ndarray, "L"],
) -> tuple[Solution, Int[np.ndarray, "K"]]:
    """Return the mixture of all rows, of given cluster probabilities, and their order in it.

    ``polish`` exact EM steps follow, or ``ridge``, in the units of the moments, is added to the diagonals
    of the covariances. Components are ordered by descending weight.
    """
    limits = settings.limits(moments)
    start = parameters_from_responsibilities(family, gamma.T.astype(moments.mean.dtype), moments, limits)
    if polish:
        solution = best_run(family, start, moments, settings, max_iter=polish)
        parameters, value = solution.parameters, solution.log_likelihood
    else:
        parameters = jax.tree.map(lambda part: part[0], start)
        parameters = parameters._replace(within=parameters.within + np.diag(ridge))
        weights = np.asarray(moments.weights, np.float64)
        value = float(weights @ evaluate(family, parameters, moments)[0].astype(np.float64))
    result = trained.result
    if (
        result is Result.COMPLETED
        and at_floor(parameters.within, settings.reg_covar, family.covariance).any()
    ):
        result = Result.AT_FLOOR
    order = np.argsort(-np.asarray(parameters.weights), kind="stable")
    epochs, sound = len(trained.history), result is Result.AT_FLOOR or not result.alarming
    found = Solution(reorder(parameters, order), value, epochs, np.zeros(0), result, sound)
    return found, order
