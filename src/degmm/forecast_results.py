"""Calibrated forecasts with the labels of the ensembles they came from, as files hold them."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from degmm import __version__
from degmm.calibration import Forecast, ecc
from degmm.ensembles import Ensemble
from degmm.ensembles.matching import with_variables
from degmm.results import data_array

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
"""Of the quantiles that are written"""


def forecast_dataset(
    data: Ensemble,
    forecast: Forecast,
    regimes: Float[np.ndarray, "n K"] | None = None,
    *,
    random_state: Any = 0,
) -> "xr.Dataset":
    """Return calibrated forecasts of ensembles as a Dataset.

    Parameters
    ----------
    data : Ensemble
        The raw ensembles, of n cases and D variables.
    forecast : Forecast
        Of these.
    regimes : ndarray, shape (n, K), optional
        Probabilities of the regimes.
    random_state : int, Generator or None
        For the order of members that are equal in the raw ensemble.

    Returns
    -------
    xarray.Dataset
        ``forecast_mean``, ``forecast_std`` and ``forecast_quantile``; ``forecast``, a calibrated
        ensemble of the size of the raw one, its members in the order of the raw ones
        (:func:`degmm.calibration.ecc`), so that the file is one of ensembles again; where known,
        ``regime_probability`` and ``observation``.
    """
    import xarray as xr

    data = with_variables(data, forecast.variables)
    arrays = []

    def add(name: str, values: Any, text: str, *over: str) -> "xr.DataArray":
        array = data_array(data, np.asarray(values, np.float64), name, over)
        array.attrs = {"long_name": text}
        arrays.append(array)
        return array

    parts = _parts(data, forecast, random_state)
    add("forecast_mean", parts["mean"], "mean of the calibrated forecast", "variable")
    add("forecast_std", parts["std"], "standard deviation of the calibrated forecast", "variable")
    quantiles = add(
        "forecast_quantile", parts["quantile"], "quantiles of the calibrated forecast", "variable", "quantile"
    )
    members = add("forecast", parts["members"], "calibrated ensemble", "member", "variable")
    if data.observations is not None:
        add("observation", data.observations, "what was observed", "variable")
    if regimes is not None:
        probability = add("regime_probability", regimes, "probability of the regime", "regime")
        numbers = {probability.dims[-1]: np.arange(regimes.shape[1]) + 1}
        arrays[-1] = probability.assign_coords(numbers)
    member, variable, level = members.dims[-2], members.dims[-1], quantiles.dims[-1]
    dataset = xr.merge(arrays, compat="equals", join="exact").assign_coords(
        {variable: list(data.variables), level: list(LEVELS), member: data.member_labels}
    )
    dataset[member].attrs["standard_name"] = "realization"
    if data.units and "units" not in dataset.variables:
        dataset = dataset.assign_coords(units=(variable, list(data.units)))
    dataset.attrs = {"Conventions": "CF-1.10", "source": f"degmm {__version__}"}
    return dataset


def forecast_table(
    data: Ensemble,
    forecast: Forecast,
    regimes: Float[np.ndarray, "n K"] | None = None,
    *,
    random_state: Any = 0,
) -> "pd.DataFrame":
    """Return a row a case: its labels and, of each variable, what :func:`forecast_dataset` has.

    The columns are ``NAME_mean``, ``NAME_std``, ``NAME_q05``, …, ``NAME_m01``, … and, where known,
    ``obs_NAME`` and ``regime_1``, ….
    """
    import pandas as pd

    data = with_variables(data, forecast.variables)
    parts = _parts(data, forecast, random_state)
    columns: dict[str, np.ndarray] = {name: np.asarray(values) for name, values in data.coords.items()}
    for d, name in enumerate(data.variables):
        columns[f"{name}_mean"] = parts["mean"][:, d]
        columns[f"{name}_std"] = parts["std"][:, d]
        columns |= {f"{name}_q{round(100 * q):02d}": parts["quantile"][:, d, j] for j, q in enumerate(LEVELS)}
        digits = max(2, len(str(data.n_members)))
        columns |= {f"{name}_m{m + 1:0{digits}d}": parts["members"][:, m, d] for m in range(data.n_members)}
        if data.observations is not None:
            columns[f"obs_{name}"] = data.observations[:, d]
    if regimes is not None:
        columns |= {f"regime_{k + 1}": column for k, column in enumerate(regimes.T)}
    return pd.DataFrame(columns)


def _parts(data: Ensemble, forecast: Forecast, random_state: Any) -> dict[str, np.ndarray]:
    n, M, D = data.shape
    return {
        "mean": np.asarray(forecast.mean()).reshape(n, D),
        "std": np.asarray(forecast.std()).reshape(n, D),
        "quantile": np.asarray(forecast.quantile(LEVELS)).reshape(n, D, len(LEVELS)),
        "members": np.asarray(ecc(forecast, data, random_state=random_state)).reshape(n, M, D),
    }
