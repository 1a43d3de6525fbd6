"""Covariance structures: which covariance matrices a component may have."""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from degmm.arrays import Array


def _full(W: Float[Array, "K D D"], mass: Float[Array, "K"]) -> Float[Array, "K D D"]:
    return W


def _diag(W: Float[Array, "K D D"], mass: Float[Array, "K"]) -> Float[Array, "K D D"]:
    return W * jnp.eye(W.shape[-1], dtype=W.dtype)


def _spherical(W: Float[Array, "K D D"], mass: Float[Array, "K"]) -> Float[Array, "K D D"]:
    D = W.shape[-1]
    return jnp.trace(W, axis1=1, axis2=2)[:, None, None] / D * jnp.eye(D, dtype=W.dtype)


def _tied(W: Float[Array, "K D D"], mass: Float[Array, "K"]) -> Float[Array, "K D D"]:
    pooled = jnp.einsum("k,kde->de", mass / mass.sum(), W)
    return jnp.broadcast_to(pooled, W.shape)


@dataclass(frozen=True)
class CovarianceStructure:
    """A constraint on the K covariance matrices of a mixture."""

    name: str
    project: Callable[[Float[Array, "K D D"], Float[Array, "K"]], Float[Array, "K D D"]]
    """Maximum-likelihood covariances under the constraint, from unconstrained ones and their masses"""
    n_parameters: Callable[[int, int], int]
    """Free entries, from K and D"""
    common_scale: bool = False
    """Whether rescaling one variable alone leaves the structure"""


STRUCTURES = {
    structure.name: structure
    for structure in (
        CovarianceStructure("full", _full, lambda K, D: K * D * (D + 1) // 2),
        CovarianceStructure("diag", _diag, lambda K, D: K * D),
        CovarianceStructure("spherical", _spherical, lambda K, D: K, common_scale=True),
        CovarianceStructure("tied", _tied, lambda K, D: D * (D + 1) // 2),
    )
}


def floor_eigenvalues(W: Float[Array, "K D D"], floor: Float[Array, ""]) -> Float[Array, "K D D"]:
    """Raise the eigenvalues of W that are below ``floor`` to it; other matrices are returned as they are.

    The floored matrix maximises the likelihood among covariances with no smaller eigenvalue, so EM
    stays monotone. No gradient flows through the correction: the derivative of an
    eigendecomposition is infinite at equal eigenvalues.
    """
    fixed = lax.stop_gradient(W)
    D = W.shape[-1]
    if D == 1:
        corrected = jnp.maximum(fixed, floor)
    elif D == 2:
        corrected = _floor_2x2(fixed, floor)
    else:
        values, vectors = jnp.linalg.eigh(fixed)
        rebuilt = jnp.einsum("kde,ke,kfe->kdf", vectors, jnp.maximum(values, floor), vectors)
        corrected = jnp.where((values[:, 0] < floor)[:, None, None], rebuilt, fixed)
    return W + (corrected - fixed)


def _floor_2x2(W: Float[Array, "K 2 2"], floor: Float[Array, ""]) -> Float[Array, "K 2 2"]:
    """Do the same in closed form: W = λ₁P + λ₂(I − P), with P the projection on the first eigenvector."""
    a, b, c = W[:, 0, 0], W[:, 1, 0], W[:, 1, 1]
    middle, half = (a + c) / 2, jnp.hypot((a - c) / 2, b)
    large, small = middle + half, middle - half
    gap = jnp.where(half > 0, large - small, 1)
    identity = jnp.eye(2, dtype=W.dtype)
    projection = jnp.where(
        (half > 0)[:, None, None], (W - small[:, None, None] * identity) / gap[:, None, None], 0
    )
    rebuilt = jnp.maximum(small, floor)[:, None, None] * (identity - projection) + (
        jnp.maximum(large, floor)[:, None, None] * projection
    )
    equal = jnp.maximum(middle, floor)[:, None, None] * identity
    rebuilt = jnp.where((half > 0)[:, None, None], rebuilt, equal)
    return jnp.where((small < floor)[:, None, None], rebuilt, W)


def smallest_eigenvalues(W: Float[np.ndarray, "... D D"]) -> Float[np.ndarray, "..."]:
    """Return the smallest eigenvalue of each matrix."""
    return np.linalg.eigvalsh(W)[..., 0]
