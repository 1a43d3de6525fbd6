"""Copula coupling: calibrated margins, put in the order of the members of an ensemble."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from degmm.calibration.forecast import HOW, Forecast
from degmm.choices import find
from degmm.ensembles import Ensemble, labelled, members_of
from degmm.ensembles.arrays import numbers_of
from degmm.ensembles.matching import of_variables_named, order_of_cases, with_variables
from degmm.estimators.checks import check_integer, generator


def ecc(forecast: Forecast, X: Any, how: str = "quantiles", *, random_state: Any = None) -> Any:
    """Return the calibrated ensemble with the ranks of the raw one: ensemble copula coupling.

    Each variable of case i gets M_i values of its calibrated distribution, of which the member with
    rank r among the raw members takes the r-th: the dependence between variables (and that between
    members and other cases) is that of the raw ensemble (Schefzik et al. 2013, doi:10.1214/13-STS443).

    Parameters
    ----------
    forecast : Forecast
        Of n cases and D variables.
    X : Ensemble, xarray.DataArray or array-like, shape (n, M, D)
        The raw ensembles; for a forecast of a single variable (n, M) or (n, M, 1). A member with a NaN
        in any variable is absent, and the rest of the case has so many fewer values. Cases go by
        the index that they and the forecast have, variables by their names.
    how : {"quantiles", "random"}
        Quantiles of (j − ½)/M_i (ECC-Q) or random draws (ECC-R).
    random_state : int, Generator or None
        Seed of the draws, and of the ranks of equal members, which are random.

    Returns
    -------
    ndarray, shape (n, M, D), or (n, M) as X
        Cases and variables in the order of the forecast; NaN where a member is absent or a case has no
        forecast; a DataArray if the forecast has labels.

    Raises
    ------
    ValueError
        If shapes differ, X has infinite values, or ``how`` is unknown.
    """
    raw = with_variables(labelled(X), forecast.variables)
    if isinstance(raw, Ensemble) and forecast.labels is not None:
        raw = raw[order_of_cases(raw, forecast.labels, "X")]
    members, shape = _template("X", members_of(raw), forecast)
    if len(forecast.shape) == 1 and type(X).__module__.startswith("xarray."):
        shape = shape[:2]  # a single variable is no dimension of it
    return _coupled(forecast, members, shape, how, random_state)


def schaake_shuffle(
    forecast: Forecast, past_observations: Any, how: str = "quantiles", *, random_state: Any = None
) -> Any:
    """Return a calibrated ensemble with the ranks of past observations: the Schaake shuffle.

    As :func:`ecc`, with the observations of m past dates in the place of raw members (Clark et al. 2004,
    doi:10.1175/1525-7541(2004)005<0243:TSSAMF>2.0.CO;2).

    Parameters
    ----------
    forecast : Forecast
        Of n cases and D variables.
    past_observations : array-like, shape (m, D), or (n, m, D) for dates of each case's own
        Dates with a NaN in any variable are left out; in (n, m, D) they become absent members.
        Variables are in the order of the forecast's, or those of a DataArray's dimension ``variable``.
    how, random_state
        As in :func:`ecc`.

    Returns
    -------
    ndarray, shape (n, m, D); (n, m) if the forecast is of a single variable

    Raises
    ------
    ValueError
        If shapes differ, values are infinite, no date is left, or ``how`` is unknown.
    """
    name = "past_observations"
    past = numbers_of(_by_variable(past_observations, forecast.variables, name), name)
    single = len(forecast.shape) == 1
    if past.ndim == 1 and single:
        past = past[:, None]
    if past.ndim == 2:
        past = past[~np.isnan(past).any(axis=1)]
        if not len(past):
            raise ValueError(f"{name}: no date has an observation of every variable")
        past = np.broadcast_to(past, (len(forecast), *past.shape))
    members, shape = _template(name, past, forecast)
    return _coupled(forecast, members, shape[:2] if single else shape, how, random_state)


def error_copula(
    forecast: Forecast, transforms: Any, m: int = 50, how: str = "quantiles", *, random_state: Any = None
) -> Any:
    """Return a calibrated ensemble whose variables depend as the errors of past forecasts did.

    As :func:`schaake_shuffle`, with the probability integral transforms of m past cases, drawn for each case,
    in the place of past observations: so ranks say by how much, and on which side, forecasts of the
    variables missed together. A Gaussian copula of such transforms is that of Möller et al. (2013,
    doi:10.1002/qj.2009); here it is the empirical one. Members of a raw ensemble may depend on each other
    less than the errors do, and then :func:`ecc` gains nothing.

    Parameters
    ----------
    forecast : Forecast
        Of n cases and D variables.
    transforms : array-like, shape (t, D)
        Of past cases, as :func:`degmm.verification.pit` returns them; best of forecasts of held-out cases
        (:func:`degmm.calibration.cross_validated`). Cases with a NaN in any variable are left out.
        Variables are in the order of the forecast's, or those of a DataArray's dimension ``variable``.
    m : int
        Number of members.
    how, random_state
        As in :func:`ecc`; the seed is that of the past cases drawn, too.

    Returns
    -------
    ndarray, shape (n, m, D); (n, m) if the forecast is of a single variable

    Raises
    ------
    ValueError
        If shapes differ, transforms are none, no past case is left, or ``how`` is unknown.
    """
    name = "transforms"
    past = numbers_of(_by_variable(transforms, forecast.variables, name), name)
    past = past[:, None] if past.ndim == 1 else past
    D = forecast.shape[1] if len(forecast.shape) == 2 else 1
    if past.ndim != 2 or past.shape[1] != D:
        raise ValueError(f"{name}: expected shape (t, {D}), as the forecast has; got {past.shape}")
    past = past[~np.isnan(past).any(axis=1)]
    if not len(past):
        raise ValueError(f"{name}: no case has one of every variable")
    if (past < 0).any() or (past > 1).any():
        raise ValueError(f"{name}: expected probabilities, those of degmm.verification.pit")
    rng = generator(random_state)
    drawn = past[rng.integers(len(past), size=(len(forecast), check_integer("m", m, 1)))]
    return schaake_shuffle(forecast, drawn, how, random_state=rng)


def ranks_within(values: Float[np.ndarray, "n M D"], random_state: Any = None) -> np.ndarray:
    """Return the rank of each member, from 0, variable by variable, equal members at random.

    Members that are NaN come last.
    """
    ties = generator(random_state).uniform(size=values.shape)
    order = np.lexsort((ties, values), axis=1)
    ranks = np.empty(values.shape, np.intp)
    places = np.broadcast_to(np.arange(values.shape[1])[None, :, None], values.shape)
    np.put_along_axis(ranks, order, places, axis=1)
    return ranks


def _by_variable(values: Any, names: Sequence[str], called: str) -> Any:
    """Return a DataArray with its variables last and in an order; anything else as it is."""
    if not type(values).__module__.startswith("xarray.") or "variable" not in values.dims:
        return values
    return of_variables_named(names, values, called).transpose(..., "variable")


def _coupled(
    forecast: Forecast, members: np.ndarray, shape: tuple[int, ...], how: str, random_state: Any
) -> Any:
    find("how", how, HOW)
    rng = generator(random_state)
    absent = np.isnan(members).any(axis=2)
    # an absent member is last in all variables, behind the values that the others take
    ranks = ranks_within(np.where(absent[..., None], np.nan, members), rng)
    counts = (~absent).sum(axis=1)
    bare = replace(forecast, labels=None)
    calibrated = np.full(members.shape, np.nan)
    for count in np.unique(counts[counts > 0]):
        cases = np.flatnonzero(counts == count)
        values = bare[cases].to_ensemble(int(count), how, random_state=rng)
        values = np.sort(values.reshape(len(cases), int(count), -1), axis=1)
        filled = np.full((len(cases), *members.shape[1:]), np.nan)
        filled[:, :count] = values
        calibrated[cases] = np.take_along_axis(filled, ranks[cases], axis=1)
    over = ("member", "variable")[: len(shape) - 1]
    return forecast._labelled(calibrated.reshape(shape), "forecast", over)


def _template(name: str, values: Any, forecast: Forecast) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return what gives the ranks, shape (n, M, D), and its own shape."""
    values = numbers_of(values, name)
    shape = values.shape
    D = forecast.shape[1] if len(forecast.shape) == 2 else 1
    if values.ndim == 2 and D == 1:
        values = values[..., None]
    if values.ndim != 3 or (values.shape[0], values.shape[2]) != (len(forecast), D):
        raise ValueError(
            f"{name}: expected shape ({len(forecast)}, M, {D}), as the forecast has; got {shape}"
        )
    if np.isinf(values).any():
        i, m, d = np.argwhere(np.isinf(values))[0]
        raise ValueError(f"{name}: infinite value at case {i}, member {m}, variable {d}")
    return values, shape
