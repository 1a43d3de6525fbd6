"""Sufficient statistics of ensembles: the only view of the members that mixtures have.

The likelihood of an exchangeable Gaussian ensemble depends on its members only through their
number M_i, their mean x̄_i and their scatter S_i about it (docs/architecture.md, equation 1). The
members are read once; whatever follows costs the same for M = 10 and for M = 1000.

Ensembles run along the last axis, so that the passes over them vectorise, and of the symmetric
scatter the lower triangle alone is kept, row by row.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from degmm.arrays import Array
from degmm.compilation import jit
from degmm.precision import precision_of
from degmm.processes import gathered, largest, total
from degmm.sharding import AXIS, Spec, n_local
from degmm.threads import cores

CHUNK_VALUES = 2**20
"""Members are read in chunks of about this many numbers: near a processor's cache, and worth a call."""
ROUGH_SAMPLE = (1000, 20)
"""Numbers of ensembles, and of members of each, that a first guess of centre and scale is taken from."""
OUTLYING = 100
"""A standard deviation beyond this many times the quartiles' is due to outliers, and sets no scale."""
ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""Relative spread below which a variable counts as constant."""
SMALLEST_BUCKET = 16
"""Fewest ensembles that compiled functions see."""
ALIGNMENT = 64
"""Bytes that the address of an array must be a multiple of for JAX to use it where it lies."""
QUARTILES_APART = 1.349
"""Distance of a normal distribution's quartiles, in standard deviations."""
CHUNKS_IN_PLACE = 8
"""Fewer chunks are copied: the one that may come before the first aligned address would cost as much."""
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

    @property
    def dtype(self) -> Any:
        """Precision."""
        return self.mean.dtype

    @property
    def total_weight(self) -> float:
        """Sum of the weights."""
        return float(np.sum(self.weights, dtype=np.float64))

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
    rough = rough_scaling(rough_sample(X, weights))
    check_squares(rough.units, np.promote_types(X.dtype, dtype))
    moments = moments_of(X, weights, rough.units, dtype)
    scaling = standard_scaling(totals_of(moments), rough, common_scale)
    check_squares(scaling, dtype)
    return rescaled(moments, rough.units, scaling), scaling


def moments_of(
    X: Float[np.ndarray, "n M D"], weights: Float[np.ndarray, "n"], scaling: Scaling, dtype: Any = None
) -> Moments:
    """Read the members once and return their moments in the units of ``scaling``.

    The members are centred and summed in their own precision, or in ``dtype`` if that is higher,
    chunk by chunk, each core a share of the chunks.
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
    first, chunk, in_place = _laid_out(X, inner, chunk)
    spans = [*pairwise([*([0] if first else []), *range(first, n, chunk), n])]

    def some(spans: list[tuple[int, int]]) -> list[list[np.ndarray]]:
        block = aligned((chunk, M, D), inner)
        found, complete = [], False
        with precision_of(inner):  # JAX keeps it by thread
            for start, stop in spans:
                length = stop - start
                if in_place and length == chunk:
                    members = X[start:stop]
                else:
                    block[:length] = X[start:stop]
                    block[length:] = block[0]  # few shapes, hence few compilations
                    members = block
                # A chunk after a complete one is taken to be so too, until its means say otherwise.
                with np.errstate(invalid="ignore"):  # some NaNs signal
                    complete = complete or not np.isnan(members.sum())
                of = partial(_chunk_moments, jax.device_put(members), leading, rest, inverse_scale)
                part = of(complete)
                if complete and np.isnan(part[1]).any():
                    complete, part = False, of(False)
                found.append([np.asarray(a, dtype)[..., :length] for a in part])  # waits for them
        return found

    threads = min(cores(), len(spans))
    if threads == 1:
        parts = some(spans)
    else:
        each = -(-len(spans) // threads)
        with ThreadPoolExecutor(threads) as pool:
            shares = pool.map(some, (spans[a : a + each] for a in range(0, len(spans), each)))
            parts = [part for share in shares for part in share]
    counts, mean, scatter = (
        np.concatenate(a, axis=-1) if len(a) > 1 else a[0] for a in zip(*parts, strict=True)
    )
    return Moments(counts, mean, scatter, in_precision(weights, dtype))


def in_precision(weights: Float[np.ndarray, "n"], dtype: Any) -> Float[np.ndarray, "n"]:
    """Return weights in a precision: one that is positive stays so, however little it is.

    What counts must not be rounded to what does not, since how many do is counted elsewhere too.
    """
    return np.where(weights > 0, np.maximum(weights, np.finfo(dtype).tiny), 0).astype(dtype)


def _laid_out(X: Float[np.ndarray, "n M D"], dtype: Any, chunk: int) -> tuple[int, int, bool]:
    """Return where chunks begin, how many ensembles they hold, and whether JAX uses them where they lie.

    It does if their addresses are multiples of ``ALIGNMENT``; then the members are not copied first. The
    few ensembles before the first such address are a chunk of their own.
    """
    row = X.strides[0]
    recurs = ALIGNMENT // math.gcd(row, ALIGNMENT)  # ensembles
    if X.dtype == dtype and X.flags.c_contiguous and len(X) >= CHUNKS_IN_PLACE * chunk and chunk >= recurs:
        for first in range(recurs):
            if (X.ctypes.data + first * row) % ALIGNMENT == 0:
                return first, chunk // recurs * recurs, True
    return 0, chunk, False


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array that ``jax.device_put`` leaves where it is on a CPU; a copy costs as much as sums."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.empty(size + ALIGNMENT, np.uint8)
    first = -room.ctypes.data % ALIGNMENT
    return room[first : first + size].view(dtype).reshape(shape)


def weight_unit(weights: np.ndarray) -> float:
    """Return a power of two near the mean of the positive weights, a unit in which they are near 1."""
    positive = weights[weights > 0]
    size, count = total((positive.sum(), positive.size))
    return float(np.exp2(np.round(np.log2(size / count))))


def bucket(n: int, smallest: int = SMALLEST_BUCKET) -> int:
    """Return n rounded up to one of a few sizes, an eighth more at most: few shapes, few compilations."""
    n = max(n, smallest)
    step = 2 ** max(int(n - 1).bit_length() - 4, 0)
    return -(-n // step) * step


def even_size(n: int) -> int:
    """Return what n ensembles are filled up to: alike in all processes, and even over the devices."""
    parts = n_local()
    return -(-bucket(largest(n)) // parts) * parts


def spread(leading: int = 0) -> Any:
    """Return how moments are shared out over devices, after ``leading`` further axes."""
    vector, matrix = Spec(*[None] * leading, AXIS), Spec(*[None] * (leading + 1), AXIS)
    return Moments(vector, matrix, matrix, vector)


def padded(moments: Moments, n: int) -> Moments:
    """Return the moments of n ensembles, the added ones of weight 0."""
    extra = n - moments.n_samples
    if not extra:
        return moments
    counts, *rest = (
        np.pad(np.asarray(part), [(0, 0)] * (np.ndim(part) - 1) + [(0, extra)]) for part in moments
    )
    counts[-extra:] = np.asarray(moments.counts)[0] if moments.n_samples else 1
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


@partial(jit, static_argnums=4)
def _chunk_moments(
    X: Float[Array, "n M D"],
    leading: Float[Array, "D"],
    rest: Float[Array, "D"],
    inverse_scale: Float[Array, "D"],
    complete: bool,
) -> tuple[Float[Array, "n"], Float[Array, "D n"], Float[Array, "P n"]]:
    n, M, D = X.shape
    rows, columns = triangle(D)
    present = None if complete else presence(X)
    counts = jnp.full(n, M, X.dtype) if present is None else present.sum(axis=1).astype(X.dtype)

    def kept(part: Float[Array, "n M ..."]) -> Float[Array, "n M ..."]:
        if present is None:
            return part
        return jnp.where(present.reshape(n, M, *[1] * (part.ndim - 2)), part, 0)

    if D <= UNROLLED_FEATURES:
        # variable by variable, in the order of memory: ten times faster than moving axes
        scaled = [kept((X[..., d] - leading[d]) * inverse_scale[d] - rest[d]) for d in range(D)]
        means = [part.sum(axis=1) / counts for part in scaled]
        apart = [kept(part - m[:, None]) for part, m in zip(scaled, means, strict=True)]
        scatter = [(apart[r] * apart[c]).sum(axis=1) for r, c in zip(rows, columns, strict=True)]
        return counts, jnp.stack(means), jnp.stack(scatter)
    x = kept((X - leading) * inverse_scale - rest)
    mean = x.sum(axis=1) / counts[:, None]
    centred = kept(x - mean[:, None, :])
    full = jnp.einsum("nmd,nme->nde", centred, centred)
    return counts, mean.T, full[:, rows, columns].T


class RoughScaling(NamedTuple):
    """What a few members say of the centre and scale of the data."""

    units: Scaling
    """Median, and the scale as a power of two, by which scaling rounds nothing"""
    spread: Float[np.ndarray, "D"]
    """Standard deviation as the quartiles have it; 0 where they coincide"""


class Totals(NamedTuple):
    """What all members of many ensembles have in common, weights of the ensembles counted."""

    mass: float
    """Σ_i w_i M_i"""
    mean: Float[np.ndarray, "D"]
    """Weighted mean of the members"""
    variance: Float[np.ndarray, "D"]
    """Weighted variance of the members about it"""


def rough_sample(X: Float[np.ndarray, "n M D"], weights: Float[np.ndarray, "n"]) -> Float[np.ndarray, "s D"]:
    """Return some of the members that are present, in float64: from ensembles of a weight above 0."""
    used = np.flatnonzero(weights > 0)
    ensembles, members = ROUGH_SAMPLE
    rng = np.random.default_rng(0)  # ensembles and members at random, since both may recur in a rhythm
    used = np.sort(rng.choice(used, min(ensembles, used.size), replace=False))
    shown = rng.integers(X.shape[1], size=(used.size, min(members, X.shape[1])))
    sample = X[used[:, None], shown].reshape(-1, X.shape[2])
    if not presence(sample).any():
        sample = X[used].reshape(-1, X.shape[2])
    return gathered(sample[np.asarray(presence(sample))].astype(np.float64), 0)


def rough_scaling(sample: Float[np.ndarray, "s D"]) -> RoughScaling:
    """Return what a sample of members says of centre and scale."""
    low, median, high = np.quantile(sample, (0.25, 0.5, 0.75), axis=0)
    largest = np.abs(sample).max(axis=0)
    quartiles = (high - low) / QUARTILES_APART
    quartiles = np.where(quartiles > ROUNDING * np.maximum(np.abs(low), np.abs(high)), quartiles, 0.0)
    deviation = np.sqrt(((sample - median) ** 2).mean(axis=0))  # exactly 0 for a constant
    magnitude = np.where(quartiles > 0, quartiles, deviation)
    magnitude = np.where(magnitude > ROUNDING * largest, magnitude, largest)
    magnitude = np.where(magnitude > 0, magnitude, 1.0)
    return RoughScaling(Scaling(median, np.exp2(np.round(np.log2(magnitude)))), quartiles)


def totals_of(moments: Moments) -> Totals:
    """Return the totals of ensembles, in the units of their moments."""
    rows, columns = triangle(moments.n_features)
    mass = np.asarray(moments.weights, np.float64) * np.asarray(moments.counts, np.float64)
    mean = np.asarray(moments.mean, np.float64)
    size, first = total((mass.sum(), mean @ mass))
    shift = first / size
    within = np.asarray(moments.scatter)[rows == columns].astype(np.float64) @ np.asarray(
        moments.weights, np.float64
    )
    variance = total(within + (mean - shift[:, None]) ** 2 @ mass) / size
    return Totals(float(size), shift, variance)


def standard_scaling(totals: Totals, rough: RoughScaling, common_scale: bool) -> Scaling:
    """Return the standard units of members with these totals, which are in the units of ``rough``."""
    units, shift, variance = rough.units, totals.mean, totals.variance
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
        scale = np.full(scale.shape, np.sqrt(np.mean(vary**2)))
    return Scaling(centre, scale)


def reach_of(dtype: Any) -> np.ndarray:
    """Return the smallest and the largest unit whose square, a unit of covariances, a precision holds."""
    limits = np.finfo(dtype)
    return np.sqrt([float(limits.tiny) * 1e6, float(limits.max) * 1e-6])


def check_squares(scaling: Scaling, dtype: Any) -> None:
    """Refuse units whose squares, the units of covariances, the precision cannot hold."""
    reach = reach_of(dtype)
    bad = (scaling.scale < reach[0]) | (scaling.scale > reach[1])
    if bad.any():
        d = int(np.argmax(bad))
        raise ValueError(
            f"X: variable {d} has a spread of about {scaling.scale[d]:.2g}, whose square {np.dtype(dtype)} "
            "cannot hold; give that variable in another unit"
        )


def rescaled(moments: Moments, old: Scaling, new: Scaling) -> Moments:
    """Return the same moments in other units; means are moved in float64."""
    dtype = moments.mean.dtype
    rows, columns = triangle(moments.n_features)
    ratio = old.scale / new.scale
    shift = (old.centre - new.centre) / new.scale
    mean = (np.asarray(moments.mean, np.float64) * ratio[:, None] + shift[:, None]).astype(dtype)
    scatter = np.asarray(moments.scatter) * (ratio[rows] * ratio[columns]).astype(dtype)[:, None]
    return moments._replace(mean=mean, scatter=scatter)
