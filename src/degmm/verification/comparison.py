"""Whether one forecast is better than another, where errors of neighbouring cases depend on each other."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from degmm.verification.arrays import generator, in_order_of, numbers, share, whole
from degmm.verification.resampling import block_length_of, departures_of, resamples

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "cases",
    "mean",
    "difference",
    "difference_low",
    "difference_high",
    "skill",
    "skill_low",
    "skill_high",
    "p_value",
)


class DieboldMariano(NamedTuple):
    """A test of whether two forecasts have equal expected scores."""

    difference: float
    """Mean of the first scores minus the second ones: negative where the first forecast is better"""
    statistic: float
    """Difference over its standard error, corrected for small samples"""
    p_value: float
    """Two-sided"""
    block_length: int
    """Dependence is allowed for up to one case less"""


def diebold_mariano(scores_a: Any, scores_b: Any, block_length: int | None = None) -> DieboldMariano:
    """Test whether two forecasts of the same cases have equal expected scores.

    The mean of the differences d_i over its standard error, from their long-run variance
    V = γ₀ + 2 Σ_{k<ℓ} (1 − k/ℓ) γ_k with the autocovariances γ_k (Diebold & Mariano 1995,
    doi:10.1080/07350015.1995.10524599; the weights are Bartlett's, Newey & West 1987, doi:10.2307/1913610, so
    that V is never negative).

    Parameters
    ----------
    scores_a, scores_b : array-like, shape (n,)
        Of the same cases in order of time, the smaller, the better. A case where one is NaN is left
        out, and keeps its place in time. Of two DataArrays the second goes by the labels of the first.
    block_length : int, optional
        ℓ: dependence counts up to ℓ − 1 cases apart; 1 for independent ones. By default that of
        :func:`block_length_of` the differences.

    Returns
    -------
    DieboldMariano

    Raises
    ------
    ValueError
        If the shapes differ, fewer than two cases have both scores, or ``block_length`` is no
        integer of at least 1.

    Notes
    -----
    Small samples: autocovariances about the sample's own mean are too small, by a factor of V that for
    uncorrelated d is c = 1 − ℓ/n + (ℓ² − 1)/(3 n²). The statistic is multiplied with √c, which is the
    correction of Harvey, Leybourne & Newbold (1997, doi:10.1016/S0169-2070(96)00719-4) worked out for
    Bartlett's weights in place of equal ones; for ℓ = 1 it is theirs. As they do, p is taken from Student's
    t, but with the degrees of freedom that V has, (n − 1)/(1 + 2 Σ_{k<ℓ} (1 − k/ℓ)²): n − 1 for ℓ = 1.
    """
    from scipy.stats import t

    scores_b = in_order_of(scores_a, scores_b, "scores_b")
    a, b = numbers("scores_a", scores_a), numbers("scores_b", scores_b)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"scores_b: expected scores of the same cases, shape (n,); got {a.shape}, {b.shape}")
    difference = a - b
    if (~np.isnan(difference)).sum() < 2:
        raise ValueError("scores_a: fewer than two cases have both scores")
    n = len(difference)
    length = block_length_of(difference) if block_length is None else whole("block_length", block_length)
    departures, count = departures_of(difference)
    length = min(length, count - 1)
    mean = float(np.nanmean(difference))
    lags = np.arange(1, length)
    weights = 1 - lags / length
    covariances = np.array([departures[: n - k] @ departures[k:] for k in lags]) / count
    variance = departures @ departures / count + 2 * float(weights @ covariances)
    correction = 1 - length / count + (length**2 - 1) / (3 * count**2)
    # What rounding leaves of differences that are all the same is no variance.
    if variance <= (1e-14 * np.nanmax(np.abs(difference))) ** 2:
        statistic = 0.0 if mean == 0 else float(np.copysign(np.inf, mean))
    else:
        statistic = mean / np.sqrt(variance / count) * np.sqrt(correction)
    freedom = max((count - 1) / (1 + 2 * float(weights @ weights)), 1)
    return DieboldMariano(mean, float(statistic), float(2 * t.sf(abs(statistic), freedom)), length)


def skill_table(
    scores: Mapping[str, Any],
    reference: str,
    *,
    block_length: int | None = None,
    n_replicates: int = 1000,
    level: float = 0.95,
    random_state: Any = 0,
) -> "pd.DataFrame":
    """Return the mean scores of forecasts, and how much better each is than one of them.

    Parameters
    ----------
    scores : mapping of str to array-like, shape (n,)
        Of the same cases in order of time, the smaller, the better. Only cases where all have one count.
    reference : str
        The forecast that the others are held against.
    block_length : int, optional
        For test and intervals; by default that of :func:`block_length_of` the differences, which the
        intervals share with the test.
    n_replicates, level, random_state
        For the intervals, as in :func:`block_bootstrap`.

    Returns
    -------
    pandas.DataFrame
        One row a forecast, in the order given, with the columns ``cases``; ``mean``; ``difference``, from
        the reference's mean, with the interval ``difference_low``, ``difference_high``; ``skill``, 1 −
        mean/(the reference's mean), with ``skill_low``, ``skill_high``; and ``p_value``
        (:func:`diebold_mariano`). For the reference, difference and skill are 0, the others NaN. A skill
        needs scores of which 0 is the best: where a mean score is negative, it is NaN.

    Raises
    ------
    ValueError
        If the reference is no key, shapes differ, or fewer than two cases have all scores.
    """
    import pandas as pd

    if reference not in scores:
        raise ValueError(f"reference: {reference!r} is not among {', '.join(map(repr, scores))}")
    given = {}
    for name, values in scores.items():
        called = f"scores[{name!r}]"
        given[name] = numbers(called, in_order_of(scores[reference], values, called))
    for name, values in given.items():
        if values.ndim != 1 or values.shape != given[reference].shape:
            raise ValueError(
                f"scores: {name!r} has shape {values.shape}, {reference!r} {given[reference].shape}; "
                "expected scores of the same cases, shape (n,)"
            )
    complete = ~np.isnan(np.stack([*given.values()])).any(axis=0)
    if complete.sum() < 2:
        raise ValueError("scores: fewer than two cases have a score of each forecast")
    given = {name: np.where(complete, values, np.nan) for name, values in given.items()}
    n_replicates, level = whole("n_replicates", n_replicates), share("level", level)
    tails = [(1 - level) / 2, (1 + level) / 2]
    base = float(np.nanmean(given[reference]))
    rows = {}
    for name, values in given.items():
        mean = float(np.nanmean(values))
        row = dict.fromkeys(COLUMNS, np.nan) | {"cases": int(complete.sum()), "mean": mean}
        row["difference"] = mean - base
        has_skill = base > 0 and mean >= 0
        if has_skill:
            row["skill"] = 1 - mean / base
        if name != reference:
            test = diebold_mariano(values, given[reference], block_length)
            row["p_value"] = test.p_value
            both, rng = np.stack([values, given[reference]], axis=1), generator(random_state, "random_state")
            drawn = resamples(complete, test.block_length, n_replicates, rng)
            means = np.array([both[cases].mean(axis=0) for cases in drawn])
            differences = np.quantile(means[:, 0] - means[:, 1], tails)
            row["difference_low"], row["difference_high"] = differences
            if has_skill:
                row["skill_low"], row["skill_high"] = np.quantile(1 - means[:, 0] / means[:, 1], tails)
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS).rename_axis("forecast")
