"""Moments of blocks of ensembles, each in units of its own, and how they become those of all.

What later blocks hold is not known when the first is read. So each block's moments are taken in units
that suit its own members; what decides on the standard units is merged (Chan, Golub & LeVeque 1983, Am.
Stat. 37), and the moments are then moved into these, as those of an array in memory are.
"""

from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from degmm.moments import Moments, in_precision, moments_of, weight_unit
from degmm.scaling import Scaling
from degmm.scatter import Form
from degmm.standard_units import (
    RoughScaling,
    Totals,
    check_reach,
    check_squares,
    reach_of,
    rescaled,
    rough_sample,
    rough_scaling,
    standard_scaling,
    totals_of,
)

POOLED_VALUES = 2**18
"""Members of all blocks, from which quartiles are taken, are kept up to about this many numbers."""
POOLED_RANGE = (200, 20_000)
"""Fewest and most of these members."""


class Summary(NamedTuple):
    """What of a block decides on the standard units of all; in the units of the data, in float64."""

    totals: Totals
    sample: Float[np.ndarray, "s D"]
    """Some of its members"""
    keys: Float[np.ndarray, "s"]
    """Random keys by which members of several blocks are drawn in proportion to the blocks' sizes"""
    n_used: int
    """Number of ensembles of a weight above 0"""
    weight: float
    """Sum of their weights"""
    counts: tuple[float, float]
    """Fewest and most members of these ensembles"""
    n_members: int
    """Members, absent ones counted"""

    @property
    def weight_unit(self) -> float:
        """Power of two near the mean weight of an ensemble."""
        return weight_unit(np.array([self.weight / self.n_used]))


class BlockMoments(NamedTuple):
    """Moments of a block, the units they are in, and what decides on the standard units."""

    moments: Moments
    units: Scaling
    weight_unit: float
    """Unit of the weights in ``moments``"""
    summary: Summary
    number: int = 0
    """Which block it is"""


def block_moments(
    X: Float[np.ndarray, "n M D"], weights: Float[np.ndarray, "n"], dtype: Any, number: int, form: Form
) -> BlockMoments:
    """Read the members of one block once.

    Parameters
    ----------
    X : ndarray, shape (n, M, D)
        Members; NaN where a member is absent.
    weights : ndarray, shape (n,)
        Weights of the ensembles; all may be 0.
    dtype : float32 or float64
        Precision of the moments.
    number : int
        Number of the block, which seeds what is drawn from it.
    form : form of scatter
        That of all blocks.
    """
    used = weights > 0
    sample = rough_sample(X, weights if used.any() else np.ones(len(X)))
    low, high = reach_of(np.promote_types(X.dtype, dtype))
    units = rough_scaling(sample).units
    # A block by itself may be of a size that all together are not.
    scale = np.clip(units.scale, np.exp2(np.ceil(np.log2(low))), np.exp2(np.floor(np.log2(high))))
    units = Scaling(units.centre, scale)
    unit = weight_unit(weights) if used.any() else 1.0
    moments = moments_of(X, weights / unit, units, dtype, form)
    with np.errstate(over="ignore"):
        squares = moments.scatter.diagonal(X.shape[2])
    if not np.isfinite(squares).all():
        # Almost all of the block is dust beside a few of its members, whose squares in its units overflow.
        largest = np.nanmax(np.abs(X - units.centre), axis=(0, 1)) * np.sqrt(X.shape[1]) / high
        scale = np.maximum(scale, np.exp2(np.ceil(np.log2(np.maximum(largest, low)))))
        units = Scaling(units.centre, scale)
        moments = moments_of(X, weights / unit, units, dtype, form)
    D = X.shape[2]
    if not used.any():
        nothing = Summary(
            Totals(0.0, np.zeros(D), np.zeros(D)), sample[:0], np.zeros(0), 0, 0.0, (np.inf, 0.0), X.shape[1]
        )
        return BlockMoments(moments, units, unit, nothing, number)
    part = moments if used.all() else moments.take(np.flatnonzero(used))
    totals = totals_of(part)
    counts = np.asarray(part.counts, np.float64)
    rng = np.random.default_rng([0, number])
    keys = np.log(rng.uniform(size=len(sample))) * (len(sample) / counts.sum())
    summary = Summary(
        Totals(totals.mass * unit, units.centre + scale * totals.mean, totals.variance * scale**2),
        sample,
        keys,
        int(used.sum()),
        float(weights.sum()),
        (float(counts.min()), float(counts.max())),
        X.shape[1],
    )
    return BlockMoments(moments, units, unit, _thinned(summary), number)


def merged(one: Summary, other: Summary) -> Summary:
    """Return the summary of two sets of ensembles together."""
    a, b = one.totals, other.totals
    mass = a.mass + b.mass
    share = b.mass / mass if mass > 0 else 0.0
    apart = b.mean - a.mean
    variance = (1 - share) * a.variance + share * b.variance + share * (1 - share) * apart**2
    return _thinned(
        Summary(
            Totals(mass, a.mean + share * apart, variance),
            np.concatenate([one.sample, other.sample]),
            np.concatenate([one.keys, other.keys]),
            one.n_used + other.n_used,
            one.weight + other.weight,
            (min(one.counts[0], other.counts[0]), max(one.counts[1], other.counts[1])),
            max(one.n_members, other.n_members),
        )
    )


def _thinned(summary: Summary) -> Summary:
    """Return a summary with the members of the largest keys: a weighted draw without replacement.

    Efraimidis & Spirakis 2006, Inf. Process. Lett. 97.
    """
    most = int(np.clip(POOLED_VALUES // summary.sample.shape[1], *POOLED_RANGE))
    if len(summary.keys) <= most:
        return summary
    kept = np.argpartition(-summary.keys, most)[:most]
    return summary._replace(sample=summary.sample[kept], keys=summary.keys[kept])


def merged_all(summaries: list[Summary]) -> Summary:
    """Return the summary of several sets of ensembles together."""
    return reduce(merged, summaries)


def scaling_of(summary: Summary, dtype: Any, *, common_scale: bool) -> Scaling:
    """Return the standard units; see :func:`degmm.standard_units.standardised_moments`."""
    rough: RoughScaling = rough_scaling(summary.sample)
    check_squares(rough.units, np.float64)
    centre, scale = rough.units
    totals = Totals(
        summary.totals.mass, (summary.totals.mean - centre) / scale, summary.totals.variance / scale**2
    )
    scaling = standard_scaling(totals, rough, common_scale)
    check_squares(scaling, dtype)
    return scaling


def in_standard_units(
    moments: Moments,
    units: Scaling,
    unit: float,
    scaling: Scaling,
    common_unit: float,
    number: int,
    first: int = 0,
) -> Moments:
    """Return moments of a block, with weights in ``unit``, in the units of all.

    They are those of block ``number`` from its ensemble ``first`` on.

    Raises
    ------
    ValueError
        If an ensemble lies too far from all others.
    """
    moved = rescaled(moments, units, scaling)
    check_reach(moved, scaling, f"X, block {number}", first)
    weights = in_precision(moved.weights.astype(np.float64) * (unit / common_unit), moved.dtype)
    return moved._replace(weights=weights)
