"""Sufficient statistics of ensembles: the only view of the members that mixtures have.

The likelihood of an exchangeable Gaussian ensemble depends on its members only through their
number M_i, their mean x̄_i and their scatter S_i about it (docs/architecture.md, equation 1). The
members are read once; whatever follows costs the same for M = 10 and for M = 1000.

Ensembles run along the last axis, so that the passes over them vectorise. The scatter is held in the form
that takes the least work (``degmm.scatter``).
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from degmm.arrays import Array
from degmm.compilation import jit
from degmm.precision import precision_of
from degmm.processes import largest, total
from degmm.scaling import Scaling
from degmm.scatter import (
    UNROLLED_FEATURES,
    Deviations,
    Form,
    NoScatter,
    Scatter,
    Triangle,
    Variances,
    form_for,
    pack,
    rows_of,
    triangle,
)
from degmm.sharding import AXIS, Spec, n_local
from degmm.threads import cores

CHUNK_VALUES = 2**20
"""Members are read in chunks of about this many numbers: near a processor's cache, and worth a call."""
SMALLEST_BUCKET = 16
"""Fewest ensembles that compiled functions see."""
ALIGNMENT = 64
"""Bytes that the address of an array must be a multiple of for JAX to use it where it lies."""
CHUNKS_IN_PLACE = 8
"""Fewer chunks are copied: the one that may come before the first aligned address would cost as much."""
FORMED_SHARE = 4
"""What is written on the way to a scatter, in multiples of its numbers; a chunk has as much room for it."""


class Moments(NamedTuple):
    """Number, mean and scatter of the members of n ensembles, and the ensembles' weights."""

    counts: Float[Array, "n"]
    """M_i, the number of members present"""
    mean: Float[Array, "D n"]
    """x̄_i"""
    scatter: Scatter
    """S_i = Σ_m (x_im − x̄_i)(x_im − x̄_i)ᵀ, in one of its forms"""
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

    def take(self, index: np.ndarray | slice) -> "Moments":
        """Return the ensembles that ``index`` selects."""
        return jax.tree.map(lambda part: part[..., index], self)


def joined(parts: Sequence[Moments]) -> Moments:
    """Return the moments of several sets of ensembles, one after the other."""
    return jax.tree.map(lambda *arrays: np.concatenate(arrays, axis=-1), *parts)


def moments_of(
    X: Float[np.ndarray, "n M D"],
    weights: Float[np.ndarray, "n"],
    scaling: Scaling,
    dtype: Any = None,
    form: Form | None = None,
) -> Moments:
    """Read the members once and return their moments in the units of ``scaling``.

    The members are centred and summed in their own precision, or in ``dtype`` if that is higher,
    chunk by chunk, each core a share of the chunks. ``form`` is that of the scatters, by default the one that
    suits full covariances.
    """
    n, M, D = X.shape
    form = form_for(M, D, diagonal=False) if form is None else form
    dtype = X.dtype if dtype is None else dtype
    inner = np.promote_types(X.dtype, dtype)
    # x − centre is exact for nearby floating-point numbers: the centre is taken off in two parts,
    # a leading one that is a number of the data's precision, and its remainder.
    leading = scaling.centre.astype(inner)
    rest = ((scaling.centre - leading.astype(np.float64)) / scaling.scale).astype(inner)
    inverse_scale = (1.0 / scaling.scale).astype(inner)
    size = rows_of(form, M, D)
    chunk = int(np.clip(CHUNK_VALUES // max(M * D, FORMED_SHARE * size), 1, bucket(n)))
    first, chunk, in_place = _laid_out(X, inner, chunk)
    spans = [*pairwise([*([0] if first else []), *range(first, n, chunk), n])]

    found = Moments(
        aligned((n,), dtype),
        aligned((D, n), dtype),
        form(aligned((size, n), dtype)),
        in_precision(weights, dtype),
    )

    if M == 1 and form is NoScatter and not np.isnan(X.sum()):  # the members are their means
        found.counts[:] = 1
        with np.errstate(over="ignore"):  # what is too large for the precision is told of by its place
            for start in range(0, n, chunk):
                part = (X[start : start + chunk, 0] - leading) * inverse_scale - rest
                found.mean[:, start : start + chunk] = part.T
        return found

    def some(spans: list[tuple[int, int]]) -> None:
        block = aligned((chunk, M, D), inner)
        complete = False
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
                counts, mean, scatter = of(complete, form)
                if complete and np.isnan(mean).any():
                    complete = False
                    counts, mean, scatter = of(False, form)
                parts = zip(
                    (found.counts, found.mean, found.scatter.values), (counts, mean, scatter), strict=True
                )
                with np.errstate(over="ignore"):
                    for out, part in parts:
                        out[..., start:stop] = np.asarray(part)[..., :length]  # waits for it

    threads = min(cores(), len(spans))
    if threads == 1:
        some(spans)
    else:
        each = -(-len(spans) // threads)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(some, (spans[a : a + each] for a in range(0, len(spans), each))))
    return found


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


def aligned(shape: tuple[int, ...], dtype: Any, *, zeros: bool = False) -> np.ndarray:
    """Return an array that ``jax.device_put`` leaves where it is on a CPU; a copy costs as much as sums.

    Zeros take no memory before they are written to.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = (np.zeros if zeros else np.empty)(size + ALIGNMENT, np.uint8)
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
    return Moments(vector, matrix, cast(Scatter, matrix), vector)  # the same for all forms


def padded(moments: Moments, n: int) -> Moments:
    """Return the moments of n ensembles, the added ones of weight 0."""
    extra = n - moments.n_samples
    if not extra:
        return moments
    out = jax.tree.map(
        lambda part: np.pad(np.asarray(part), [(0, 0)] * (np.ndim(part) - 1) + [(0, extra)]), moments
    )
    out.counts[-extra:] = np.asarray(moments.counts)[0] if moments.n_samples else 1
    return out


def presence(X: Float[Array, "... D"]) -> Bool[Array, "..."]:
    """Return which members are present: those without a NaN in any variable."""
    known = X == X
    if X.shape[-1] > UNROLLED_FEATURES:
        return known.all(axis=-1)
    present = known[..., 0]
    for d in range(1, X.shape[-1]):  # variable by variable: see UNROLLED_FEATURES
        present = present & known[..., d]
    return present


@partial(jit, static_argnums=(4, 5))
def _chunk_moments(
    X: Float[Array, "n M D"],
    leading: Float[Array, "D"],
    rest: Float[Array, "D"],
    inverse_scale: Float[Array, "D"],
    complete: bool,
    form: Form,
) -> tuple[Float[Array, "n"], Float[Array, "D n"], Float[Array, "S n"]]:
    n, M, D = X.shape
    present = None if complete else presence(X)
    counts = jnp.full(n, M, X.dtype) if present is None else present.sum(axis=1).astype(X.dtype)

    def kept(part: Float[Array, "n M ..."]) -> Float[Array, "n M ..."]:
        if present is None:
            return part
        return jnp.where(present.reshape(n, M, *[1] * (part.ndim - 2)), part, 0)

    if D <= UNROLLED_FEATURES and form is not Deviations:
        # variable by variable, in the order of memory: ten times faster than moving axes
        scaled = [kept((X[..., d] - leading[d]) * inverse_scale[d] - rest[d]) for d in range(D)]
        means = [part.sum(axis=1) / counts for part in scaled]
        apart = [kept(part - m[:, None]) for part, m in zip(scaled, means, strict=True)]
        if form is NoScatter:
            return counts, jnp.stack(means), jnp.zeros((0, n), X.dtype)
        pairs = zip(*(triangle(D) if form is Triangle else 2 * (range(D),)), strict=True)
        return counts, jnp.stack(means), jnp.stack([(apart[r] * apart[c]).sum(axis=1) for r, c in pairs])
    x = kept((X - leading) * inverse_scale - rest)
    mean = x.sum(axis=1) / counts[:, None]
    return counts, mean.T, FORMED[form](kept(x - mean[:, None, :]), present)


def _no_scatter(centred: Float[Array, "n M D"], present: Bool[Array, "n M"] | None) -> Float[Array, "0 n"]:
    return jnp.zeros((0, len(centred)), centred.dtype)


def _variances(centred: Float[Array, "n M D"], present: Bool[Array, "n M"] | None) -> Float[Array, "D n"]:
    return (centred**2).sum(axis=1).T


def _triangle(centred: Float[Array, "n M D"], present: Bool[Array, "n M"] | None) -> Float[Array, "P n"]:
    return pack(jnp.einsum("nmd,nme->nde", centred, centred)).T


def _deviations(centred: Float[Array, "n M D"], present: Bool[Array, "n M"] | None) -> Float[Array, "DR n"]:
    """Return √(c/(c + 1)) (x_m − the mean of the c members before it), which Helmert's matrix gives.

    Each but the first of the members present has one; Σ_r y_r y_rᵀ is the scatter.
    """
    n, M, D = centred.shape
    earlier = np.tri(M - 1, M).astype(centred.dtype)  # of members 1 … M − 1 those before them
    if present is None:
        before = jnp.arange(1, M, dtype=centred.dtype)[None, :]
        share = jnp.sqrt(before / (before + 1))
    else:
        before = present.astype(centred.dtype) @ earlier.T
        share = jnp.where(present[:, 1:], jnp.sqrt(before / (before + 1)), 0)
    mean = jnp.einsum("rm,nmd->nrd", earlier, centred) / jnp.maximum(before, 1)[:, :, None]
    apart = share[:, :, None] * (centred[:, 1:] - mean)
    return jnp.moveaxis(apart, 0, 2).transpose(1, 0, 2).reshape(D * (M - 1), n)


FORMED: dict[Form, Any] = {
    NoScatter: _no_scatter,
    Variances: _variances,
    Triangle: _triangle,
    Deviations: _deviations,
}
"""What makes each form of scatter from members about their mean, absent ones 0"""
