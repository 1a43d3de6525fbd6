"""Shared centre: the members of an ensemble scatter by W_k about a centre drawn from N(μ_k, B_k).

The natural model of exchangeable members (de Finetti), and what real forecasts look like: the day
decides the centre, the spread about it is smaller. The M·D values of an ensemble have covariance
W ⊗ I + B ⊗ 11ᵀ (compound symmetry).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from degmm.arrays import Array
from degmm.families.base import Factors, Family, Limits, MixtureParameters
from degmm.families.covariance import compose, dense, floor_eigenvalues, symmetric_eigen
from degmm.families.gaussian import (
    LOG_2PI,
    after,
    as_stack,
    cholesky,
    congruent,
    diagonal_of,
    floored_weights,
    outer_like,
    precision_of_factor,
    scatter_trace,
    spread_out,
    transform,
    weighted_scatter,
    weighted_sums,
)
from degmm.families.independent import Independent
from degmm.moments import Moments

PRODUCT_FEATURES = 4
"""Up to this D the logarithms of D factors are one logarithm of their product, which cannot overflow."""
FLOOR_ROUNDS = 12
"""Rounds in which floored and pooled covariances agree; the likelihood is then exact to rounding."""


def joint_factors(parameters: MixtureParameters) -> Factors:
    """Factor positive definite W and positive semidefinite B jointly."""
    within = after(parameters.within, parameters.between)
    root, inverse, log_determinant = cholesky(within)
    relative = congruent(inverse, parameters.between)
    if relative.ndim == 2:
        return Factors(parameters, inverse, root, log_determinant, relative)
    ratio, vectors = symmetric_eigen((relative + jnp.swapaxes(relative, 1, 2)) / 2)
    # What rounding leaves of an eigenvalue 0 is 0; where W is nearly singular, that may be much.
    stretch = (inverse**2).sum(axis=(1, 2)) * jnp.sqrt((parameters.between**2).sum(axis=(1, 2)))
    rounding = 4 * jnp.finfo(ratio.dtype).eps * stretch[:, None]
    return Factors(
        parameters,
        jnp.einsum("ked,kef->kdf", vectors, inverse),
        jnp.einsum("kde,kef->kdf", root, vectors),
        log_determinant,
        jnp.where(ratio > rounding, ratio, 0),
    )


class SharedCentreStatistics(NamedTuple):
    """Sums over ensembles about a nearby point m_k, with γ the responsibilities (equation 7)."""

    weight: Float[Array, "K"]
    """N_k = Σ w γ"""
    mass: Float[Array, "K"]
    """R_k = Σ w γ M"""
    first: Float[Array, "K D"]
    """Σ w γ (x̄ − m)"""
    second: Float[Array, "K E"]
    """Σ w γ (x̄ − m)(x̄ − m)ᵀ, packed, or its diagonal"""
    scatter: Float[Array, "K E"]
    """Σ w γ S, likewise"""


@dataclass(frozen=True)
class SharedCentre(Family):
    """Components with a shared centre; the M-step is for ensembles that all have one number M ≥ 2."""

    shares_centre: ClassVar[bool] = True

    def factor(self, parameters: MixtureParameters) -> Factors:
        """Factor W_k and B_k jointly."""
        return joint_factors(parameters)

    def log_density(self, factors: Factors, moments: Moments) -> Float[Array, "K n"]:
        """Return log f_k(x_i) (equation 6)."""
        D, counts = moments.n_features, moments.counts
        z = transform(factors.inward, moments.mean - factors.parameters.means[:, :, None])
        growth = 1 + counts * factors.ratio[:, :, None]
        few = D <= PRODUCT_FEATURES
        logs = jnp.log(jnp.prod(growth, axis=1)) if few else jnp.log(growth).sum(axis=1)
        member = D * LOG_2PI + factors.log_determinant[:, None] + (z * z / growth).sum(axis=1)
        spread = scatter_trace(precision_of_factor(factors.inward), moments.scatter)
        return -0.5 * (counts * member + logs + spread)

    def statistics(self, factors: Factors, moments: Moments, responsibilities: Float[Array, "K n"]) -> Any:
        """Return the sums of equation 7 about the means of ``factors``."""
        weight = responsibilities * moments.weights
        deviation = moments.mean - factors.parameters.means[:, :, None]
        diagonal, D = self.covariance.diagonal, moments.n_features
        total, first, second = weighted_sums(weight, deviation, diagonal=diagonal)
        mass = (weight * moments.counts).sum(axis=1)
        scatter = weighted_scatter(weight, moments.scatter, D, diagonal=diagonal)
        return SharedCentreStatistics(total, mass, first, second, scatter)

    def m_step(self, statistics: Any, factors: Factors, limits: Limits) -> MixtureParameters:
        """Return the parameters of equation 7, the maximum at one number M ≥ 2 of members.

        The gradient is that of an interior solution; where B_k meets its boundary, the correction
        is a constant to it.
        """
        parameters = factors.parameters
        D = parameters.means.shape[1]
        total = statistics.weight.sum()
        members = statistics.mass.sum() / total
        alive = statistics.weight > jnp.finfo(total.dtype).eps * total / statistics.weight.size
        weight = jnp.where(alive, statistics.weight, 1)
        shift = jnp.where(alive[:, None], statistics.first / weight[:, None], 0)
        diagonal = self.covariance.diagonal
        centres = spread_out(statistics.second / weight[:, None], D, diagonal=diagonal)
        centres = centres - outer_like(centres, shift, shift)
        scatter = spread_out(statistics.scatter / ((members - 1) * weight)[:, None], D, diagonal=diagonal)
        # a component without ensembles keeps the parameters that it has
        kept = as_stack(alive, scatter)
        centres = jnp.where(kept, centres, parameters.between + parameters.within / members)
        scatter = jnp.where(kept, scatter, parameters.within)
        mass = jnp.where(alive, statistics.weight, 0)
        centres, scatter = self.covariance.project(centres, mass), self.covariance.project(scatter, mass)
        interior = centres - scatter / members
        best = closed_form(*lax.stop_gradient((scatter, centres)), members, limits.covariance)
        return MixtureParameters(
            weights=floored_weights(statistics.weight, limits.weight),
            means=parameters.means + shift,
            within=scatter + lax.stop_gradient(best[0] - scatter),
            between=interior + lax.stop_gradient(best[1] - interior),
        )

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return (K − 1) + K·D + the free entries of W and of B."""
        K, D = n_components, n_features
        return K - 1 + K * D + 2 * self.covariance.n_parameters(K, D)

    def next_member(
        self, parameters: MixtureParameters, moments: Moments
    ) -> tuple[Float[np.ndarray, "n K D"], Float[np.ndarray, "n K D D"]]:
        """Return ĉ_ik and W_k + V_ik, the centre given the members seen and the spread about it."""
        counts, group = np.unique(np.asarray(moments.counts), return_inverse=True)
        within, between = dense(parameters.within), dense(parameters.between)
        # G = B(B + W/M)⁻¹ for each number M that occurs, shape (G, K, D, D)
        sum_ = between + within / counts[:, None, None, None]
        gain = np.swapaxes(np.linalg.solve(sum_, np.broadcast_to(between, sum_.shape)), 2, 3)
        rest = np.einsum("gkde,kef->gkdf", gain, within) / counts[:, None, None, None]
        deviation = np.asarray(moments.mean, np.float64).T[:, None, :] - parameters.means
        means = parameters.means + np.einsum("nkde,nke->nkd", gain[group], deviation)
        return means, (within + (rest + np.swapaxes(rest, 2, 3)) / 2)[group]

    def draw(
        self, parameters: MixtureParameters, labels: np.ndarray, n_members: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw the centre and the members of one ensemble for each label."""
        noise = rng.normal(size=(labels.size, parameters.means.shape[1]))
        if self.covariance.diagonal:
            centre = np.sqrt(parameters.between)[labels] * noise
        else:
            values, vectors = np.linalg.eigh(parameters.between)
            root = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
            centre = np.einsum("nde,ne->nd", root[labels], noise)
        return centre[:, None, :] + Independent(self.covariance).draw(parameters, labels, n_members, rng)


def closed_form(
    scatter: Float[Array, "K ..."], centres: Float[Array, "K ..."], members: Array, floor: Array
) -> tuple[Float[Array, "K ..."], Float[Array, "K ..."]]:
    """Return the W and B of greatest likelihood from W⁰ and A (equation 7), with W ≥ ``floor``.

    Where a direction's centres vary by less than its members explain, it gets B = 0 and its W
    is pooled from both: that is the maximum under B ≥ 0 alone. Raised eigenvalues are the maximum
    under W ≥ floor alone. Where both constraints bind, each is met in turn with the correction that
    the other asked for taken back (Dykstra's method; in W⁻¹ and (W + MB)⁻¹ the problem is convex),
    which reaches the maximum in a few rounds. Without a binding floor the first round ends it.
    """

    def body(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        start, _, _, round_ = state
        outward, ratio = _relative(start, members * centres)
        pooled = compose(outward, jnp.minimum((ratio - 1) / members, 0))
        within = floor_eigenvalues(scatter + pooled, floor)
        moved = jnp.abs(within - pooled - start).max() > tolerance * jnp.abs(start).max()
        return within - pooled, within, moved, round_ + 1

    tolerance = jnp.finfo(scatter.dtype).eps ** 0.75
    start = floor_eigenvalues(scatter, floor)
    first = (start, start, jnp.array(True), jnp.array(0))
    within = lax.while_loop(lambda state: state[2] & (state[3] < FLOOR_ROUNDS), body, first)[1]
    outward, ratio = _relative(within, members * centres)
    return within, compose(outward, jnp.maximum(ratio - 1, 0) / members)


def _relative(
    W: Float[Array, "K ..."], other: Float[Array, "K ..."]
) -> tuple[Float[Array, "K ..."], Float[Array, "K D"]]:
    """Return T and d with W = TTᵀ and ``other`` = T diag(d) Tᵀ."""
    unused = diagonal_of(W)
    factors = joint_factors(MixtureParameters(unused[:, 0], unused, W, other))
    return factors.outward, factors.ratio
