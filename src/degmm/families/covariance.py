"""Covariance structures: which covariance matrices a component may have."""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Bool, Float

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


def _solve_diag(yu: Float[Array, "K D D"], uu: Float[Array, "K D D"]) -> Float[Array, "K D D"]:
    eye = jnp.eye(uu.shape[-1], dtype=uu.dtype)
    return _ratio(yu, uu * eye + (1 - eye)) * eye


def _solve_spherical(yu: Float[Array, "K D D"], uu: Float[Array, "K D D"]) -> Float[Array, "K D D"]:
    slope = _ratio(jnp.trace(yu, axis1=1, axis2=2), jnp.trace(uu, axis1=1, axis2=2))
    return slope[:, None, None] * jnp.eye(uu.shape[-1], dtype=uu.dtype)


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
    project: Callable[[Float[Array, "K D D"], Float[Array, "K"]], Float[Array, "K D D"]]
    """Maximum-likelihood covariances under the constraint, from unconstrained ones and their masses"""
    regress: Callable[[Float[Array, "K D D"], Float[Array, "K D D"]], Float[Array, "K D D"]]
    """Least-squares slopes A of y on u that keep A B Aᵀ in the structure, from Σ y uᵀ and Σ u uᵀ"""
    n_parameters: Callable[[int, int], int]
    """Free entries, from K and D"""
    common_scale: bool = False
    """Whether rescaling one variable alone leaves the structure"""


STRUCTURES = {
    structure.name: structure
    for structure in (
        CovarianceStructure("full", _full, _solve, _count_full),
        CovarianceStructure("diag", _diag, _solve_diag, _count_diag),
        CovarianceStructure("spherical", _spherical, _solve_spherical, _count_spherical, common_scale=True),
        CovarianceStructure("tied", _tied, _solve_tied, _count_tied),
    )
}


def symmetric_eigen(
    C: Float[Array, "K D D"],
) -> tuple[Float[Array, "K D"], Float[Array, "K D D"]]:
    """Return eigenvalues and eigenvectors (columns), in no particular order.

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


def compose(vectors: Float[Array, "K D D"], values: Float[Array, "K D"]) -> Float[Array, "K D D"]:
    """Return V diag(values) Vᵀ."""
    return jnp.einsum("kde,ke,kfe->kdf", vectors, values, vectors)


def floor_eigenvalues(W: Float[Array, "K D D"], floor: Float[Array, ""]) -> Float[Array, "K D D"]:
    """Raise the eigenvalues of W that are below ``floor`` to it; other matrices are returned as they are.

    The floored matrix maximises the likelihood among covariances with no smaller eigenvalue, so EM
    stays monotone. A floor too low for a factorisation in this precision is raised to one that is
    not. No gradient flows through the correction: the derivative of an eigendecomposition is
    infinite at equal eigenvalues.
    """
    fixed = lax.stop_gradient(W)
    values, vectors = symmetric_eigen(fixed)
    least = jnp.maximum(floor, lowest_sound(values))[:, None]
    rebuilt = compose(vectors, jnp.maximum(values, least))
    low = (values < least).any(axis=1)[:, None, None]
    return W + jnp.where(low, rebuilt - fixed, 0)


def lowest_sound(values: Float[Array, "... D"]) -> Float[Array, "..."]:
    """Return the smallest eigenvalue that rounding leaves meaningful beside the largest of ``values``."""
    return 4 * values.shape[-1] * jnp.finfo(values.dtype).eps * values.max(axis=-1)


def at_floor(W: Float[np.ndarray, "... D D"], floor: float) -> Bool[np.ndarray, "..."]:
    """Return whether each matrix has an eigenvalue at the floor of :func:`floor_eigenvalues`."""
    values = np.linalg.eigvalsh(W)
    return values[..., 0] <= 1.01 * np.maximum(floor, np.asarray(lowest_sound(values)))
