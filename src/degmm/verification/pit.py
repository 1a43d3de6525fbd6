"""Probability integral transforms: whether forecast probabilities come true."""

from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Int

from degmm.ensembles.arrays import doubles_of
from degmm.verification.arrays import TIES, by_position, generator, whole
from degmm.verification.resampling import block_length_of, circular_starts
from degmm.verification.scores import with_substitutes


class HasDistribution(Protocol):
    """What these tests need of a forecast; with point masses, ``cdf_below`` too, P(Y < y)."""

    def cdf(self, y: Any, /) -> np.ndarray:
        """Return P(Y ≤ y) of each case."""


class Flatness(NamedTuple):
    """A test of whether counts are equal but for chance."""

    statistic: float
    """χ² = Σ_k (o_k − e)²/e, with the counts o_k and their mean e"""
    p_value: float
    """Probability of such a statistic, or a larger one, where the forecasts are calibrated"""


def pit(forecast: HasDistribution, y: Any, seed: Any = 0) -> Float[np.ndarray, "..."]:
    """Return the probability integral transform of each observation, F_i(y_i).

    Parameters
    ----------
    forecast : object with ``cdf``
        Where it has ``cdf_below`` too, P(Y < y), the transform is drawn evenly between that and F(y): of a
        distribution with point masses, such as of no rain, it is uniform only so (Czado, Gneiting &
        Held 2009, doi:10.1111/j.1541-0420.2009.01191.x).
    y : array-like
        Observations, in the shape that ``forecast.cdf`` takes, NaN where there is none.
    seed : int or numpy.random.Generator
        For what is drawn: other numbers than those of a simulation with the same integer.

    Returns
    -------
    ndarray, of the shape of y
        In [0, 1], NaN where y is. Uniform if observations come from their forecasts (Dawid 1984,
        doi:10.2307/2981683); for ensembles, see :func:`ranks`.

    Raises
    ------
    ValueError
        If a value of y is infinite, all are missing, or ``cdf`` returns another shape.
    """
    rng = generator(seed, stream=TIES)
    forecast, y = by_position(forecast, y)
    observed, filled = with_substitutes(y)
    values = _probabilities(forecast.cdf(filled), observed)
    if hasattr(forecast, "cdf_below"):
        below = _probabilities(forecast.cdf_below(filled), observed)
        values = below + rng.uniform(size=observed.shape) * (values - below)
    # Of float32, or of sums of weights, a distribution can end a rounding above 1.
    return np.where(np.isnan(observed), np.nan, np.clip(values, 0, 1))


def pit_counts(forecast: HasDistribution, y: Any, bins: int = 10, seed: Any = 0) -> Int[np.ndarray, "bins"]:
    """Return how many observations have their transform in each of equally wide bins of [0, 1].

    Parameters
    ----------
    forecast, y, seed
        As for :func:`pit`.
    bins : int
        At least 2.

    Returns
    -------
    ndarray of int, shape (bins,)
    """
    bins = whole("bins", bins, 2)
    values = pit(forecast, y, seed)
    return np.bincount(_places(values[~np.isnan(values)], bins), minlength=bins)


def reliability_index(counts: Any) -> float:
    """Return how far counts of ranks or transforms are from equal, Σ_k |o_k/Σo − 1/K|.

    From 0, all equal, to below 2; K is the number of counts. Also calibrated forecasts have a positive one,
    of about √(2 (K − 1)/(π N)) for N independent observations (Delle Monache et al. 2006,
    doi:10.1029/2005JD006917).

    Parameters
    ----------
    counts : array-like of int, shape (K,)
        Of :func:`rank_counts` or :func:`pit_counts`.

    Raises
    ------
    ValueError
        If counts are negative, no series, or all 0.
    """
    found = _counts(counts)
    return float(np.abs(found / found.sum() - 1 / len(found)).sum())


def flatness(counts: Any) -> Flatness:
    """Test whether counts of ranks or transforms are equal but for chance, of independent observations.

    Pearson's χ² test with K − 1 degrees of freedom. Forecast errors of following days are not independent,
    and then it finds calibrated forecasts wanting too often: see :func:`flatness_in_blocks`.

    Parameters
    ----------
    counts : array-like of int, shape (K,)
        Of :func:`rank_counts` or :func:`pit_counts`; of at least 5 in the mean, for the p-value to hold.

    Raises
    ------
    ValueError
        If counts are negative, no series, or all 0.
    """
    from scipy.stats import chi2

    found = _counts(counts)
    statistic = _chi_square(found, found.sum() / len(found))
    return Flatness(statistic, float(chi2.sf(statistic, len(found) - 1)))


def flatness_in_blocks(
    values: Any,
    bins: int = 10,
    *,
    block_length: int | None = None,
    n_replicates: int = 1000,
    random_state: Any = 0,
) -> Flatness:
    """Test whether transforms, or ranks, are uniform, where neighbours in time depend on each other.

    The statistic is that of :func:`flatness`. Its distribution is that of the counts' departures from their
    own mean over replicates of blocks of consecutive values (circular block bootstrap, Politis & Romano
    1992), which keep the dependence.

    Parameters
    ----------
    values : array-like, shape (n,)
        In order of time: of :func:`pit`, NaN where there is none; or of :func:`ranks` as integers, −1 where
        there is none, with ``bins`` = M + 1.
    bins : int
        At least 2.
    block_length : int, optional
        Of the blocks; by default by the rule of :func:`block_length_of`, the longest of all bins.
    n_replicates : int
        Number of replicates; the p-value is 1/(n_replicates + 1) at least.
    random_state : int or numpy.random.Generator
        For the blocks.

    Raises
    ------
    ValueError
        If a value or setting is out of its range, or there is no value.
    """
    bins, n_replicates = whole("bins", bins, 2), whole("n_replicates", n_replicates)
    given = np.asarray(values)
    if given.ndim != 1 or given.dtype.kind not in "iuf":
        raise ValueError(f"values: expected numbers of shape (n,), got {given.dtype} {given.shape}")
    known = given >= 0 if given.dtype.kind in "iu" else ~np.isnan(given)
    if not known.any():
        raise ValueError("values: there is none")
    if given.dtype.kind in "iu":
        places = given[known].astype(int)
        if places.max() >= bins:
            raise ValueError(f"values: rank {places.max()} with bins={bins}; for M members set bins to M + 1")
    else:
        if not ((given[known] >= 0) & (given[known] <= 1)).all():
            raise ValueError("values: transforms lie in [0, 1]; ranks must be integers")
        places = _places(given[known], bins)
    n = len(given)
    shown = np.zeros((n, bins))
    shown[np.flatnonzero(known), places] = 1
    total = shown.sum(axis=0)
    expected = total.sum() / bins
    statistic = _chi_square(total, expected)
    if block_length is None:
        kept = np.where(known[:, None], shown, np.nan)
        length = max(block_length_of(kept[:, k]) for k in range(bins))
    else:
        length = min(whole("block_length", block_length), n)
    rng = generator(random_state, "random_state")
    sums = np.concatenate([np.zeros((1, bins)), np.cumsum(np.concatenate([shown, shown]), axis=0)])
    extreme = 0
    for _ in range(n_replicates):
        starts, lengths = circular_starts(n, length, rng)
        drawn = (sums[starts + lengths] - sums[starts]).sum(axis=0)
        # Where observations are missing, replicates differ in their number.
        extreme += _chi_square(drawn - drawn.sum() * (total / total.sum()) + expected, expected) >= statistic
    return Flatness(statistic, (1 + extreme) / (n_replicates + 1))


def _probabilities(values: Any, observed: np.ndarray) -> np.ndarray:
    found = np.asarray(values, np.float64)
    if found.shape != observed.shape:
        raise ValueError(f"y: the forecast has probabilities {found.shape} for observations {observed.shape}")
    return found


def _places(values: np.ndarray, bins: int) -> np.ndarray:
    return np.minimum((values * bins).astype(int), bins - 1)


def _counts(counts: Any) -> np.ndarray:
    found = doubles_of(counts, "counts")
    if found.ndim != 1 or len(found) < 2 or not (np.isfinite(found) & (found >= 0)).all() or not found.any():
        raise ValueError(f"counts: expected at least two, none negative and not all 0, got {counts!r}")
    return found


def _chi_square(counts: np.ndarray, expected: float) -> float:
    return float(((counts - expected) ** 2).sum() / expected)
