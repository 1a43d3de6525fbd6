"""Covariance structures: which covariance matrices a component may have.

The covariances of K components are a stack of matrices, shape (K, D, D), or of their diagonals, shape (K, D),
where a structure has no other entries. Functions here and in ``degmm.families.gaussian`` take either.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Bool, Float

from degmm.arrays import Array

WIDE_FEATURES = 16
"""Above this D products of matrices fill the processor: runs go one after the other, and their search in
few directions."""
SMALLEST = 1e-30
"""Least variance on a diagonal"""


def _full(W: Float[Array, "K D D"], mass: Float[Array, "K"]) -> Float[Array, "K D D"]:
    return W


def _diag(W: Float[Array, "K D"], mass: Float[Array, "K"]) -> Float[Array, "K D"]:
    return W


def _spherical(W: Float[Array, "K D"], mass: Float[Array, "K"]) -> Float[Array, "K D"]:
    return jnp.broadcast_to(W.mean(axis=1, keepdims=True), W.shape)


def _tied(W: Float[Array, "K D D"], mass: Float[Array, "K"]) -> Float[Array, "K D D"]:
    pooled = jnp.einsum("k,kde->de", mass / mass.sum(), W)
    return jnp.broadcast_to(pooled, W.shape)


def _solve(yu: Float[Array, "K D D"], uu: Float[Array, "K D D"]) -> Float[Array, "K D D"]:
    """Return yu uu⁻¹ with uu scaled to a unit diagonal; directions without any u get 0."""
    diagonal = jnp.diagonal(uu, axis1=1, axis2=2)
    scale = jnp.where(diagonal > 0, lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1)), 0)
    unit = uu * scale[:, :, None] * scale[:, None, :] + jnp.where(scale > 0, 0, 1)[:, :, None] * jnp.eye(
        uu.shape[-1], dtype=uu.dtype
    )
    right = jnp.swapaxes(yu * scale[:, None, :], 1, 2)
    return jnp.swapaxes(jnp.linalg.solve(unit, right), 1, 2) * scale[:, None, :]


def _ratio(above: Float[Array, "..."], below: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.where(below > 0, above / jnp.where(below > 0, below, 1), 0)


def _solve_diag(yu: Float[Array, "K D"], uu: Float[Array, "K D"]) -> Float[Array, "K D"]:
    return _ratio(yu, uu)


def _solve_spherical(yu: Float[Array, "K D"], uu: Float[Array, "K D"]) -> Float[Array, "K D"]:
    slope = _ratio(yu.sum(axis=1, keepdims=True), uu.sum(axis=1, keepdims=True))
    return jnp.broadcast_to(slope, uu.shape)


def _solve_tied(yu: Float[Array, "K D D"], uu: Float[Array, "K D D"]) -> Float[Array, "K D D"]:
    pooled = _solve(yu.sum(axis=0, keepdims=True), uu.sum(axis=0, keepdims=True))
    return jnp.broadcast_to(pooled, uu.shape)


# Named, not lambdas: a fitted model can be pickled.
def _count_full(K: int, D: int) -> int:
    return K * D * (D + 1) // 2


def _count_diag(K: int, D: int) -> int:
    return K * D


def _count_spherical(K: int, D: int) -> int:
    return K


def _count_tied(K: int, D: int) -> int:
    return D * (D + 1) // 2


@dataclass(frozen=True)
class CovarianceStructure:
    """A constraint on the K covariance matrices of a mixture."""

    name: str
    project: Callable[[Float[Array, "K ..."], Float[Array, "K"]], Float[Array, "K ..."]]
    """Maximum-likelihood covariances under the constraint, from unconstrained ones and their masses"""
    regress: Callable[[Float[Array, "K ..."], Float[Array, "K ..."]], Float[Array, "K ..."]]
    """Least-squares slopes A of y on u that keep A B Aᵀ in the structure, from Σ y uᵀ and Σ u uᵀ"""
    n_parameters: Callable[[int, int], int]
    """Free entries, from K and D"""
    common_scale: bool = False
    """Whether rescaling one variable alone leaves the structure"""
    diagonal: bool = False
    """Whether covariances are held as diagonals"""


STRUCTURES = {
    structure.name: structure
    for structure in (
        CovarianceStructure("full", _full, _solve, _count_full),
        CovarianceStructure("diag", _diag, _solve_diag, _count_diag, diagonal=True),
        CovarianceStructure(
            "spherical", _spherical, _solve_spherical, _count_spherical, common_scale=True, diagonal=True
        ),
        CovarianceStructure("tied", _tied, _solve_tied, _count_tied),
    )
}


def dense(
    W: Float[np.ndarray, "..."], structure: CovarianceStructure | None = None
) -> Float[np.ndarray, "... D D"]:
    """Return covariances as matrices, however they are held; of more than one stack by their structure."""
    diagonal = W.ndim == 2 if structure is None else structure.diagonal
    return W[..., None] * np.eye(W.shape[-1], dtype=W.dtype) if diagonal else W


def held(W: Float[np.ndarray, "K D D"], structure: CovarianceStructure) -> Float[np.ndarray, "K ..."]:
    """Return covariance matrices as a structure holds them."""
    return np.ascontiguousarray(np.diagonal(W, axis1=-2, axis2=-1)) if structure.diagonal else W


def symmetric_eigen(
    C: Float[Array, "K D D"],
) -> tuple[Float[Array, "K D"], Float[Array, "K D D"]]:
    """Return eigenvalues and eigenvectors (columns) of matrices, in no particular order.

    Up to D = 2 in closed form, which runs of EM side by side compute together. A diagonal matrix
    gets coordinate axes, exactly.
    """
    D = C.shape[-1]
    if D == 1:
        return C[:, :, 0], jnp.ones_like(C)
    if D > 2:
        return jnp.linalg.eigh(C)
    a, b, c = C[:, 0, 0], C[:, 1, 0], C[:, 1, 1]
    half = jnp.hypot((a - c) / 2, b)
    # half angles without cancellation: the larger of |cos|, |sin| from a root, the other by division
    plain = b == 0
    larger = jnp.sqrt(0.5 + 0.25 * jnp.abs(a - c) / jnp.where(half > 0, half, 1))
    smaller = 0.5 * b / jnp.where(plain, 1, half * larger)
    upright = a >= c
    cosine = jnp.where(plain, 1, jnp.where(upright, larger, jnp.abs(smaller)))
    sine = jnp.where(plain, 0, jnp.where(upright, smaller, jnp.sign(b) * larger))
    vectors = jnp.stack([jnp.stack([cosine, -sine], -1), jnp.stack([sine, cosine], -1)], -2)
    middle = (a + c) / 2
    half = jnp.where(plain, (a - c) / 2, half)
    return jnp.stack([middle + half, middle - half], -1), vectors


def joint_axes(
    C: Float[Array, "K ..."],
) -> tuple[Float[Array, "K D"], Float[Array, "K ..."]]:
    """Return variances along axes that do not depend on each other, and these axes.

    Eigenvalues and eigenvectors of matrices; diagonals have their own, and axes of length 1.
    """
    return (C, jnp.ones_like(C)) if C.ndim == 2 else symmetric_eigen(C)


def compose(vectors: Float[Array, "K ..."], values: Float[Array, "K D"]) -> Float[Array, "K ..."]:
    """Return V diag(values) Vᵀ."""
    if vectors.ndim == 2:
        return vectors**2 * values
    return jnp.einsum("kde,ke,kfe->kdf", vectors, values, vectors)


def floor_eigenvalues(W: Float[Array, "K ..."], floor: Float[Array, ""]) -> Float[Array, "K ..."]:
    """Raise the eigenvalues of W that are below ``floor`` to it; other matrices are returned as they are.

    The floored matrix maximises the likelihood among covariances with no smaller eigenvalue, so EM
    stays monotone. A floor too low for a factorisation in this precision is raised to one that is
    not. No gradient flows through the correction: the derivative of an eigendecomposition is
    infinite at equal eigenvalues.
    """
    fixed = lax.stop_gradient(W)
    if W.ndim == 2:
        return W + (jnp.maximum(fixed, jnp.maximum(floor, SMALLEST)) - fixed)
    return W + (_lift(fixed, floor) if W.shape[-1] <= 2 else _lift_if_needed(fixed, jnp.asarray(floor)))


@custom_vmap
def _lift_if_needed(W: Float[Array, "K D D"], floor: Float[Array, ""]) -> Float[Array, "K D D"]:
    """Return what :func:`_lift` does: that nothing is to be raised, as nearly always, is cheaper to tell."""
    D = W.shape[-1]
    bound = jnp.trace(W, axis1=1, axis2=2)  # of the largest eigenvalue
    least = jnp.maximum(floor, _lowest_sound(bound, D))[:, None, None]
    below = jnp.linalg.cholesky(W - least * jnp.eye(D, dtype=W.dtype))
    return lax.cond(jnp.isfinite(below).all(), jnp.zeros_like, partial(_lift, floor=floor), W)


@_lift_if_needed.def_vmap
def _(
    axis_size: int, batched: Any, W: Float[Array, "..."], floor: Float[Array, "..."]
) -> tuple[Float[Array, "..."], bool]:
    """Look at the matrices of all runs side by side as one stack, so that the branch stays one."""
    if batched[1]:  # floors of their own: no such runs are compiled here
        return jax.vmap(_lift, in_axes=(0 if batched[0] else None, 0))(W, floor), True
    return _lift_if_needed(W.reshape(-1, *W.shape[2:]), floor).reshape(W.shape), True


def _lift(W: Float[Array, "K D D"], floor: Float[Array, ""]) -> Float[Array, "K D D"]:
    """Return what raises the eigenvalues below a floor to it, 0 where there are none."""
    values, vectors = symmetric_eigen(W)
    least = jnp.maximum(floor, lowest_sound(values))[:, None]
    low = (values < least).any(axis=1)[:, None, None]
    return jnp.where(low, compose(vectors, jnp.maximum(values, least)) - W, 0)


def lowest_sound(values: Float[Array, "... D"]) -> Float[Array, "..."]:
    """Return the smallest eigenvalue that rounding leaves meaningful beside the largest of ``values``."""
    return _lowest_sound(values.max(axis=-1), values.shape[-1])


def _lowest_sound(largest: Float[Array, "..."], n_features: int) -> Float[Array, "..."]:
    return 4 * n_features * jnp.finfo(largest.dtype).eps * largest


def at_floor(
    W: Float[np.ndarray, "..."], floor: float, structure: CovarianceStructure
) -> Bool[np.ndarray, "..."]:
    """Return whether each covariance has an eigenvalue at the floor of :func:`floor_eigenvalues`."""
    if structure.diagonal:
        return W.min(axis=-1) <= 1.01 * floor
    values = np.linalg.eigvalsh(W)
    return values[..., 0] <= 1.01 * np.maximum(floor, np.asarray(lowest_sound(values)))
