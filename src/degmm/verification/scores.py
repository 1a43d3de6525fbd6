"""Proper scores of forecasts, one a case: the smaller, the better."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from degmm.ensembles.arrays import labelled
from degmm.ensembles.matching import of_cases
from degmm.verification.arrays import by_position, numbers, one_variable, several_variables

BLOCK = 2**22
"""Numbers that a score works on at a time"""


class HasLogDensity(Protocol):
    """What the logarithmic score needs of a forecast."""

    def logpdf(self, y: Any, /) -> np.ndarray:
        """Return the log density of y, one value or point a case, in nats."""


def crps_ensemble(X: Any, y: Any, fair: bool = False) -> Float[np.ndarray, "..."]:
    """Return the continuous ranked probability score of each ensemble.

    CRPS = (1/M) Σ_m |x_m − y| − (1/(2 M²)) Σ_{m,l} |x_m − x_l|, that of the distribution with the weight
    1/M at each member (Gneiting & Raftery 2007, doi:10.1198/016214506000001437).

    Parameters
    ----------
    X : Ensemble, xarray.DataArray or array-like, shape (n, M), (n, M, 1) or (n, M, D)
        Members, NaN where absent.
    y : array-like, shape (n,), or (n, D) for members of D variables
        Observations in the unit of X, NaN where there is none.
    fair : bool
        Divide by 2 M (M − 1) in place of 2 M²: then M drawn members have the expected score of the
        distribution that they were drawn from, and ensembles of few and of many members can be compared
        (Ferro 2014, doi:10.1002/qj.2270). It needs two members, and can be negative.

    Returns
    -------
    ndarray, of the shape of y
        In the unit of X, each variable by itself; NaN where there is no observation, or no member
        (``fair``: fewer than two).

    Raises
    ------
    ValueError
        If a shape or a value of X or y is wrong.
    """
    X = labelled(X)
    y = of_cases(X, y, "y")
    if np.ndim(y) == 2:
        members, observed = several_variables(X, y)
        return np.stack(
            [_crps(members[..., d], observed[:, d], fair) for d in range(observed.shape[1])], axis=1
        )
    return _crps(*one_variable(X, y), fair)


def energy_score(X: Any, y: Any, fair: bool = False) -> Float[np.ndarray, "n"]:
    """Return the energy score of each ensemble of several variables.

    ES = (1/M) Σ_m ‖x_m − y‖ − (1/(2 M²)) Σ_{m,l} ‖x_m − x_l‖, with the Euclidean norm over the D variables
    (Gneiting & Raftery 2007, doi:10.1198/016214506000001437); of one variable it is the CRPS. Variables
    of other units or scales should be brought to one scale first.

    Parameters
    ----------
    X : Ensemble, xarray.DataArray or array-like, shape (n, M, D)
        Members; one with NaN in any variable is absent.
    y : array-like, shape (n, D)
        Observations in the units of X.
    fair : bool
        Divide by 2 M (M − 1), as in :func:`crps_ensemble`.

    Returns
    -------
    ndarray, shape (n,)
        NaN where an observation is missing, or there is no member (``fair``: fewer than two).

    Raises
    ------
    ValueError
        If a shape or a value of X or y is wrong.
    """
    import scoringrules

    estimator = "fair" if fair else "nrg"
    members, observed = several_variables(X, y)
    return _by_count(
        members,
        observed,
        lambda x, o: scoringrules.es_ensemble(o, x, estimator=estimator, backend="numpy"),
        least=2 if fair else 1,
        work=lambda M: M * M * members.shape[2],
    )


def variogram_score(X: Any, y: Any, p: float = 0.5) -> Float[np.ndarray, "n"]:
    """Return the variogram score of each ensemble, which sees the dependence between variables.

    VS = Σ_{d,e} ((1/M) Σ_m |x_md − x_me|^p − |y_d − y_e|^p)², over all ordered pairs of variables, with equal
    weights (Scheuerer & Hamill 2015, doi:10.1175/MWR-D-14-00269.1). It does not see an error that all
    variables share; for that, look at the energy score too.

    Parameters
    ----------
    X : Ensemble, xarray.DataArray or array-like, shape (n, M, D)
        Members; one with NaN in any variable is absent.
    y : array-like, shape (n, D)
        Observations in the units of X.
    p : float
        Order, larger than 0; large differences weigh more with a large one.

    Returns
    -------
    ndarray, shape (n,)
        NaN where an observation is missing, or there is no member.

    Raises
    ------
    ValueError
        If a shape or a value of X or y is wrong, or p is not positive.
    """
    import scoringrules

    if isinstance(p, bool) or not isinstance(p, int | float | np.number) or not 0 < p < np.inf:
        raise ValueError(f"p: expected a number larger than 0, got {p!r}")
    members, observed = several_variables(X, y)
    return _by_count(
        members,
        observed,
        lambda x, o: scoringrules.vs_ensemble(o, x, p=p, backend="numpy"),
        work=lambda M: M * members.shape[2] ** 2,
    )


def log_score(forecast: HasLogDensity, y: Any) -> Float[np.ndarray, "..."]:
    """Return the logarithmic score of each forecast: minus its log density at the observation.

    Parameters
    ----------
    forecast : object with ``logpdf``
        Such as what ``predictive`` returns.
    y : array-like
        Observations, in the shape that ``forecast.logpdf`` takes, NaN where there is none.

    Returns
    -------
    ndarray
        In nats, NaN where y is; for points of several variables, where y has any NaN.

    Raises
    ------
    ValueError
        If a value of y is infinite, or all are missing.
    """
    forecast, y = by_position(forecast, y)
    observed, filled = with_substitutes(y)
    scores = -np.asarray(forecast.logpdf(filled), np.float64)
    missing = np.isnan(observed)
    if missing.ndim > scores.ndim:
        missing = missing.any(axis=-1)
    return np.where(missing, np.nan, scores)


def with_substitutes(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return observations, and the same with a value in place of NaN, which not every forecast takes."""
    observed = numbers("y", y)
    missing = np.isnan(observed)
    if missing.all():
        raise ValueError("y: there is no observation")
    # One that was observed is in the range of any forecast of the variable.
    return observed, np.where(missing, observed[~missing][0], observed)


def _crps(
    members: Float[np.ndarray, "n M"], observed: Float[np.ndarray, "n"], fair: bool
) -> Float[np.ndarray, "n"]:
    # scoringrules has this too, but takes three seconds to import
    return _by_count(
        members[..., None],
        observed[:, None],
        lambda x, o: _crps_of_sorted(np.sort(x[..., 0], axis=1), o, fair),
        least=2 if fair else 1,
        work=lambda M: M,
    )


def _crps_of_sorted(
    x: Float[np.ndarray, "n M"], y: Float[np.ndarray, "n 1"], fair: bool
) -> Float[np.ndarray, "n"]:
    """Return the mean of |x − y| less half that of |x − x'| over all pairs or, if fair, over two members."""
    M = x.shape[1]
    ranks = 2 * np.arange(1, M + 1) - M - 1
    pairs = ((x - y) @ ranks) / (M * (M - 1 if fair else M))  # about y, lest digits be lost
    return np.abs(x - y).mean(axis=1) - pairs


def _by_count(
    members: Float[np.ndarray, "n M D"],
    observed: Float[np.ndarray, "n D"],
    score: Callable[[np.ndarray, np.ndarray], np.ndarray],
    work: Callable[[int], int],
    least: int = 1,
) -> Float[np.ndarray, "n"]:
    """Return scores of cases, those with the same number of members together, without the absent ones."""
    present = ~np.isnan(members).any(axis=2)
    counts = present.sum(axis=1)
    scores = np.full(len(members), np.nan)
    known = ~np.isnan(observed).any(axis=1) & (counts >= least)
    for M in np.unique(counts[known]):
        cases = np.flatnonzero(known & (counts == M))
        for rows in _blocks(cases, max(1, BLOCK // work(int(M)))):
            shown = members[rows][present[rows]].reshape(len(rows), M, members.shape[2])
            scores[rows] = score(shown, observed[rows])
    return scores


def _blocks(cases: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(cases), size):
        yield cases[start : start + size]
