"""Gaussian algebra on stacks of covariances, with the ensembles along the last axis.

Matrices, covariances and their factors, are stacks of shape (K, D, D), or (K, D) where all are diagonal.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Float

from degmm.arrays import Array
from degmm.scatter import (
    EXACT,
    UNROLLED_FEATURES,
    NoScatter,
    Scatter,
    lower_products,
    pack,
    strips,
    triangle,
    unpack,
)

LOG_2PI = float(np.log(2 * np.pi))


class Cholesky(NamedTuple):
    """W = LLᵀ and what follows from it."""

    root: Float[Array, "K ..."]
    """L"""
    inverse: Float[Array, "K ..."]
    """F = L⁻¹, lower triangular, FᵀF = W⁻¹"""
    log_determinant: Float[Array, "K"]
    """log|W|"""


def cholesky(W: Float[Array, "K ..."]) -> Cholesky:
    """Factor positive definite matrices."""
    if W.ndim == 2:
        root = jnp.sqrt(W)
        return Cholesky(root, 1 / root, jnp.log(W).sum(axis=1))
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


def precision_of_factor(F: Float[Array, "K ..."]) -> Float[Array, "K ..."]:
    """Return W⁻¹ = FᵀF."""
    return F * F if F.ndim == 2 else jnp.einsum("kfd,kfe->kde", F, F)


def congruent(A: Float[Array, "K ..."], C: Float[Array, "K ..."]) -> Float[Array, "K ..."]:
    """Return A C Aᵀ."""
    return A * C * A if A.ndim == 2 else jnp.einsum("kde,kef,kgf->kdg", A, C, A)


def applied(A: Float[Array, "K ..."], vector: Float[Array, "K D"]) -> Float[Array, "K D"]:
    """Return A v."""
    return A * vector if A.ndim == 2 else jnp.einsum("kde,ke->kd", A, vector)


def outer_like(A: Float[Array, "K ..."], a: Float[Array, "K D"], b: Float[Array, "K D"]) -> Array:
    """Return a bᵀ, or its diagonal if matrices such as A are diagonal."""
    return a * b if A.ndim == 2 else a[:, :, None] * b[:, None, :]


def as_stack(values: Float[Array, "K"], A: Float[Array, "K ..."]) -> Array:
    """Return a number for each of K matrices such as A, so that it multiplies or chooses them."""
    return values.reshape(-1, *[1] * (A.ndim - 1))


def diagonal_of(A: Float[Array, "K ..."]) -> Float[Array, "K D"]:
    """Return the diagonals."""
    return A if A.ndim == 2 else jnp.diagonal(A, axis1=1, axis2=2)


def identity_like(A: Float[Array, "K ..."]) -> Float[Array, "..."]:
    """Return I as matrices such as A are held."""
    return jnp.ones_like(A[0]) if A.ndim == 2 else jnp.eye(A.shape[-1], dtype=A.dtype)


def transform(F: Float[Array, "K ..."], d: Float[Array, "K D n"]) -> Float[Array, "K D n"]:
    """Return F_k d_ki; F may have fewer rows than columns."""
    D = d.shape[1]
    if F.ndim == 2:
        return F[:, :, None] * d
    if D > UNROLLED_FEATURES:
        return jnp.einsum("kde,ken->kdn", F, d)
    return jnp.stack([sum(F[:, i, j, None] * d[:, j] for j in range(D)) for i in range(D)], axis=1)


def squared_distance(F: Float[Array, "K ..."], d: Float[Array, "K D n"]) -> Float[Array, "K n"]:
    """Return |F_k d_ki|², the squared Mahalanobis length of each deviation, for lower triangular F."""
    D = d.shape[1]
    if F.ndim == 2:
        return (transform(F, d) ** 2).sum(axis=1)
    if D > UNROLLED_FEATURES:
        parts = [(transform(F[:, a:b, :b], d[:, :b]) ** 2).sum(axis=1) for a, b in strips(D)]
        return sum(parts[1:], parts[0])
    rows = [sum(F[:, i, j, None] * d[:, j] for j in range(i + 1)) for i in range(D)]
    return jnp.stack([row * row for row in rows]).sum(axis=0)


def scatter_trace(Q: Float[Array, "K ..."], scatter: Scatter) -> Float[Array, "K n"]:
    """Return tr(Q_k S_i) for symmetric Q."""
    if Q.ndim == 2 and not isinstance(scatter, NoScatter):
        return Q @ scatter.diagonal(Q.shape[1])
    return scatter.trace(Q)


def weighted_sums(
    mass: Float[Array, "K n"], d: Float[Array, "K D n"], *, diagonal: bool
) -> tuple[Float[Array, "K"], Float[Array, "K D"], Float[Array, "K E"]]:
    """Return Σ_i mass_ki, Σ_i mass_ki d_ki and Σ_i mass_ki d_ki d_kiᵀ, the last packed or its diagonal.

    Up to a few variables all come from one product of matrices, which is several times faster than a
    loop for each sum.
    """
    D = d.shape[1]
    if D > UNROLLED_FEATURES:
        return mass.sum(axis=1), weighted_mean_sum(mass, d), weighted_outer(mass, d, diagonal=diagonal)
    rows = [jnp.ones_like(mass), *(d[:, r] for r in range(D)), *_products(d, diagonal)]
    sums = _weighted(mass, rows)
    return sums[:, 0], sums[:, 1 : 1 + D], sums[:, 1 + D :]


def weighted_mean_sum(mass: Float[Array, "K n"], d: Float[Array, "K D n"]) -> Float[Array, "K D"]:
    """Return Σ_i mass_ki d_ki."""
    return jnp.einsum("kn,kdn->kd", mass, d, precision=EXACT)


def weighted_scatter(
    weight: Float[Array, "K n"], scatter: Scatter, n_features: int, *, diagonal: bool
) -> Float[Array, "K E"]:
    """Return Σ_i weight_ki S_i, packed, or its diagonal."""
    if diagonal and not isinstance(scatter, NoScatter):
        return jnp.matmul(weight, scatter.diagonal(n_features).T, precision=EXACT)
    return scatter.weighted(weight, n_features)


def weighted_outer(
    mass: Float[Array, "K n"], d: Float[Array, "K D n"], *, diagonal: bool
) -> Float[Array, "K E"]:
    """Return Σ_i mass_ki d_ki d_kiᵀ, packed, or its diagonal."""
    if d.shape[1] <= UNROLLED_FEATURES:
        return _weighted(mass, _products(d, diagonal))
    weighted = mass[:, None, :] * d
    if diagonal:
        return jnp.einsum("kdn,kdn->kd", weighted, d, precision=EXACT)
    return pack(lower_products(weighted, d, "kdn,ken->kde"))


def spread_out(entries: Float[Array, "K E"], n_features: int, *, diagonal: bool) -> Float[Array, "K ..."]:
    """Return matrices from their packed triangles, or diagonals as they are."""
    return entries if diagonal else unpack(entries, n_features)


def _products(d: Float[Array, "K D n"], diagonal: bool) -> list[Float[Array, "K n"]]:
    D = d.shape[1]
    pairs = zip(range(D), range(D), strict=True) if diagonal else zip(*triangle(D), strict=True)
    return [d[:, r] * d[:, c] for r, c in pairs]


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
