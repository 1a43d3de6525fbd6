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
from degmm.families.covariance import CovarianceStructure, compose, floor_eigenvalues, symmetric_eigen
from degmm.families.gaussian import (
    after,
    floored_weights,
    transform,
    weighted_mean_sum,
    weighted_outer,
    weighted_scatter,
)
from degmm.families.independent import Independent
from degmm.families.shared_centre import SharedCentre
from degmm.moments import Moments, unpack

NEAR = 0.1
"""A direction is near the boundary where M β is at most this much."""


class VaryingStatistics(NamedTuple):
    """Expected sums in the joint basis of the current W and B; z = F(x̄ − μ), û and v are u's moments."""

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
    centre_square: Float[Array, "K D D"]
    """Σ w γ E[u uᵀ]"""
    centre_mass_square: Float[Array, "K D D"]
    """Σ w γ M E[u uᵀ]"""
    cross: Float[Array, "K D D"]
    """Σ w γ M z ûᵀ"""
    member_square: Float[Array, "K D D"]
    """Σ w γ (F S Fᵀ + M z zᵀ)"""
    mass_2: Float[Array, "K"]
    """Σ w γ M²"""
    square_2: Float[Array, "K D D"]
    """Σ w γ M² z zᵀ"""
    square_3: Float[Array, "K D D"]
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
        D, counts = moments.n_features, moments.counts
        weight = responsibilities * moments.weights
        mass = weight * counts
        z = transform(factors.inward, moments.mean - factors.parameters.means[:, :, None])
        variance = factors.ratio[:, :, None] / (1 + counts * factors.ratio[:, :, None])
        u = counts * variance * z
        eye = jnp.eye(D, dtype=z.dtype)

        def second(share: Array) -> Array:
            spread = weighted_mean_sum(share, variance)
            return unpack(weighted_outer(share, u), D) + spread[:, :, None] * eye

        scatter = unpack(weighted_scatter(weight, moments.scatter), D)
        return VaryingStatistics(
            weight=weight.sum(axis=1),
            mass=mass.sum(axis=1),
            centre=weighted_mean_sum(weight, u),
            centre_mass=weighted_mean_sum(mass, u),
            member_mass=weighted_mean_sum(mass, z),
            centre_square=second(weight),
            centre_mass_square=second(mass),
            cross=jnp.einsum("kdn,ken->kde", mass[:, None, :] * z, u),
            member_square=jnp.einsum("kde,kef,kgf->kdg", factors.inward, scatter, factors.inward)
            + unpack(weighted_outer(mass, z), D),
            mass_2=(mass * counts).sum(axis=1),
            square_2=unpack(weighted_outer(mass * counts, z), D),
            square_3=unpack(weighted_outer(mass * counts**2, z), D),
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
        uu = s.centre_mass_square - mass[:, None, None] * _outer(mean_u, mean_u)
        zu = s.cross - mass[:, None, None] * _outer(mean_z, mean_u)
        zz = s.member_square - mass[:, None, None] * _outer(mean_z, mean_z)
        uu, zu = (jnp.where(alive[:, None, None], part, 0) for part in (uu, zu))
        edge, moves = self._boundary(s, factors.ratio, mass, own_mass)
        slope = self.covariance.regress(zu, after(uu, lax.stop_gradient(edge)))
        fitted = jnp.einsum("kde,kfe->kdf", slope, zu)
        rest = zz - fitted - _transposed(fitted) + jnp.einsum("kde,kef,kgf->kdg", slope, uu, slope)
        within = self.covariance.project(rest / mass[:, None, None], own_mass)
        alpha = s.centre / weight[:, None]
        spread = s.centre_square / weight[:, None, None] - _outer(alpha, alpha)
        spread = self.covariance.project(spread, own_weight)
        between = jnp.einsum("kde,kef,kgf->kdg", slope, spread, slope)
        shift = mean_z + jnp.einsum("kde,ke->kd", slope, alpha - mean_u)

        expand = alive & ~moves
        shift = jnp.where(expand[:, None], jnp.einsum("kde,ke->kd", factors.outward, shift), 0)
        floored = floor_eigenvalues(_carried(factors.outward, within), limits.covariance)
        within = jnp.where(expand[:, None, None], floored, parameters.within)
        between = _carried(factors.outward, jnp.where(moves[:, None, None], edge, between))
        between = jnp.where(alive[:, None, None], between, parameters.between)
        return MixtureParameters(
            weights=floored_weights(s.weight, limits.weight),
            means=parameters.means + shift,
            # the structure holds up to rounding, and for a component without ensembles, once more
            within=self.covariance.project(within, own_mass),
            between=self.covariance.project(between, own_mass),
        )

    def _boundary(
        self, s: VaryingStatistics, ratio: Float[Array, "K D"], mass: Float[Array, "K"], own_mass: Array
    ) -> tuple[Float[Array, "K D D"], Array]:
        """Return B in the joint basis with directions set to 0 or lifted from it, and whether any is.

        −2 log f changes by Σ_j h(β_j), h(β) = Σ wγ [log(1 + Mβ) + M z²/(1 + Mβ)], whose slope at 0
        is −R·score. By 1/(1+x) ≤ 1 − x + x², a lift from 0 to λ = score·R/(2 Σ wγ M³z²) lowers h by
        R·score·λ/2 or more; by log(1+x) ≥ x − x²/2, a drop from β to 0 lowers it if
        −score·R ≥ β Σ wγ M²/2, and raises it by R·score·β + β² Σ wγ M²/2 at most. Directions near the
        boundary, where steps of EM are short, are so dropped and lifted at once where that pays.
        """
        D = ratio.shape[1]
        eye = jnp.eye(D, dtype=ratio.dtype)
        s, mass, own_mass, ratio = lax.stop_gradient((s, mass, own_mass, ratio))
        per_mass = mass[:, None, None]

        def pooled(part: Array) -> Array:
            return self.covariance.project(part / per_mass, own_mass)

        score = pooled(s.square_2) - eye
        curvature = pooled(s.square_3)
        bound = jnp.diagonal(pooled(s.mass_2[:, None, None] * eye), axis1=1, axis2=2)
        slope = jnp.diagonal(score, axis1=1, axis2=2)
        drop = (ratio > 0) & (-slope >= 0.5 * ratio * bound)

        near = ratio * bound <= NEAR
        gain, vectors = symmetric_eigen(score * near[:, :, None] * near[:, None, :])
        below = jnp.einsum("kde,kdf,kfe->ke", vectors, curvature, vectors)
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
        return left[:, :, None] * eye + compose(vectors, lift), (drop | (lift > 0)).any(axis=1)


def _outer(a: Float[Array, "K D"], b: Float[Array, "K D"]) -> Float[Array, "K D D"]:
    return a[:, :, None] * b[:, None, :]


def _transposed(a: Float[Array, "K D D"]) -> Float[Array, "K D D"]:
    return jnp.swapaxes(a, 1, 2)


def _carried(outward: Float[Array, "K D D"], part: Float[Array, "K D D"]) -> Float[Array, "K D D"]:
    return jnp.einsum("kde,kef,kgf->kdg", outward, part, outward)
