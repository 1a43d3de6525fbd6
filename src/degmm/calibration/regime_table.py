"""What each regime of a calibration means: size, season, errors and their correction, typical ensembles."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from degmm.calibration.base import CalibrationData
from degmm.calibration.forecast import Forecast
from degmm.calibration.predictors import member_statistics, values_of
from degmm.ensembles import Ensemble
from degmm.ensembles.times import find_times, month_of

if TYPE_CHECKING:
    import pandas as pd

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SEASON_SHARE = 2 / 3
"""Of a regime's cases in the months that are called its season"""
LONGEST_SEASON = 8
"""Months; a longer one is no season"""
N_TYPICAL = 3
TYPICAL_SHARE = 0.1
"""Of a regime's cases, those it is surest of, among which the typical ones are"""


def regime_table(
    data: CalibrationData, gamma: Float[np.ndarray, "n K"], experts: list[Forecast]
) -> "pd.DataFrame":
    """Return a row a regime, or a regime and variable.

    Parameters
    ----------
    data : CalibrationData
        The cases of a fit, of D variables.
    gamma : ndarray, shape (n, K)
        Regimes of the cases.
    experts : list of K Forecasts
        What each regime's expert forecasts for every case.

    Returns
    -------
    DataFrame
        Its columns are those of ``regimes_`` of :class:`degmm.calibration.RegimeEMOS`.
    """
    import pandas as pd

    known = member_statistics(values_of(data.X))
    n, D = data.observed.shape
    times = _times(data.X)
    names = data.recipe.variables or tuple(f"x{d + 1}" for d in range(D))
    any_weight = data.weights.max(axis=1)
    rows, index = [], []
    for k, expert in enumerate(experts):
        of_case = any_weight * gamma[:, k]
        mean, std = (np.asarray(part, np.float64).reshape(n, D) for part in _moments(expert))
        shared = {
            "share": of_case.sum() / any_weight.sum(),
            "cases": gamma[any_weight > 0, k].sum(),
            "season": "" if times is None else _season(times, of_case),
        }
        typical = _typical(data, of_case, times)
        for d in range(D):
            weights = data.weights[:, d] * gamma[:, k]
            spread = known.spread[:, d]
            ratio = np.divide(std[:, d], spread, out=np.full(n, np.nan), where=spread > 0)
            error = known.mean[:, d] - data.observed[:, d]
            rows.append(
                shared
                | {
                    "ensemble_mean": _mean(known.mean[:, d], weights),
                    "ensemble_spread": _mean(spread, weights),
                    "bias": _mean(error, weights),
                    "error": _mean(error**2, weights) ** 0.5,
                    "correction": _mean(mean[:, d] - known.mean[:, d], weights),
                    "spread_ratio": float(np.exp(_mean(np.log(ratio), weights))),
                    "typical": typical,
                }
            )
            index.append((k + 1, names[d]))
    labels: Any = pd.Index([k for k, _ in index], name="regime")
    if D > 1:
        labels = pd.MultiIndex.from_tuples(index, names=["regime", "variable"])
    return pd.DataFrame(rows, index=labels)


def _moments(forecast: Forecast) -> tuple[Any, Any]:
    return forecast.mean(), forecast.std()


def _times(X: Any) -> np.ndarray | None:
    found = find_times(X) if isinstance(X, Ensemble) else None
    return None if found is None else found[1]


def _mean(values: Float[np.ndarray, "n"], weights: Float[np.ndarray, "n"]) -> float:
    """Return the weighted mean of the values that are there, NaN if there are none."""
    used = np.isfinite(values) & (weights > 0)
    return float(np.average(values[used], weights=weights[used])) if used.any() else float("nan")


def _season(times: np.ndarray, weights: Float[np.ndarray, "n"]) -> str:
    """Return the fewest months in a row that hold most of the weight."""
    dated = ~np.isnat(times)
    mass = np.bincount(month_of(times[dated]), weights[dated], minlength=12)
    if not mass.sum():
        return ""
    twice = np.concatenate([[0], np.cumsum(np.tile(mass / mass.sum(), 2))])
    for length in range(1, LONGEST_SEASON + 1):
        held = twice[length : 12 + length] - twice[:12]
        first = int(np.argmax(held))
        if held[first] >= SEASON_SHARE:
            ends = MONTHS[first], MONTHS[(first + length - 1) % 12]
            return ends[0] if length == 1 else "–".join(ends)
    return "all year"


def _typical(data: CalibrationData, weights: Float[np.ndarray, "n"], times: np.ndarray | None) -> str:
    """Return dates or numbers of the cases nearest to a regime's mean, of those that are surely its own."""
    if not (weights > 0).any():
        return ""
    place = np.nan_to_num(np.concatenate([data.predictors.mean, data.predictors.log_spread], axis=1))
    centre = np.average(place, axis=0, weights=weights)
    count = max(N_TYPICAL, round(TYPICAL_SHARE * float((weights > weights.max() / 2).sum())))
    sure = np.argsort(-weights, kind="stable")[: min(count, int((weights > 0).sum()))]
    nearest = sure[np.argsort(((place[sure] - centre) ** 2).sum(axis=1), kind="stable")[:N_TYPICAL]]
    return ", ".join(_labels(np.sort(nearest), times))


def _labels(cases: Int[np.ndarray, "c"], times: np.ndarray | None) -> list[str]:
    if times is None or np.isnat(times[cases]).any():
        return [str(case) for case in cases]
    return [str(time.astype("datetime64[D]")) for time in times[cases]]
