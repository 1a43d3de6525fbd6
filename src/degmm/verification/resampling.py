"""Blocks of consecutive cases: how long, and the bootstrap of them."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from degmm.verification.arrays import generator, numbers, series, share, whole


class Interval(NamedTuple):
    """A statistic of scores with a bootstrap interval."""

    estimate: float
    low: float
    high: float
    block_length: int
    replicates: Float[np.ndarray, "replicates"]


def block_length_of(scores: Any) -> int:
    """Return a length of blocks that keep the dependence of a series in time.

    The larger of ⌈n^(1/3)⌉ and ⌈(6 n)^(1/3) (|ρ|/(1 − ρ²))^(2/3)⌉, at most n/4, with ρ the autocorrelation
    from one case to the next. The second is the best length for the mean of an autoregression of first
    order: of circular blocks (Politis & White 2004, doi:10.1081/ETC-120028836, as corrected by Patton,
    Politis & White 2009, doi:10.1080/07474930802459016), and alike of Bartlett weights (Andrews 1991,
    doi:10.2307/2938229). The first keeps some allowance where dependence does not show between neighbours.

    Parameters
    ----------
    scores : array-like, shape (n,)
        In order of time, NaN where there is none.

    Returns
    -------
    int
        At least 1.
    """
    values = series("scores", scores)
    n = len(values)
    departures, count = departures_of(values)
    known = ~np.isnan(values)
    pairs = int((known[:-1] & known[1:]).sum())
    variance = (departures**2).sum() / count
    # Fewer pairs of neighbours are there than cases, above all where some are missing.
    covariance = (departures[:-1] * departures[1:]).sum() / max(pairs, 1)
    rho = 0.0 if variance == 0 else float(covariance / variance)
    rho = float(np.clip(rho, -0.99, 0.99))
    best = (6 * count) ** (1 / 3) * (abs(rho) / (1 - rho**2)) ** (2 / 3)
    return int(np.clip(np.ceil(max(count ** (1 / 3), best)), 1, max(1, n // 4)))


def block_bootstrap(
    scores: Any,
    statistic: Callable[[np.ndarray], Any] = np.mean,
    block_length: int | None = None,
    n_replicates: int = 1000,
    *,
    level: float = 0.95,
    random_state: Any = 0,
) -> Interval:
    """Return a statistic of scores with an interval, from blocks of consecutive cases.

    Blocks start anywhere, and go on at the first case after the last (circular block bootstrap of Politis &
    Romano 1992); with length 1, this is the ordinary bootstrap. The interval goes from quantile
    (1 − level)/2 of the replicates to (1 + level)/2.

    Parameters
    ----------
    scores : array-like, shape (n,) or (n, C)
        In order of time. Of several columns, such as the scores of two forecasts, the same cases are
        drawn. Cases with NaN keep their place in time, and are left out of what the statistic gets.
    statistic : callable
        From scores, (m,) or (m, C), to a number.
    block_length : int, optional
        By default that of :func:`block_length_of`, the longest of the columns.
    n_replicates : int
        Number of replicates.
    level : float
        Probability of the interval.
    random_state : int or numpy.random.Generator
        For the blocks.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If there are no scores, or a setting is out of its range.
    """
    values = numbers("scores", scores)
    if values.ndim not in (1, 2):
        raise ValueError(f"scores: expected shape (n,) or (n, C), got {values.shape}")
    n_replicates, level = whole("n_replicates", n_replicates), share("level", level)
    known = ~np.isnan(values.reshape(len(values), -1)).any(axis=1)
    if not known.any():
        raise ValueError("scores: no case has all of them")
    if block_length is None:
        shown = np.where(known[:, None], values.reshape(len(values), -1), np.nan)
        length = max(block_length_of(column) for column in shown.T)
    else:
        length = min(whole("block_length", block_length), len(values))
    rng = generator(random_state, "random_state")
    replicates = np.array(
        [statistic(values[drawn]) for drawn in resamples(known, length, n_replicates, rng)], np.float64
    )
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(values[known])), float(low), float(high), length, replicates)


def resamples(
    known: Bool[np.ndarray, "n"], length: int, n_replicates: int, rng: np.random.Generator
) -> Iterator[Int[np.ndarray, "m"]]:
    """Yield the cases of each replicate, in blocks of consecutive cases, of which those known are kept."""
    n = len(known)
    for _ in range(n_replicates):
        chosen = np.empty(0, int)
        while not chosen.size:  # where most cases are missing, blocks may meet no other
            starts, lengths = circular_starts(n, length, rng)
            ends = np.cumsum(lengths)
            drawn = (np.arange(n) + np.repeat(starts - (ends - lengths), lengths)) % n
            chosen = drawn[known[drawn]]
        yield chosen


def circular_starts(
    n: int, length: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, "blocks"], Int[np.ndarray, "blocks"]]:
    """Return where blocks that make up n cases start, and how long each is: the last may be shorter."""
    count = -(-n // length)
    lengths = np.full(count, length)
    lengths[-1] = n - (count - 1) * length
    return rng.integers(n, size=count), lengths


def departures_of(values: Float[np.ndarray, "n"]) -> tuple[Float[np.ndarray, "n"], int]:
    """Return departures from the mean, 0 where a value is missing, and the number of values."""
    known = ~np.isnan(values)
    return np.where(known, values - np.nanmean(values), 0.0), int(known.sum())
