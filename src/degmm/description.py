"""What is to be known of ensembles before anything is fitted to them."""

from typing import Any

import numpy as np
from jaxtyping import Float

from degmm.ensembles import Ensemble


def pooled(data: Ensemble) -> Ensemble:
    """Return ensembles of one variable: each of the variables, such as the points of a grid, as cases."""
    n, M, D = data.shape
    values = np.where(data.mask[..., None], data.values, np.nan).transpose(0, 2, 1).reshape(n * D, M, 1)
    observed = None if data.observations is None else data.observations.reshape(n * D, 1)
    unit = data.units[:1] if data.units and len({*data.units}) == 1 else ()
    return Ensemble(values, (f"all {D}",), units=unit, observations=observed)


def variable_facts(data: Ensemble, d: int) -> dict[str, Any]:
    """Return figures of one variable, each where it can be told.

    Parameters
    ----------
    data : Ensemble
        With at least one member in each case.
    d : int
        Place of the variable.

    Returns
    -------
    dict
        ``variable``, ``unit``, ``missing`` (absent members), ``mean`` and ``spread`` (standard deviation)
        of all members, ``within`` (root of the mean variance, with M − 1, of the members of an ensemble),
        ``season`` (share of the variance of ensemble means that the cycle of the year explains), and of the
        ensemble mean as a forecast of the observations ``bias``, ``rmse`` and ``ratio``: the members'
        spread, with the factor √((M+1)/M) for the finite ensemble (Fortin et al. 2014,
        doi 10.1175/JHM-D-14-0008.1), over the RMSE.
    """
    members = np.where(data.mask, data.values[..., d], np.nan).astype(np.float64)
    counts = data.counts
    means = np.nanmean(members, axis=1)
    squares = np.nansum((members - means[:, None]) ** 2, axis=1)
    found: dict[str, Any] = {
        "variable": data.variables[d],
        "unit": (data.units[d] if data.units else "") or "–",
        "missing": int((~data.mask).sum()),
        "mean": float(np.nanmean(members)),
        "spread": float(np.nanstd(members)),
    }
    several = counts > 1
    if several.any():
        found["within"] = float(np.sqrt(np.mean(squares[several] / (counts[several] - 1))))
    season = _seasonal_share(data, d, means)
    if season is not None:
        found["season"] = season
    if data.observations is not None and np.isfinite(data.observations[:, d]).any():
        found |= _skill(means, squares, counts, data.observations[:, d])
    return found


def _seasonal_share(data: Ensemble, d: int, means: Float[np.ndarray, "n"]) -> float | None:
    """Return the share of the variance of ensemble means in the cycle of the year; None without times."""
    if np.var(means) == 0:
        return None
    try:
        left = data.take_variables([d]).anomalies("dayofyear")
    except ValueError:  # no times, or not all seasons
        return None
    rest = np.nanmean(np.where(left.mask, left.values[..., 0], np.nan), axis=1)
    return float(np.clip(1 - np.var(rest) / np.var(means), 0, 1))


def _skill(
    means: Float[np.ndarray, "n"],
    squares: Float[np.ndarray, "n"],
    counts: np.ndarray,
    observed: Float[np.ndarray, "n"],
) -> dict[str, float]:
    """Return bias and RMSE of the ensemble means and, of cases with several members, spread over RMSE."""
    seen = np.isfinite(observed)
    errors = means[seen] - observed[seen]
    found = {"bias": float(errors.mean()), "rmse": float(np.sqrt(np.mean(errors**2)))}
    several = seen & (counts > 1)
    if several.any():
        M = counts[several]
        spread = np.sqrt(np.mean((M + 1) / M * squares[several] / (M - 1)))
        rmse = np.sqrt(np.mean((means - observed)[several] ** 2))
        if rmse > 0:
            found["ratio"] = float(spread / rmse)
    return found
