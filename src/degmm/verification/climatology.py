"""The forecast of no skill: what was observed at this time of the year before."""

from typing import Any

import numpy as np
from jaxtyping import Float

from degmm.ensembles.times import YEAR, dates_in, day_of_year
from degmm.verification.arrays import numbers, whole


def climatology_ensemble(
    train_y: Any,
    train_times: Any = None,
    test_times: Any = None,
    *,
    window: float = 15.0,
    n_cases: int = 1,
) -> Float[np.ndarray, "..."]:
    """Return past observations as the members of ensembles, one for each case.

    Parameters
    ----------
    train_y : array-like, shape (n,) or (n, D)
        Past observations; a case with NaN is left out.
    train_times, test_times : array-like, shapes (n,) and (n_test,), optional
        Dates of the past and of the cases. The members of a case are what was observed, in any year, within
        ``window`` days of its day of the year. Without dates, they are all past observations.
    window : float
        In days, at least 0; the year goes round, so that 31 December is near 1 January.
    n_cases : int
        Number of cases, where there are no dates.

    Returns
    -------
    ndarray, shape (n_test, M) or (n_test, M, D)
        In the unit of ``train_y``, with NaN for the members that a case has fewer than the one with most.
        Without dates, all cases are views of the same memory, which cannot be written to.

    Raises
    ------
    ValueError
        If there is no observation, times are no dates or not as many as cases, only one of them is
        given, or a case has no observation within its window.
    """
    observed = numbers("train_y", train_y)
    if observed.ndim not in (1, 2) or 0 in observed.shape:
        raise ValueError(f"train_y: expected shape (n,) or (n, D), got {observed.shape}")
    known = ~np.isnan(observed.reshape(len(observed), -1)).any(axis=1)
    if not known.any():
        raise ValueError("train_y: there is no observation")
    if (train_times is None) != (test_times is None):
        absent = "train_times" if train_times is None else "test_times"
        raise ValueError(f"{absent}: give the dates of past and cases, or neither")
    if train_times is None:
        past = observed[known]
        return np.broadcast_to(past, (whole("n_cases", n_cases), *past.shape))
    if not (isinstance(window, int | float | np.number) and 0 <= window < np.inf):
        raise ValueError(f"window: expected a number of days of at least 0, got {window!r}")
    past_times, times = _dates("train_times", train_times), _dates("test_times", test_times)
    if len(past_times) != len(observed):
        raise ValueError(f"train_times: {len(past_times)} dates for {len(observed)} observations")
    past, day = observed[known], day_of_year(past_times[known])
    order = np.argsort(day, kind="stable")
    past, day = past[order], day[order]
    # A window is a run of the year laid end to end three times, in which no case appears twice.
    ring = np.concatenate([day - YEAR, day, day + YEAR])
    reach = min(float(window), YEAR / 2)
    target = day_of_year(times)
    first = np.searchsorted(ring, target - reach, side="left")
    last = np.searchsorted(ring, target + reach, side="right")
    counts = np.minimum(last - first, len(past))
    if not counts.all():
        i = int(np.argmin(counts))
        raise ValueError(
            f"window: no observation within {window:g} days of the day of the year of case {i}, {times[i]}"
        )
    places = first[:, None] + np.arange(counts.max())
    members = past[places % len(past)]
    members[np.arange(counts.max()) >= counts[:, None]] = np.nan
    return members


def _dates(name: str, labels: Any) -> np.ndarray:
    times = dates_in("time", labels)
    if times is None or times.ndim != 1 or np.isnat(times).any():
        raise ValueError(f"{name}: expected dates, such as 2020-01-31, of shape (n,) and none missing")
    return times
