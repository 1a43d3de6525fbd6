"""Standard units of ensembles, and their moments in these: mean 0 and variance 1 over all members."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from degmm.ensembles.arrays import largest_of
from degmm.moments import Moments, moments_of, presence
from degmm.processes import gathered, total
from degmm.scaling import Scaling
from degmm.scatter import Form

ROUGH_SAMPLE = (1000, 20)
"""Numbers of ensembles, and of members of each, that a first guess of centre and scale is taken from, where
there are more members than these together …"""
ROUGH_VALUES, FEWEST_ROUGH = 2**20, 200
"""… or they are more than so many numbers; of so many ensembles at least"""
SORTED_BY = 4
"""Variables that the members of an ensemble are put in order by before some are taken"""
OUTLYING = 100
"""A standard deviation beyond this many times the quartiles' is due to outliers, and sets no scale."""
ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""Relative spread below which a variable counts as constant."""
QUARTILES_APART = 1.349
"""Distance of a normal distribution's quartiles, in standard deviations."""


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


def standardised_moments(
    X: Float[np.ndarray, "n M D"],
    weights: Float[np.ndarray, "n"],
    dtype: Any = None,
    *,
    common_scale: bool = False,
    form: Form | None = None,
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
    form : form of scatter, optional
        By default the one that suits full covariances.

    Returns
    -------
    moments : Moments, in standard units
    scaling : Scaling

    Raises
    ------
    ValueError
        If the precision cannot hold the square of a variable's spread, or of the distance of an ensemble from
        all others.
    """
    dtype = X.dtype if dtype is None else dtype
    rough = rough_scaling(rough_sample(X, weights))
    check_squares(rough.units, np.promote_types(X.dtype, dtype))
    moments = moments_of(X, weights, rough.units, dtype, form)
    check_reach(moments, None)
    scaling = standard_scaling(totals_of(moments), rough, common_scale)
    check_squares(scaling, dtype)
    moments = rescaled(moments, rough.units, scaling, in_place=True)
    check_reach(moments, scaling)
    return moments, scaling


def rough_sample(X: Float[np.ndarray, "n M D"], weights: Float[np.ndarray, "n"]) -> Float[np.ndarray, "s D"]:
    """Return some of the members that are present, in float64: from ensembles of a weight above 0."""
    used = np.flatnonzero(weights > 0)
    M, D = X.shape[1:]
    ensembles, members = ROUGH_SAMPLE
    if used.size * M > min(ensembles * members, ROUGH_VALUES // D):
        most = ROUGH_VALUES // D  # members
        members = int(np.clip(most // ensembles, 1, members))
        ensembles = int(np.clip(most // members, FEWEST_ROUGH, ensembles))
        rng = np.random.default_rng(0)  # at random, since ensembles may recur in a rhythm
        used = np.sort(rng.choice(used, min(ensembles, used.size), replace=False))
    else:
        members = M
    if members < M:  # a few ensembles at a time: all of their members may be many
        parts = np.array_split(used, min(used.size, -(-used.size * M * D // ROUGH_VALUES)))
        sample = np.concatenate([_some_members(X[part], members) for part in parts])
    else:
        sample = X[used]
    sample = sample.reshape(-1, D)
    return gathered(sample[np.asarray(presence(sample))].astype(np.float64), 0)


def _some_members(X: Float[np.ndarray, "n M D"], members: int) -> Float[np.ndarray, "n m D"]:
    """Return some members of each ensemble, at even distances in the order of their values, not in their own.

    Members are exchangeable: a fit must not depend on the order in which they come.
    """
    present = np.asarray(presence(X))
    keys = [X[:, :, d] for d in reversed(range(min(X.shape[2], SORTED_BY)))]
    order = np.lexsort((*keys, ~present), axis=1)  # those present first
    counts = present.sum(axis=1, keepdims=True)
    places = ((np.arange(members) + 0.5) * counts / members).astype(int)
    return np.take_along_axis(X, np.take_along_axis(order, places, axis=1)[:, :, None], axis=1)


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
    mass = np.asarray(moments.weights, np.float64) * np.asarray(moments.counts, np.float64)
    mean = np.asarray(moments.mean, np.float64)
    size, first = total((mass.sum(), mean @ mass))
    shift = first / size
    squares = np.asarray(moments.scatter.diagonal(moments.n_features), np.float64)
    # one of weight 0 may be infinite
    within = np.where(mass > 0, squares, 0) @ np.asarray(moments.weights, np.float64)
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


def check_reach(moments: Moments, units: Scaling | None, called: str = "X", first: int = 0) -> None:
    """Refuse ensembles so far from all others that the precision cannot hold the square of it.

    Their values may be sound by themselves: it is in the units of the fit that they are too large, or in the
    precision of the fit, which may be lower than theirs.

    Parameters
    ----------
    moments : Moments
        In units in which most ensembles are near 0.
    units : Scaling or None
        These units, if covariances are to go back from them to those of the data.
    called : str
        What a message calls the ensembles.
    first : int
        Number of the first of them.
    """
    largest = largest_of(moments.dtype)
    used = np.asarray(moments.weights) > 0
    scale = np.zeros(moments.n_features) if units is None else units.scale
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.asarray(moments.mean, np.float64) ** 2
        scatter = np.asarray(moments.scatter.diagonal(moments.n_features), np.float64)
        sizes = np.stack([(squares + scatter).sum(axis=0), scale**2 @ (squares + scatter)])
        limits = np.array([[largest**2], [0.1 * float(np.finfo(moments.dtype).max)]])
        far = ~(sizes <= limits) & used
    if not far.any():
        return
    # beside it the scatters of others may be lost: it is the farthest that matters
    sums = squares.sum(axis=0) + np.where(np.isnan(scatter), 0, scatter).sum(axis=0)
    i = int(np.argmax(np.where(used, sums, -1)))
    other = ", or fit with dtype='float64'" if moments.dtype == np.float32 else ""
    if units is None or far[0].any():
        raise ValueError(
            f"{called}: ensemble {first + i} lies more than {largest:.0e} times the spread of the data from "
            f"the others, too far for {np.dtype(moments.dtype)}; set what stands for missing values to "
            f"NaN{other}"
        )
    i = int(np.argmax(np.where(used, sizes[1], -1)))
    raise ValueError(
        f"{called}: ensemble {first + i} lies {np.sqrt(sizes[1, i]):.2g} from the others, the square of "
        f"which {np.dtype(moments.dtype)} cannot hold; give the variables in another unit{other}"
    )


def rescaled(moments: Moments, old: Scaling, new: Scaling, *, in_place: bool = False) -> Moments:
    """Return the same moments in other units; means are moved in float64.

    ``in_place`` lets the scatters, by far the most of them, be overwritten.
    """
    dtype = moments.mean.dtype
    ratio = old.scale / new.scale
    shift = (old.centre - new.centre) / new.scale
    out = np.asarray(moments.scatter.values) if in_place else None
    with np.errstate(over="ignore", invalid="ignore"):  # of ensembles that are refused then: check_reach
        mean = (np.asarray(moments.mean, np.float64) * ratio[:, None] + shift[:, None]).astype(dtype)
        return moments._replace(mean=mean, scatter=moments.scatter.rescaled(ratio, out))
