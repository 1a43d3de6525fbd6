"""What a fit returns: parameters, how it went, and how it ended."""

from enum import Enum
from typing import NamedTuple

import numpy as np

from degmm.families.base import MixtureParameters


class Result(Enum):
    """How a fit ended; the value is a readable message."""

    CONVERGED = "converged: the log-likelihood no longer rises by more than the tolerance"
    MAX_ITERATIONS = "stopped at the maximum number of iterations before convergence"
    COMPLETED = "completed: all requested epochs (or, with tol=0, iterations) were run"
    AT_FLOOR = (
        "a component's covariance sits at the floor reg_covar: it describes (nearly) degenerate data, "
        "or a spurious cluster of very few ensembles"
    )
    EMPTY_COMPONENT = (
        "a component has lost its ensembles: it keeps its last mean and covariance at the smallest weight "
        "allowed; fewer components would do"
    )
    UNTRAINED = (
        "the network is short of the clusters that it started from: its log-likelihood is lower than theirs; "
        "train for longer (max_epochs), or with another learning_rate"
    )
    SKIPPED_STEPS = (
        "steps of the training that were not finite were not taken; lower learning_rate, check the data for "
        "extreme values, or use dtype='float64'"
    )
    UNLEARNED = (
        "the networks reconstruct the rows no better than their mean does; train for longer (max_epochs), or "
        "with a lower learning_rate"
    )
    NON_FINITE = (
        "stopped: the log-likelihood was not finite; check the data for extreme values, or use "
        "dtype='float64', fewer variables or covariance_type='diag'"
    )

    @property
    def alarming(self) -> bool:
        """Whether a user should be warned, unasked."""
        return self in (
            Result.MAX_ITERATIONS,
            Result.AT_FLOOR,
            Result.EMPTY_COMPONENT,
            Result.UNTRAINED,
            Result.SKIPPED_STEPS,
            Result.UNLEARNED,
            Result.NON_FINITE,
        )

    @property
    def succeeded(self) -> bool:
        """Whether the fit ended as asked."""
        return self in (Result.CONVERGED, Result.COMPLETED)


class Solution(NamedTuple):
    """Parameters in standard units, with the record of the fit."""

    parameters: MixtureParameters
    log_likelihood: float
    """Total ℓ = Σ_i w_i log Σ_k π_k f_k(x_i), in standard units"""
    n_iter: int
    history: np.ndarray
    """ℓ before the first M-step and after each, in standard units"""
    result: Result
    converged: bool
    """Whether the iterations came to rest, whatever ``result`` has to say of where"""


def reorder(parameters: MixtureParameters, order: np.ndarray) -> MixtureParameters:
    """Return the components in another order."""
    return MixtureParameters(*(np.asarray(part)[order] for part in parameters))
