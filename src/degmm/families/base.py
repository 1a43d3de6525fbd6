"""What a component family gives: log density, sufficient statistics, M-step, counts and draws."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float

from degmm.arrays import Array
from degmm.families.covariance import CovarianceStructure
from degmm.moments import Moments
from degmm.scaling import Scaling

Statistics = Any
"""Sums over ensembles that an M-step needs: a pytree of arrays, additive over sets of ensembles."""


class MixtureParameters(NamedTuple):
    """Parameters of an exchangeable Gaussian mixture, in standard units."""

    weights: Float[Array, "K"]
    """π_k"""
    means: Float[Array, "K D"]
    """μ_k"""
    within: Float[Array, "K ..."]
    """W_k, the covariance of the members within an ensemble; (K, D, D), or (K, D) if it is diagonal"""
    between: Float[Array, "K ..."]
    """B_k, the covariance of the ensembles' centres, likewise"""


def in_units(parameters: MixtureParameters, old: Scaling, new: Scaling) -> MixtureParameters:
    """Return parameters in other units of the data, in float64."""
    weights, means, within, between = (np.asarray(part, np.float64) for part in parameters)
    ratio = old.scale / new.scale
    squares = ratio**2 if within.ndim == means.ndim else np.outer(ratio, ratio)
    means = means * ratio + (old.centre - new.centre) / new.scale
    return MixtureParameters(weights, means, within * squares, between * squares)


class Limits(NamedTuple):
    """Bounds that keep an M-step sound."""

    covariance: Float[Array, ""]
    """Smallest eigenvalue of a covariance, in standard units"""
    weight: Float[Array, ""]
    """Smallest weight of a component"""


class Factors(NamedTuple):
    """Parameters with the factorisations that densities and M-steps need, computed once a pass."""

    parameters: MixtureParameters
    inward: Float[Array, "K ..."]
    """F with F W Fᵀ = I; where B matters, also F B Fᵀ = diag(β)"""
    outward: Float[Array, "K ..."]
    """F⁻¹"""
    log_determinant: Float[Array, "K"]
    """log|W|"""
    ratio: Float[Array, "K D"]
    """β, variance of the centres relative to that of the members"""


@dataclass(frozen=True)
class Family(Protocol):
    """A component family; immutable and hashable, so that compiled functions are shared."""

    covariance: CovarianceStructure
    shares_centre: ClassVar[bool]
    """Whether B plays a part"""

    def factor(self, parameters: MixtureParameters) -> Factors:
        """Factor the covariances."""
        ...

    def log_density(self, factors: Factors, moments: Moments) -> Float[Array, "K n"]:
        """Return log f_k(x_i), in standard units; to differentiate, use :func:`smooth_log_density`."""
        ...

    def statistics(
        self, factors: Factors, moments: Moments, responsibilities: Float[Array, "K n"]
    ) -> Statistics:
        """Return the sums that the M-step from ``factors.parameters`` needs."""
        ...

    def m_step(self, statistics: Statistics, factors: Factors, limits: Limits) -> MixtureParameters:
        """Return the parameters that maximise the expected log-likelihood, within ``limits``."""
        ...

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters."""
        ...

    def next_member(
        self, parameters: MixtureParameters, moments: Moments
    ) -> tuple[Float[np.ndarray, "n K D"], Float[np.ndarray, "n K D D"]]:
        """Return mean and covariance of one more member, given the cluster and the members seen."""
        ...

    def draw(
        self, parameters: MixtureParameters, labels: np.ndarray, n_members: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw one ensemble for each label, shape (n, n_members, D)."""
        ...
