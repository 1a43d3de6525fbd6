"""Independent members: given its cluster, an ensemble's members are i.i.d. N(μ_k, W_k).

The exchangeable mixture of Jouan, Cuzol, Monbet & Monnier (2023, doi 10.3934/dcdss.2022037). With
M = 1 it is the ordinary Gaussian mixture.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from degmm.arrays import Array
from degmm.families.base import Factors, Family, Limits, MixtureParameters
from degmm.families.covariance import dense, floor_eigenvalues
from degmm.families.gaussian import (
    LOG_2PI,
    as_stack,
    cholesky,
    floored_weights,
    outer_like,
    precision_of_factor,
    scatter_trace,
    spread_out,
    squared_distance,
    weighted_scatter,
    weighted_sums,
)
from degmm.moments import Moments


class IndependentStatistics(NamedTuple):
    """Sums over ensembles about a nearby point m_k, with γ the responsibilities (equation 4)."""

    weight: Float[Array, "K"]
    """N_k = Σ w γ"""
    mass: Float[Array, "K"]
    """R_k = Σ w γ M"""
    first: Float[Array, "K D"]
    """Σ w γ M (x̄ − m)"""
    second: Float[Array, "K E"]
    """Σ w γ [S + M (x̄ − m)(x̄ − m)ᵀ], packed, or its diagonal"""


@dataclass(frozen=True)
class Independent(Family):
    """Components with independent members; see the module's docstring."""

    shares_centre: ClassVar[bool] = False

    def factor(self, parameters: MixtureParameters) -> Factors:
        """Factor W_k by Cholesky."""
        root, inverse, log_determinant = cholesky(parameters.within)
        return Factors(parameters, inverse, root, log_determinant, jnp.zeros_like(parameters.means))

    def log_density(self, factors: Factors, moments: Moments) -> Float[Array, "K n"]:
        """Return log f_k(x_i) (equation 2)."""
        D = moments.n_features
        deviation = moments.mean - factors.parameters.means[:, :, None]
        distance = squared_distance(factors.inward, deviation)
        member = D * LOG_2PI + factors.log_determinant[:, None] + distance
        spread = scatter_trace(precision_of_factor(factors.inward), moments.scatter)
        return -0.5 * (moments.counts * member + spread)

    def statistics(
        self, factors: Factors, moments: Moments, responsibilities: Float[Array, "K n"]
    ) -> IndependentStatistics:
        """Return the sums of equation 4 about the means of ``factors``."""
        weight = responsibilities * moments.weights
        deviation = moments.mean - factors.parameters.means[:, :, None]
        diagonal, D = self.covariance.diagonal, moments.n_features
        mass, first, second = weighted_sums(weight * moments.counts, deviation, diagonal=diagonal)
        spread = weighted_scatter(weight, moments.scatter, D, diagonal=diagonal)
        return IndependentStatistics(weight.sum(axis=1), mass, first, second + spread)

    def m_step(
        self, statistics: IndependentStatistics, factors: Factors, limits: Limits
    ) -> MixtureParameters:
        """Return the parameters of equation 4.

        A component that has lost all its ensembles keeps its mean and covariance: they no longer
        enter the expected log-likelihood, so any value is optimal.
        """
        parameters = factors.parameters
        D = parameters.means.shape[1]
        total = statistics.mass.sum()
        alive = statistics.mass > jnp.finfo(total.dtype).eps * total / statistics.mass.size
        mass = jnp.where(alive, statistics.mass, 1)
        shift = jnp.where(alive[:, None], statistics.first / mass[:, None], 0)
        spread = spread_out(statistics.second / mass[:, None], D, diagonal=self.covariance.diagonal)
        spread = spread - outer_like(spread, shift, shift)
        within = jnp.where(as_stack(alive, spread), spread, parameters.within)
        within = self.covariance.project(within, jnp.where(alive, statistics.mass, 0))
        return MixtureParameters(
            weights=floored_weights(statistics.weight, limits.weight),
            means=parameters.means + shift,
            within=floor_eigenvalues(within, limits.covariance),
            between=jnp.zeros_like(parameters.between),
        )

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return (K − 1) + K·D + the free entries of W."""
        K, D = n_components, n_features
        return K - 1 + K * D + self.covariance.n_parameters(K, D)

    def next_member(
        self, parameters: MixtureParameters, moments: Moments
    ) -> tuple[Float[np.ndarray, "n K D"], Float[np.ndarray, "n K D D"]]:
        """Return μ_k and W_k: given the cluster, the members seen say nothing more."""
        shape = (moments.n_samples, *parameters.means.shape)
        return (
            np.broadcast_to(parameters.means, shape),
            np.broadcast_to(dense(parameters.within), (*shape, shape[-1])),
        )

    def draw(
        self, parameters: MixtureParameters, labels: np.ndarray, n_members: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw the members of one ensemble for each label."""
        noise = rng.normal(size=(labels.size, n_members, parameters.means.shape[1]))
        if self.covariance.diagonal:
            apart = np.sqrt(parameters.within)[labels][:, None, :] * noise
        else:
            apart = np.einsum("nde,nme->nmd", np.linalg.cholesky(parameters.within)[labels], noise)
        return parameters.means[labels][:, None, :] + apart
