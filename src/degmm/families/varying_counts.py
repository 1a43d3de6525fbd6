"""Shared centres where the number of members varies: an exact EM step by parameter expansion.

EM on the centres crawls where B is small, EM on the standardised centres where it is large. The
expanded model x_im = μ' + A u_i + e_im, u_i ~ N(α, B') has both in it and converges fast in either
case (Liu, Rubin & Wu 1998, Biometrika 85, PX-EM). Directions of B leave and reach the boundary 0
in finitely many steps, by bounds that hold whatever the numbers of members.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from degmm.arrays import Array
from degmm.families.base import Factors, Family, Limits, MixtureParameters
from degmm.families.covariance import CovarianceStructure, compose, floor_eigenvalues, joint_axes
from degmm.families.gaussian import (
    after,
    applied,
    as_stack,
    congruent,
    diagonal_of,
    floored_weights,
    identity_like,
    outer_like,
    spread_out,
    transform,
    weighted_mean_sum,
    weighted_outer,
    weighted_scatter,
)
from degmm.families.independent import Independent
from degmm.families.shared_centre import SharedCentre
from degmm.moments import Moments

NEAR = 0.1
"""A direction is near the boundary where M β is at most this much."""


class VaryingStatistics(NamedTuple):
    """Expected sums in the joint basis of the current W and B; z = F(x̄ − μ), û and v are u's moments.

    Of squares only the diagonals, where all matrices are diagonal.
    """

    weight: Float[Array, "K"]
    """N = Σ w γ"""
    mass: Float[Array, "K"]
    """R = Σ w γ M"""
    centre: Float[Array, "K D"]
    """Σ w γ û"""
    centre_mass: Float[Array, "K D"]
    """Σ w γ M û"""
    member_mass: Float[Array, "K D"]
    """Σ w γ M z"""
    centre_square: Float[Array, "K ..."]
    """Σ w γ E[u uᵀ]"""
    centre_mass_square: Float[Array, "K ..."]
    """Σ w γ M E[u uᵀ]"""
    cross: Float[Array, "K ..."]
    """Σ w γ M z ûᵀ"""
    member_square: Float[Array, "K ..."]
    """Σ w γ (F S Fᵀ + M z zᵀ)"""
    mass_2: Float[Array, "K"]
    """Σ w γ M²"""
    square_2: Float[Array, "K ..."]
    """Σ w γ M² z zᵀ"""
    square_3: Float[Array, "K ..."]
    """Σ w γ M³ z zᵀ"""


def shared_centre(covariance: CovarianceStructure, counts: np.ndarray | None) -> Family:
    """Return the family with the M-step that suits ensembles of these numbers of members.

    Single members identify W + B alone: B is 0, which is the independent family.
    """
    if counts is None or (counts == counts[0]).all():
        return Independent(covariance) if counts is not None and counts[0] == 1 else SharedCentre(covariance)
    return SharedCentreVarying(covariance)


@dataclass(frozen=True)
class SharedCentreVarying(SharedCentre):
    """Components whose members share a centre, with an M-step for any numbers of members."""

    def statistics(self, factors: Factors, moments: Moments, responsibilities: Float[Array, "K n"]) -> Any:
        """Return the expected sums of equation 8."""
        D, counts, diagonal = moments.n_features, moments.counts, self.covariance.diagonal
        weight = responsibilities * moments.weights
        mass = weight * counts
        z = transform(factors.inward, moments.mean - factors.parameters.means[:, :, None])
        variance = factors.ratio[:, :, None] / (1 + counts * factors.ratio[:, :, None])
        u = counts * variance * z
        eye = identity_like(factors.inward)

        def squares(share: Array, d: Array) -> Array:
            return spread_out(weighted_outer(share, d, diagonal=diagonal), D, diagonal=diagonal)

        def second(share: Array) -> Array:
            spread = weighted_mean_sum(share, variance)
            return squares(share, u) + (spread if diagonal else spread[:, :, None] * eye)

        scatter = weighted_scatter(weight, moments.scatter, D, diagonal=diagonal)
        scatter = spread_out(scatter, D, diagonal=diagonal)
        across = "kdn,kdn->kd" if diagonal else "kdn,ken->kde"
        return VaryingStatistics(
            weight=weight.sum(axis=1),
            mass=mass.sum(axis=1),
            centre=weighted_mean_sum(weight, u),
            centre_mass=weighted_mean_sum(mass, u),
            member_mass=weighted_mean_sum(mass, z),
            centre_square=second(weight),
            centre_mass_square=second(mass),
            cross=jnp.einsum(across, mass[:, None, :] * z, u),
            member_square=congruent(factors.inward, scatter) + squares(mass, z),
            mass_2=(mass * counts).sum(axis=1),
            square_2=squares(mass * counts, z),
            square_3=squares(mass * counts**2, z),
        )

    def m_step(self, statistics: Any, factors: Factors, limits: Limits) -> MixtureParameters:
        """Return parameters of a higher expected likelihood (equation 8).

        A component moves its directions on to or off the boundary B = 0 where that provably
        raises the likelihood, and else takes the step of the expanded model.
        """
        s, parameters = statistics, factors.parameters
        total = s.mass.sum()
        alive = s.mass > jnp.finfo(total.dtype).eps * total / s.mass.size
        mass = jnp.where(alive, s.mass, 1)
        weight = jnp.where(alive, s.weight, 1)
        own_mass, own_weight = jnp.where(alive, s.mass, 0), jnp.where(alive, s.weight, 0)

        # the step of the expanded model: regress the members on an intercept and u
        mean_u = s.centre_mass / mass[:, None]
        mean_z = s.member_mass / mass[:, None]
        per_mass, kept = as_stack(mass, s.cross), as_stack(alive, s.cross)
        uu = s.centre_mass_square - per_mass * outer_like(s.cross, mean_u, mean_u)
        zu = s.cross - per_mass * outer_like(s.cross, mean_z, mean_u)
        zz = s.member_square - per_mass * outer_like(s.cross, mean_z, mean_z)
        uu, zu = (jnp.where(kept, part, 0) for part in (uu, zu))
        edge, moves = self._boundary(s, factors.ratio, mass, own_mass)
        slope = self.covariance.regress(zu, after(uu, lax.stop_gradient(edge)))
        fitted = _times_transposed(slope, zu)
        rest = zz - fitted - _transposed(fitted) + congruent(slope, uu)
        within = self.covariance.project(rest / per_mass, own_mass)
        alpha = s.centre / weight[:, None]
        spread = s.centre_square / as_stack(weight, s.cross) - outer_like(s.cross, alpha, alpha)
        spread = self.covariance.project(spread, own_weight)
        between = congruent(slope, spread)
        shift = mean_z + applied(slope, alpha - mean_u)

        expand, moving = alive & ~moves, as_stack(moves, s.cross)
        shift = jnp.where(expand[:, None], applied(factors.outward, shift), 0)
        floored = floor_eigenvalues(congruent(factors.outward, within), limits.covariance)
        within = jnp.where(as_stack(expand, s.cross), floored, parameters.within)
        between = congruent(factors.outward, jnp.where(moving, edge, between))
        between = jnp.where(kept, between, parameters.between)
        return MixtureParameters(
            weights=floored_weights(s.weight, limits.weight),
            means=parameters.means + shift,
            # the structure holds up to rounding, and for a component without ensembles, once more
            within=self.covariance.project(within, own_mass),
            between=self.covariance.project(between, own_mass),
        )

    def _boundary(
        self, s: VaryingStatistics, ratio: Float[Array, "K D"], mass: Float[Array, "K"], own_mass: Array
    ) -> tuple[Float[Array, "K ..."], Array]:
        """Return B in the joint basis with directions set to 0 or lifted from it, and whether any is.

        −2 log f changes by Σ_j h(β_j), h(β) = Σ wγ [log(1 + Mβ) + M z²/(1 + Mβ)], whose slope at 0
        is −R·score. By 1/(1+x) ≤ 1 − x + x², a lift from 0 to λ = score·R/(2 Σ wγ M³z²) lowers h by
        R·score·λ/2 or more; by log(1+x) ≥ x − x²/2, a drop from β to 0 lowers it if
        −score·R ≥ β Σ wγ M²/2, and raises it by R·score·β + β² Σ wγ M²/2 at most. Directions near the
        boundary, where steps of EM are short, are so dropped and lifted at once where that pays.
        """
        s, mass, own_mass, ratio = lax.stop_gradient((s, mass, own_mass, ratio))
        eye = identity_like(s.cross)
        per_mass = as_stack(mass, s.cross)

        def pooled(part: Array) -> Array:
            return self.covariance.project(part / per_mass, own_mass)

        score = pooled(s.square_2) - eye
        curvature = pooled(s.square_3)
        bound = diagonal_of(pooled(as_stack(s.mass_2, s.cross) * eye))
        slope = diagonal_of(score)
        drop = (ratio > 0) & (-slope >= 0.5 * ratio * bound)

        near = ratio * bound <= NEAR
        gain, vectors = joint_axes(score * outer_like(score, near, near))
        below = _along(vectors, curvature)
        lift = jnp.where(gain > 0, gain / (2 * jnp.where(below > 0, below, 1)), 0)
        # a lift too small to last against rounding, or to matter, is none
        eps = jnp.finfo(ratio.dtype).eps
        least = jnp.maximum(jnp.sqrt(eps) / bound.max(axis=1), 64 * eps * ratio.max(axis=1))
        lift = jnp.where(lift > least[:, None], lift, 0)
        profit = 0.5 * (gain * lift).sum(axis=1)
        loss = jnp.where(near, jnp.maximum(slope, 0) * ratio + 0.5 * bound * ratio**2, 0).sum(axis=1)
        pays = (profit > loss)[:, None]
        lift = jnp.where(pays, lift, 0)
        left = jnp.where(drop | (near & pays), 0, ratio)
        left = left if left.ndim == eye.ndim + 1 else left[:, :, None] * eye
        return left + compose(vectors, lift), (drop | (lift > 0)).any(axis=1)


def _times_transposed(A: Float[Array, "K ..."], C: Float[Array, "K ..."]) -> Float[Array, "K ..."]:
    """Return A Cᵀ."""
    return A * C if A.ndim == 2 else jnp.einsum("kde,kfe->kdf", A, C)


def _along(vectors: Float[Array, "K ..."], C: Float[Array, "K ..."]) -> Float[Array, "K D"]:
    """Return vᵀ C v for each axis."""
    return vectors**2 * C if C.ndim == 2 else jnp.einsum("kde,kdf,kfe->ke", vectors, C, vectors)


def _transposed(a: Float[Array, "K ..."]) -> Float[Array, "K ..."]:
    return a if a.ndim == 2 else jnp.swapaxes(a, 1, 2)
