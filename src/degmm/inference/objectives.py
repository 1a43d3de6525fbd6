"""What a network is trained to maximise. One function an objective and one line in the registry."""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Float

from degmm.arrays import Array
from degmm.choices import find


def _likelihood(joint: Float[Array, "K n"], log_responsibilities: Float[Array, "K n"]) -> Float[Array, "n"]:
    return logsumexp(joint, axis=0)


def _elbo(joint: Float[Array, "K n"], log_responsibilities: Float[Array, "K n"]) -> Float[Array, "n"]:
    return (jnp.exp(log_responsibilities) * (joint - log_responsibilities)).sum(axis=0)


@dataclass(frozen=True)
class Objective:
    """An objective of deep inference, a sum over ensembles."""

    of_ensembles: Callable[[Float[Array, "K n"], Float[Array, "K n"]], Float[Array, "n"]]
    """From log π_k f_k(x_i) and log γ_ik to the value of each ensemble"""
    through_m_step: bool
    """Whether the gradient flows through the M-step.

    The evidence lower bound is maximal in the parameters at the M-step, so its gradient through
    them vanishes and need not be computed (Neal & Hinton 1998).
    """


OBJECTIVES = {
    "elbo": Objective(_elbo, through_m_step=False),
    "likelihood": Objective(_likelihood, through_m_step=True),
}


def find_objective(name: str) -> Objective:
    """Return the objective registered as ``name``.

    Raises
    ------
    ValueError
        If there is none.
    """
    return find("objective", name, OBJECTIVES)
