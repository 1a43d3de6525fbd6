"""Forms in which the scatters S_i of ensembles about their means are held: no more than a mixture reads.

A scatter takes D(D+1)/2 numbers as a matrix, none where ensembles have one member, D where covariances
are diagonal, and (M − 1) D as the deviations it is made of. :func:`form_for` chooses; families see the
methods alone. Ensembles run along the last axis of each form.
"""

from itertools import pairwise
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from degmm.arrays import Array

UNROLLED_FEATURES = 4
"""Up to this D products with D × D matrices are written out along the ensembles, several times faster."""
TRIANGLE_SHARE = 8
"""A triangle of at most so many times the numbers of the deviations costs less than they do: it is read twice
an iteration, where each deviation is multiplied by 2 K matrices (docs/benchmarks.md)."""
SINGLE_PASS_FEATURES = 16
"""Up to this D triangles pay for one pass too."""
STRIPS, STRIPPED_FEATURES = 4, 64
"""Beyond so many variables symmetric products are made in strips of rows, each up to its diagonal block: with
four of them 5/8 of the multiplications."""
EXACT = lax.Precision.HIGHEST
"""Of sums over ensembles: left to themselves, accelerators multiply float32 with fewer digits."""


def triangle(n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row and column of each packed entry of a symmetric D × D matrix."""
    return np.tril_indices(n_features)


def unpack(packed: Float[Array, "... P"], n_features: int) -> Float[Array, "... D D"]:
    """Return the symmetric matrices behind packed lower triangles."""
    position = np.zeros((n_features, n_features), dtype=np.int32)
    rows, columns = triangle(n_features)
    position[rows, columns] = position[columns, rows] = np.arange(rows.size)
    return packed[..., position]


def pack(full: Float[Array, "... D D"]) -> Float[Array, "... P"]:
    """Return the packed lower triangles of symmetric matrices."""
    rows, columns = triangle(full.shape[-1])
    return full[..., rows, columns]


def strips(n_features: int) -> list[tuple[int, int]]:
    """Return the strips of rows in which products with a triangle are made."""
    if n_features <= STRIPPED_FEATURES:
        return [(0, n_features)]
    ends = [n_features * s // STRIPS for s in range(STRIPS + 1)]
    return [*pairwise(ends)]


def lower_products(
    left: Float[Array, "K D n"], right: Float[Array, "... D n"], equation: str
) -> Float[Array, "K D D"]:
    """Return the products of rows of ``left`` with those of ``right`` up to the own one, zeros beyond.

    ``equation`` is that of ``einsum``, for whatever further axes there are.
    """
    D = left.shape[1]
    rows = []
    for first, last in strips(D):
        part = jnp.einsum(equation, left[:, first:last], right[..., :last, :], precision=EXACT)
        rows.append(jnp.pad(part, [(0, 0), (0, 0), (0, D - last)]))
    return jnp.concatenate(rows, axis=1)


class NoScatter(NamedTuple):
    """Of ensembles of one member: S = 0."""

    values: Float[Array, "0 n"]

    def diagonal(self, n_features: int) -> Float[Array, "D n"]:
        """Return the sums of squares of the D variables, all 0."""
        return np.zeros((n_features, self.values.shape[-1]), self.values.dtype)

    def trace(self, Q: Float[Array, "K D D"]) -> Float[Array, "1 1"]:
        """Return tr(Q_k S_i) = 0."""
        return jnp.zeros((1, 1), self.values.dtype)

    def weighted(self, weight: Float[Array, "K n"], n_features: int) -> Float[Array, "1 1"]:
        """Return Σ_i weight_ki S_i = 0."""
        return jnp.zeros((1, 1), self.values.dtype)

    def packed(self, n_features: int) -> Float[np.ndarray, "P n"]:
        """Return the lower triangles."""
        return np.zeros((n_features * (n_features + 1) // 2, self.values.shape[-1]), self.values.dtype)

    def projected(self, directions: Float[np.ndarray, "D r"]) -> "NoScatter":
        """Return the scatters in other coordinates."""
        return self

    def rescaled(self, ratio: Float[np.ndarray, "D"], out: np.ndarray | None = None) -> "NoScatter":
        """Return the scatters of variables in other units, in ``out`` if that is given."""
        return self


class Variances(NamedTuple):
    """The diagonals of the scatters, for covariances that are diagonal."""

    values: Float[Array, "D n"]

    def diagonal(self, n_features: int) -> Float[Array, "D n"]:
        """Return the sums of squares of the D variables."""
        return self.values

    def trace(self, Q: Float[Array, "K D D"]) -> Float[Array, "K n"]:
        """Return tr(Q_k S_i), as if S had no other entries than these."""
        return jnp.diagonal(Q, axis1=1, axis2=2) @ self.values

    def weighted(self, weight: Float[Array, "K n"], n_features: int) -> Float[Array, "K P"]:
        """Return Σ_i weight_ki S_i, packed, as if S had no other entries than these."""
        sums = jnp.matmul(weight, self.values.T, precision=EXACT)
        return pack(sums[:, :, None] * jnp.eye(n_features, dtype=sums.dtype))

    def packed(self, n_features: int) -> Float[np.ndarray, "P n"]:
        """Return the lower triangles, as if S had no other entries than these."""
        rows, columns = triangle(n_features)
        out = np.zeros((rows.size, self.values.shape[-1]), self.values.dtype)
        out[rows == columns] = self.values
        return out

    def projected(self, directions: Float[np.ndarray, "D r"]) -> "Triangle":
        """Return the scatters in r other coordinates, as if variables did not depend on each other."""
        rows, columns = triangle(directions.shape[1])
        return Triangle((directions[:, rows] * directions[:, columns]).T @ np.asarray(self.values))

    def rescaled(self, ratio: Float[np.ndarray, "D"], out: np.ndarray | None = None) -> "Variances":
        """Return the scatters of variables in other units, in ``out`` if that is given."""
        return Variances(_scaled(self.values, ratio**2, out))


class Triangle(NamedTuple):
    """The lower triangles, row by row, P = D(D+1)/2."""

    values: Float[Array, "P n"]

    def diagonal(self, n_features: int) -> Float[Array, "D n"]:
        """Return the sums of squares of the D variables."""
        rows, columns = triangle(n_features)
        return self.values[rows == columns]

    def trace(self, Q: Float[Array, "K D D"]) -> Float[Array, "K n"]:
        """Return tr(Q_k S_i) for symmetric Q."""
        D = Q.shape[-1]
        rows, columns = triangle(D)
        packed = Q[:, rows, columns] * np.where(rows == columns, 1, 2).astype(Q.dtype)
        if D > UNROLLED_FEATURES:
            return packed @ self.values
        return jnp.stack([packed[:, p, None] * self.values[p] for p in range(rows.size)]).sum(axis=0)

    def weighted(self, weight: Float[Array, "K n"], n_features: int) -> Float[Array, "K P"]:
        """Return Σ_i weight_ki S_i, packed."""
        return jnp.matmul(weight, self.values.T, precision=EXACT)

    def packed(self, n_features: int) -> Float[np.ndarray, "P n"]:
        """Return the lower triangles."""
        return np.asarray(self.values)

    def projected(self, directions: Float[np.ndarray, "D r"]) -> "Triangle":
        """Return the scatters in r other coordinates."""
        rows, columns = triangle(directions.shape[0])
        first, second = triangle(directions.shape[1])
        product = directions[rows][:, first] * directions[columns][:, second]
        mirrored = directions[columns][:, first] * directions[rows][:, second]
        factors = np.where((rows == columns)[:, None], product, product + mirrored)
        return Triangle(factors.T.astype(self.values.dtype) @ np.asarray(self.values))

    def rescaled(self, ratio: Float[np.ndarray, "D"], out: np.ndarray | None = None) -> "Triangle":
        """Return the scatters of variables in other units, in ``out`` if that is given."""
        rows, columns = triangle(ratio.size)
        return Triangle(_scaled(self.values, ratio[rows] * ratio[columns], out))


class Deviations(NamedTuple):
    """Deviations y_r with S = Σ_r y_r y_rᵀ, those of a variable together: R = M − 1 of them do."""

    values: Float[Array, "DR n"]

    def rows(self, n_features: int) -> Float[Array, "D R n"]:
        """Return the deviations by variable and number."""
        return self.values.reshape(n_features, -1, self.values.shape[-1])

    def diagonal(self, n_features: int) -> Float[Array, "D n"]:
        """Return the sums of squares of the D variables."""
        return (self.rows(n_features) ** 2).sum(axis=1)

    def trace(self, Q: Float[Array, "K D D"]) -> Float[Array, "K n"]:
        """Return tr(Q_k S_i) = Σ_r y_rᵀ Q_k y_r for symmetric Q."""
        K, D = Q.shape[:2]
        y = self.rows(D)
        total = jnp.zeros((K, y.shape[2]), y.dtype)
        for first, last in strips(D):
            # what is left of the diagonal block stands for what is above it too
            twice = np.where(np.arange(last) < first, 2, 1).astype(Q.dtype)
            strip = (Q[:, first:last, :last] * twice).reshape(-1, last)
            z = (strip @ y[:last].reshape(last, -1)).reshape(K, last - first, *y.shape[1:])
            total = total + (z * y[first:last]).sum(axis=(1, 2))
        return total

    def weighted(self, weight: Float[Array, "K n"], n_features: int) -> Float[Array, "K P"]:
        """Return Σ_i weight_ki S_i, packed."""
        y = self.rows(n_features)
        K, D = weight.shape[0], n_features
        weighted = (weight[:, None, None, :] * y).reshape(K, D, -1)
        return pack(lower_products(weighted, y.reshape(D, -1), "kdn,en->kde"))

    def packed(self, n_features: int) -> Float[np.ndarray, "P n"]:
        """Return the lower triangles."""
        y = np.moveaxis(np.asarray(self.rows(n_features)), 2, 0)
        return pack(y @ np.swapaxes(y, 1, 2)).T

    def projected(self, directions: Float[np.ndarray, "D r"]) -> "Triangle":
        """Return the scatters in r other coordinates."""
        y = np.asarray(self.rows(directions.shape[0]))
        moved = np.tensordot(directions.astype(y.dtype), y, axes=(0, 0))
        rows, columns = triangle(directions.shape[1])
        return Triangle(np.einsum("prn,prn->pn", moved[rows], moved[columns]))

    def rescaled(self, ratio: Float[np.ndarray, "D"], out: np.ndarray | None = None) -> "Deviations":
        """Return the scatters of variables in other units, in ``out`` if that is given."""
        return Deviations(_scaled(self.values, np.repeat(ratio, len(self.values) // ratio.size), out))


Scatter: TypeAlias = NoScatter | Variances | Triangle | Deviations
Form: TypeAlias = type[NoScatter] | type[Variances] | type[Triangle] | type[Deviations]


def form_for(n_members: int, n_features: int, *, diagonal: bool, passes: int | None = None) -> Form:
    """Return the form for ensembles of up to M members in D variables that takes the least work.

    Parameters
    ----------
    n_members, n_features : int
    diagonal : bool
        Whether all covariances are diagonal.
    passes : int, optional
        How often the moments are gone through; by default many times. For a single one triangles do not pay
        beyond a few variables.
    """
    if n_members == 1:
        return NoScatter
    if diagonal:
        return Variances
    wide = (n_features + 1) / 2 > TRIANGLE_SHARE * (n_members - 1)
    once = passes == 1 and n_features > SINGLE_PASS_FEATURES
    return Deviations if (wide and n_features > UNROLLED_FEATURES) or once else Triangle


def rows_of(form: Form, n_members: int, n_features: int) -> int:
    """Return how many numbers of an ensemble a form holds."""
    sizes: dict[Form, int] = {
        NoScatter: 0,
        Variances: n_features,
        Triangle: n_features * (n_features + 1) // 2,
        Deviations: n_features * (n_members - 1),
    }
    return sizes[form]


def _scaled(
    values: Float[Array, "S n"], factors: Float[np.ndarray, "S"], out: np.ndarray | None
) -> Float[np.ndarray, "S n"]:
    return np.multiply(values, factors.astype(values.dtype)[:, None], out=out)
