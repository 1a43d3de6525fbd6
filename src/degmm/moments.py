"""Sufficient statistics of ensembles: the only view of the members that mixtures have.

The likelihood of an exchangeable Gaussian ensemble depends on its members only through their
number M_i, their mean x̄_i and their scatter S_i about it (docs/architecture.md, equation 1). The
members are read once; whatever follows costs the same for M = 10 and for M = 1000.

Ensembles run along the last axis, so that the passes over them vectorise, and of the symmetric
scatter the lower triangle alone is kept, row by row.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from degmm.arrays import Array
from degmm.precision import precision_of

CHUNK_VALUES = 2**21
"""Members are read in chunks of about this many numbers, which fit into a processor's cache."""
ROUGH_SAMPLE = 1000
"""Number of ensembles that a first guess of centre and scale is taken from."""
ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""Relative spread below which a variable counts as constant."""
UNROLLED_FEATURES = 4
"""Up to this D the scatter is summed entry by entry along the ensembles, beyond by matrix products."""


class Moments(NamedTuple):
    """Number, mean and scatter of the members of n ensembles, and the ensembles' weights."""

    counts: Float[Array, "n"]
    """M_i, the number of members present"""
    mean: Float[Array, "D n"]
    """x̄_i"""
    scatter: Float[Array, "P n"]
    """S_i = Σ_m (x_im − x̄_i)(x_im − x̄_i)ᵀ, its lower triangle row by row, P = D(D+1)/2"""
    weights: Float[Array, "n"]
    """w_i"""

    @property
    def n_samples(self) -> int:
        """Number of ensembles n."""
        return self.mean.shape[-1]

    @property
    def n_features(self) -> int:
        """Number of variables D."""
        return self.mean.shape[0]

    def take(self, index: np.ndarray) -> "Moments":
        """Return the ensembles that ``index`` selects."""
        return Moments(*(part[..., index] for part in self))


class Scaling(NamedTuple):
    """Affine map of each variable to standard units, x ↦ (x − centre) / scale, in float64."""

    centre: Float[np.ndarray, "D"]
    scale: Float[np.ndarray, "D"]

    @property
    def log_jacobian(self) -> float:
        """Σ_d log scale_d: what a member's log density in standard units exceeds that in data units by."""
        return float(np.log(self.scale).sum())


def triangle(n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row and column of each packed entry of a symmetric D × D matrix."""
    return np.tril_indices(n_features)


def unpack(packed: Float[Array, "... P"], n_features: int) -> Float[Array, "... D D"]:
    """Return the symmetric matrices behind packed lower triangles."""
    position = np.zeros((n_features, n_features), dtype=np.int32)
    rows, columns = triangle(n_features)
    position[rows, columns] = position[columns, rows] = np.arange(rows.size)
    return packed[..., position]


def standardised_moments(
    X: Float[np.ndarray, "n M D"], weights: Float[np.ndarray, "n"], *, common_scale: bool = False
) -> tuple[Moments, Scaling]:
    """Read the members once and return their moments in standard units, and those units.

    Standard units have weighted mean 0 and variance 1 over all members of all ensembles.

    Parameters
    ----------
    X : ndarray, shape (n, M, D)
        Members; NaN where a member is absent.
    weights : ndarray, shape (n,)
        Weights of the ensembles.
    common_scale : bool
        Whether all variables share one scale, for models that variables of unequal scale would change.

    Returns
    -------
    moments : Moments, in standard units and in the precision of X
    scaling : Scaling
    """
    rough = _rough_scaling(X)
    moments = moments_of(X, weights, rough)
    scaling = _exact_scaling(moments, rough, common_scale)
    return _rescaled(moments, rough, scaling), scaling


def moments_of(X: Float[np.ndarray, "n M D"], weights: Float[np.ndarray, "n"], scaling: Scaling) -> Moments:
    """Read the members once and return their moments in the units of ``scaling``."""
    n, M, D = X.shape
    dtype = X.dtype
    # x − centre is exact for nearby floating-point numbers: the centre is taken off in two parts,
    # a leading one that is a number of the data's precision, and its remainder.
    leading = scaling.centre.astype(dtype)
    rest = ((scaling.centre - leading.astype(np.float64)) / scaling.scale).astype(dtype)
    inverse_scale = (1.0 / scaling.scale).astype(dtype)
    chunk = int(np.clip(CHUNK_VALUES // (M * D), 1, n))
    parts = []
    with precision_of(dtype):
        for start in range(0, n, chunk):
            block = X[start : start + chunk]
            short = chunk - block.shape[0]
            if short:  # one shape for all chunks: one compilation
                block = np.concatenate([block, np.repeat(block[:1], short, axis=0)])
            part = _chunk_moments(jnp.asarray(block), leading, rest, inverse_scale)
            parts.append([np.asarray(a)[..., : chunk - short] for a in part])
    counts, mean, scatter = (
        np.concatenate(a, axis=-1) if len(a) > 1 else a[0] for a in zip(*parts, strict=True)
    )
    return Moments(counts, mean, scatter, weights.astype(dtype))


def presence(X: Float[Array, "n M D"]) -> Bool[Array, "n M"]:
    """Return which members are present: those without a NaN in any variable."""
    return ~jnp.isnan(X).any(axis=-1)


@partial(jax.jit)
def _chunk_moments(
    X: Float[Array, "n M D"],
    leading: Float[Array, "D"],
    rest: Float[Array, "D"],
    inverse_scale: Float[Array, "D"],
) -> tuple[Float[Array, "n"], Float[Array, "D n"], Float[Array, "P n"]]:
    D = X.shape[2]
    rows, columns = triangle(D)
    present = presence(X)
    x = jnp.where(present[..., None], (X - leading) * inverse_scale - rest, 0)
    counts = present.sum(axis=1).astype(X.dtype)
    if D <= UNROLLED_FEATURES:
        x, present = x.transpose(2, 1, 0), present.T
        mean = x.sum(axis=1) / counts
        centred = jnp.where(present, x - mean[:, None, :], 0)
        scatter = jnp.stack(
            [(centred[r] * centred[c]).sum(axis=0) for r, c in zip(rows, columns, strict=True)]
        )
        return counts, mean, scatter
    mean = x.sum(axis=1) / counts[:, None]
    centred = jnp.where(present[..., None], x - mean[:, None, :], 0)
    full = jnp.einsum("nmd,nme->nde", centred, centred)
    return counts, mean.T, full[:, rows, columns].T


def _rough_scaling(X: Float[np.ndarray, "n M D"]) -> Scaling:
    """Guess centre and scale from a few ensembles; powers of two, so that scaling rounds nothing."""
    step = max(1, X.shape[0] // ROUGH_SAMPLE)
    sample = X[::step].reshape(-1, X.shape[2]).astype(np.float64)
    sample = sample[~np.isnan(sample).any(axis=1)]
    spread = sample.std(axis=0)
    largest = np.abs(sample).max(axis=0)
    magnitude = np.where(spread > ROUNDING * largest, spread, largest)
    magnitude = np.where(magnitude > 0, magnitude, 1.0)
    return Scaling(sample.mean(axis=0), np.exp2(np.round(np.log2(magnitude))))


def _exact_scaling(moments: Moments, units: Scaling, common_scale: bool) -> Scaling:
    D = moments.n_features
    rows, columns = triangle(D)
    mass = np.asarray(moments.weights, np.float64) * np.asarray(moments.counts, np.float64)
    mean = np.asarray(moments.mean, np.float64)
    centre = mean @ mass / mass.sum()
    within = np.asarray(moments.scatter)[rows == columns].astype(np.float64) @ np.asarray(
        moments.weights, np.float64
    )
    variance = (within + (mean - centre[:, None]) ** 2 @ mass) / mass.sum()
    # A variable that does not vary has no scale of its own; rounding may leave it a trace of one.
    offset = np.maximum(np.abs(units.centre / units.scale), 1)
    constant = variance <= (ROUNDING * offset) ** 2
    if common_scale:
        variance = np.full(D, variance[~constant].mean() if not constant.all() else 1.0)
    else:
        variance = np.where(constant, 1.0, variance)
    return Scaling(units.centre + units.scale * centre, units.scale * np.sqrt(variance))


def _rescaled(moments: Moments, old: Scaling, new: Scaling) -> Moments:
    """Return the same moments in other units; means are moved in float64."""
    dtype = moments.mean.dtype
    rows, columns = triangle(moments.n_features)
    ratio = old.scale / new.scale
    shift = (old.centre - new.centre) / new.scale
    mean = (np.asarray(moments.mean, np.float64) * ratio[:, None] + shift[:, None]).astype(dtype)
    scatter = np.asarray(moments.scatter) * (ratio[rows] * ratio[columns]).astype(dtype)[:, None]
    return moments._replace(mean=mean, scatter=scatter)
