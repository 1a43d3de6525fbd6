"""Sufficient statistics of ensembles: the only view of the members that mixtures have.

The likelihood of an exchangeable Gaussian ensemble depends on its members only through their
number M_i, their mean x̄_i and their scatter S_i about it (docs/architecture.md, equation 1). The
members are read once; whatever follows costs the same for M = 10 and for M = 1000.

Ensembles run along the last axis, so that the passes over them vectorise, and of the symmetric
scatter the lower triangle alone is kept, row by row.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from degmm.arrays import Array
from degmm.compilation import jit
from degmm.precision import precision_of

CHUNK_VALUES = 2**19
"""Members are read in chunks of about this many numbers, which fit into a processor's cache."""
ROUGH_SAMPLE = (1000, 20)
"""Numbers of ensembles, and of members of each, that a first guess of centre and scale is taken from."""
OUTLYING = 100
"""A standard deviation beyond this many times the quartiles' is due to outliers, and sets no scale."""
ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""Relative spread below which a variable counts as constant."""
SMALLEST_BUCKET = 16
"""Fewest ensembles that compiled functions see."""
QUARTILES_APART = 1.349
"""Distance of a normal distribution's quartiles, in standard deviations."""
UNROLLED_FEATURES = 4
"""Up to this D products with D × D matrices are written out along the ensembles, several times faster."""


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


DATA_UNITS = Scaling(np.zeros(1), np.ones(1))
"""The units of the data themselves, for any number of variables."""


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
    X: Float[np.ndarray, "n M D"],
    weights: Float[np.ndarray, "n"],
    dtype: Any = None,
    *,
    common_scale: bool = False,
) -> tuple[Moments, Scaling]:
    """Read the members once and return their moments in standard units, and those units.

    Standard units have weighted mean 0 and variance 1 over all members of all ensembles. A variable
    whose standard deviation is due to a few outliers is centred at its median and scaled by
    ``OUTLYING`` times its quartiles' spread instead, so that they do not hide all other structure.

    Parameters
    ----------
    X : ndarray, shape (n, M, D)
        Members; NaN where a member is absent.
    weights : ndarray, shape (n,)
        Weights of the ensembles.
    dtype : float32 or float64, optional
        Precision of the moments, by default that of X. The members are centred in their own.
    common_scale : bool
        Whether all variables share one scale, for models that variables of unequal scale would change.

    Returns
    -------
    moments : Moments, in standard units
    scaling : Scaling

    Raises
    ------
    ValueError
        If the precision cannot hold the square of a variable's spread.
    """
    dtype = X.dtype if dtype is None else dtype
    rough = _rough_scaling(X, weights)
    _check_squares(rough.units, np.promote_types(X.dtype, dtype))
    moments = moments_of(X, weights, rough.units, dtype)
    scaling = _exact_scaling(moments, rough, common_scale)
    _check_squares(scaling, dtype)
    return _rescaled(moments, rough.units, scaling), scaling


def moments_of(
    X: Float[np.ndarray, "n M D"], weights: Float[np.ndarray, "n"], scaling: Scaling, dtype: Any = None
) -> Moments:
    """Read the members once and return their moments in the units of ``scaling``.

    The members are centred and summed in their own precision, or in ``dtype`` if that is higher.
    """
    n, M, D = X.shape
    dtype = X.dtype if dtype is None else dtype
    inner = np.promote_types(X.dtype, dtype)
    # x − centre is exact for nearby floating-point numbers: the centre is taken off in two parts,
    # a leading one that is a number of the data's precision, and its remainder.
    leading = scaling.centre.astype(inner)
    rest = ((scaling.centre - leading.astype(np.float64)) / scaling.scale).astype(inner)
    inverse_scale = (1.0 / scaling.scale).astype(inner)
    chunk = int(np.clip(CHUNK_VALUES // (M * D), 1, bucket(n)))
    parts = []
    with precision_of(inner):
        for start in range(0, n, chunk):
            block = X[start : start + chunk]
            short = chunk - block.shape[0]
            if short:  # few shapes, hence few compilations
                block = np.concatenate([block, np.repeat(block[:1], short, axis=0)])
            part = _chunk_moments(jnp.asarray(block, inner), leading, rest, inverse_scale)
            parts.append([np.asarray(a, dtype)[..., : chunk - short] for a in part])
    counts, mean, scatter = (
        np.concatenate(a, axis=-1) if len(a) > 1 else a[0] for a in zip(*parts, strict=True)
    )
    return Moments(counts, mean, scatter, weights.astype(dtype))


def bucket(n: int, smallest: int = SMALLEST_BUCKET) -> int:
    """Return n rounded up to one of a few sizes, an eighth more at most: few shapes, few compilations."""
    n = max(n, smallest)
    step = 2 ** max(int(n - 1).bit_length() - 4, 0)
    return -(-n // step) * step


def padded(moments: Moments, n: int) -> Moments:
    """Return the moments of n ensembles, the added ones of weight 0."""
    extra = n - moments.n_samples
    if not extra:
        return moments
    counts, *rest = (
        np.pad(np.asarray(part), [(0, 0)] * (np.ndim(part) - 1) + [(0, extra)]) for part in moments
    )
    counts[-extra:] = np.asarray(moments.counts)[0]
    return Moments(counts, *rest)


def presence(X: Float[Array, "... D"]) -> Bool[Array, "..."]:
    """Return which members are present: those without a NaN in any variable."""
    known = X == X
    if X.shape[-1] > UNROLLED_FEATURES:
        return known.all(axis=-1)
    present = known[..., 0]
    for d in range(1, X.shape[-1]):  # variable by variable: see UNROLLED_FEATURES
        present = present & known[..., d]
    return present


@jit
def _chunk_moments(
    X: Float[Array, "n M D"],
    leading: Float[Array, "D"],
    rest: Float[Array, "D"],
    inverse_scale: Float[Array, "D"],
) -> tuple[Float[Array, "n"], Float[Array, "D n"], Float[Array, "P n"]]:
    D = X.shape[2]
    rows, columns = triangle(D)
    present = presence(X)
    counts = present.sum(axis=1).astype(X.dtype)
    if D <= UNROLLED_FEATURES:
        # variable by variable, in the order of memory: ten times faster than moving axes
        scaled = [(X[..., d] - leading[d]) * inverse_scale[d] - rest[d] for d in range(D)]
        scaled = [jnp.where(present, part, 0) for part in scaled]
        means = [part.sum(axis=1) / counts for part in scaled]
        apart = [jnp.where(present, part - m[:, None], 0) for part, m in zip(scaled, means, strict=True)]
        scatter = [(apart[r] * apart[c]).sum(axis=1) for r, c in zip(rows, columns, strict=True)]
        return counts, jnp.stack(means), jnp.stack(scatter)
    x = jnp.where(present[..., None], (X - leading) * inverse_scale - rest, 0)
    mean = x.sum(axis=1) / counts[:, None]
    centred = jnp.where(present[..., None], x - mean[:, None, :], 0)
    full = jnp.einsum("nmd,nme->nde", centred, centred)
    return counts, mean.T, full[:, rows, columns].T


class RoughScaling(NamedTuple):
    """What a few members say of the centre and scale of the data."""

    units: Scaling
    """Median, and the scale as a power of two, by which scaling rounds nothing"""
    spread: Float[np.ndarray, "D"]
    """Standard deviation as the quartiles have it; 0 where they coincide"""


def _rough_scaling(X: Float[np.ndarray, "n M D"], weights: Float[np.ndarray, "n"]) -> RoughScaling:
    used = np.flatnonzero(weights > 0)
    ensembles, members = ROUGH_SAMPLE
    rng = np.random.default_rng(0)  # ensembles and members at random, since both may recur in a rhythm
    used = np.sort(rng.choice(used, min(ensembles, used.size), replace=False))
    shown = rng.integers(X.shape[1], size=(used.size, min(members, X.shape[1])))
    sample = X[used[:, None], shown].reshape(-1, X.shape[2])
    if not presence(sample).any():
        sample = X[used].reshape(-1, X.shape[2])
    sample = sample[np.asarray(presence(sample))].astype(np.float64)
    low, median, high = np.quantile(sample, (0.25, 0.5, 0.75), axis=0)
    largest = np.abs(sample).max(axis=0)
    quartiles = (high - low) / QUARTILES_APART
    quartiles = np.where(quartiles > ROUNDING * np.maximum(np.abs(low), np.abs(high)), quartiles, 0.0)
    deviation = np.sqrt(((sample - median) ** 2).mean(axis=0))  # exactly 0 for a constant
    magnitude = np.where(quartiles > 0, quartiles, deviation)
    magnitude = np.where(magnitude > ROUNDING * largest, magnitude, largest)
    magnitude = np.where(magnitude > 0, magnitude, 1.0)
    return RoughScaling(Scaling(median, np.exp2(np.round(np.log2(magnitude)))), quartiles)


def _exact_scaling(moments: Moments, rough: RoughScaling, common_scale: bool) -> Scaling:
    units, D = rough.units, moments.n_features
    rows, columns = triangle(D)
    mass = np.asarray(moments.weights, np.float64) * np.asarray(moments.counts, np.float64)
    mean = np.asarray(moments.mean, np.float64)
    shift = mean @ mass / mass.sum()
    within = np.asarray(moments.scatter)[rows == columns].astype(np.float64) @ np.asarray(
        moments.weights, np.float64
    )
    variance = (within + (mean - shift[:, None]) ** 2 @ mass) / mass.sum()
    # A variable that does not vary has no scale of its own; rounding may leave it a trace of one.
    offset = np.maximum(np.abs(units.centre / units.scale), 1)
    constant = variance <= (ROUNDING * offset) ** 2
    # Its unit is then that of the data, so that no offset changes what it is worth.
    least = np.maximum(1.0, ROUNDING * np.abs(units.centre))
    scale = np.where(constant, least, units.scale * np.sqrt(variance))
    outlying = (rough.spread > 0) & (scale > OUTLYING * rough.spread)
    scale = np.where(outlying, OUTLYING * rough.spread, scale)
    centre = np.where(outlying, units.centre, units.centre + units.scale * shift)
    if common_scale:
        vary = scale[~constant] if not constant.all() else scale
        scale = np.full(D, np.sqrt(np.mean(vary**2)))
    return Scaling(centre, scale)


def _check_squares(scaling: Scaling, dtype: Any) -> None:
    """Refuse units whose squares, the units of covariances, the precision cannot hold."""
    limits = np.finfo(dtype)
    reach = np.sqrt([float(limits.tiny) * 1e6, float(limits.max) * 1e-6])
    bad = (scaling.scale < reach[0]) | (scaling.scale > reach[1])
    if bad.any():
        d = int(np.argmax(bad))
        raise ValueError(
            f"X: variable {d} has a spread of about {scaling.scale[d]:.2g}, whose square {limits.dtype} "
            "cannot hold; give that variable in another unit"
        )


def _rescaled(moments: Moments, old: Scaling, new: Scaling) -> Moments:
    """Return the same moments in other units; means are moved in float64."""
    dtype = moments.mean.dtype
    rows, columns = triangle(moments.n_features)
    ratio = old.scale / new.scale
    shift = (old.centre - new.centre) / new.scale
    mean = (np.asarray(moments.mean, np.float64) * ratio[:, None] + shift[:, None]).astype(dtype)
    scatter = np.asarray(moments.scatter) * (ratio[rows] * ratio[columns]).astype(dtype)[:, None]
    return moments._replace(mean=mean, scatter=scatter)
