"""Gaussian algebra on stacks of covariances, with the ensembles along the last axis."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import solve_triangular
from jaxtyping import Float

from degmm.arrays import Array
from degmm.moments import UNROLLED_FEATURES, triangle

LOG_2PI = float(np.log(2 * np.pi))
EXACT = lax.Precision.HIGHEST
"""Of sums over ensembles: left to themselves, accelerators multiply float32 with fewer digits."""


class Cholesky(NamedTuple):
    """W = LLᵀ and what follows from it."""

    root: Float[Array, "K D D"]
    """L"""
    inverse: Float[Array, "K D D"]
    """F = L⁻¹, lower triangular, FᵀF = W⁻¹"""
    log_determinant: Float[Array, "K"]
    """log|W|"""


def cholesky(W: Float[Array, "K D D"]) -> Cholesky:
    """Factor positive definite matrices."""
    L = jnp.linalg.cholesky(W)
    identity = jnp.broadcast_to(jnp.eye(W.shape[-1], dtype=W.dtype), W.shape)
    log_determinant = 2 * jnp.log(jnp.diagonal(L, axis1=1, axis2=2)).sum(axis=1)
    return Cholesky(L, solve_triangular(L, identity, lower=True), log_determinant)


def after(value: Array, earlier: Array) -> Array:
    """Return ``value``, once ``earlier`` has been computed.

    Two calls of LAPACK that do not depend on each other may run at once on XLA's CPU threads, and
    on few cores each then waits for threads that the other holds, for ever. Every computation here
    is therefore one chain of such calls; this ties two that would not be.
    """
    return value + jnp.where(jnp.sum(earlier) == jnp.inf, 1, 0).astype(value.dtype)


def precision_of_factor(F: Float[Array, "K D D"]) -> Float[Array, "K D D"]:
    """Return W⁻¹ = FᵀF."""
    return jnp.einsum("kfd,kfe->kde", F, F)


def transform(F: Float[Array, "K D D"], d: Float[Array, "K D n"]) -> Float[Array, "K D n"]:
    """Return F_k d_ki."""
    D = d.shape[1]
    if D > UNROLLED_FEATURES:
        return jnp.einsum("kde,ken->kdn", F, d)
    return jnp.stack([sum(F[:, i, j, None] * d[:, j] for j in range(D)) for i in range(D)], axis=1)


def squared_distance(F: Float[Array, "K D D"], d: Float[Array, "K D n"]) -> Float[Array, "K n"]:
    """Return |F_k d_ki|², the squared Mahalanobis length of each deviation, for lower triangular F."""
    D = d.shape[1]
    if D > UNROLLED_FEATURES:
        return (transform(F, d) ** 2).sum(axis=1)
    rows = [sum(F[:, i, j, None] * d[:, j] for j in range(i + 1)) for i in range(D)]
    return jnp.stack([row * row for row in rows]).sum(axis=0)


def scatter_trace(Q: Float[Array, "K D D"], scatter: Float[Array, "P n"]) -> Float[Array, "K n"]:
    """Return tr(Q_k S_i) for symmetric Q from packed scatters."""
    D = Q.shape[-1]
    rows, columns = triangle(D)
    chosen = Q[:, rows, columns]
    packed = chosen * np.where(rows == columns, 1, 2).astype(Q.dtype)
    if D > UNROLLED_FEATURES:
        return packed @ scatter
    return jnp.stack([packed[:, p, None] * scatter[p] for p in range(rows.size)]).sum(axis=0)


def weighted_sums(
    mass: Float[Array, "K n"], d: Float[Array, "K D n"]
) -> tuple[Float[Array, "K"], Float[Array, "K D"], Float[Array, "K P"]]:
    """Return Σ_i mass_ki, Σ_i mass_ki d_ki and Σ_i mass_ki d_ki d_kiᵀ, the last packed.

    Up to a few variables all come from one product of matrices, which is several times faster than a
    loop for each sum.
    """
    D = d.shape[1]
    if D > UNROLLED_FEATURES:
        return mass.sum(axis=1), weighted_mean_sum(mass, d), weighted_outer(mass, d)
    rows = [jnp.ones_like(mass), *(d[:, r] for r in range(D)), *_products(d)]
    sums = _weighted(mass, rows)
    return sums[:, 0], sums[:, 1 : 1 + D], sums[:, 1 + D :]


def weighted_mean_sum(mass: Float[Array, "K n"], d: Float[Array, "K D n"]) -> Float[Array, "K D"]:
    """Return Σ_i mass_ki d_ki."""
    return jnp.einsum("kn,kdn->kd", mass, d, precision=EXACT)


def weighted_scatter(weight: Float[Array, "K n"], scatter: Float[Array, "P n"]) -> Float[Array, "K P"]:
    """Return Σ_i weight_ki S_i, packed."""
    return jnp.matmul(weight, scatter.T, precision=EXACT)


def weighted_outer(mass: Float[Array, "K n"], d: Float[Array, "K D n"]) -> Float[Array, "K P"]:
    """Return Σ_i mass_ki d_ki d_kiᵀ, packed."""
    D = d.shape[1]
    if D > UNROLLED_FEATURES:
        rows, columns = triangle(D)
        return jnp.einsum("kdn,ken->kde", mass[:, None, :] * d, d, precision=EXACT)[:, rows, columns]
    return _weighted(mass, _products(d))


def _products(d: Float[Array, "K D n"]) -> list[Float[Array, "K n"]]:
    return [d[:, r] * d[:, c] for r, c in zip(*triangle(d.shape[1]), strict=True)]


def _weighted(mass: Float[Array, "K n"], rows: list[Float[Array, "K n"]]) -> Float[Array, "K R"]:
    return jnp.einsum("kn,krn->kr", mass, jnp.stack(rows, axis=1), precision=EXACT)


def floored_weights(mass: Float[Array, "K"], floor: Float[Array, ""]) -> Float[Array, "K"]:
    """Return the π ≥ floor that maximises Σ_k mass_k log π_k.

    The smallest are set to the floor and the others share the rest in proportion to their mass: as
    many share as can without falling below it.
    """
    mass = jnp.asarray(mass)
    # Row k: were component k the smallest to share, with those of more mass.
    shares = mass[None, :] >= mass[:, None]
    left = 1 - floor * (~shares).sum(axis=1)
    scale = left / jnp.maximum((shares * mass).sum(axis=1), jnp.finfo(mass.dtype).tiny)
    fits = mass * scale > floor
    smallest = jnp.argmin(jnp.where(fits, mass, jnp.inf))
    weights = jnp.where(shares[smallest] & fits.any(), mass * scale[smallest], floor)
    return weights / weights.sum()
