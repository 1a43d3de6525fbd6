"""Calibrations judged on cases held out in blocks of time, and the number of regimes chosen by it."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import _safe_indexing

from degmm.calibration.base import Calibration
from degmm.calibration.forecast import Forecast
from degmm.calibration.observations import observations_of
from degmm.calibration.predictors import values_of
from degmm.ensembles import Ensemble, labelled
from degmm.ensembles.context import named_context
from degmm.ensembles.matching import of_cases
from degmm.estimators.checks import check_components, check_context, check_integer, check_weights
from degmm.threads import in_threads

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class RegimeSelection:
    """What :func:`select_regimes` returns."""

    table: "pd.DataFrame"
    """One row a number of regimes: ``crps``, the mean over the cases held out (of several variables, over
    these too), and ``crps_se``, its standard error over the blocks"""
    best: int
    """The number of the least CRPS, the smallest of equals"""


def cross_validated(
    calibration: Calibration,
    X: Any,
    y: Any = None,
    *,
    context: Any = None,
    sample_weight: Any = None,
    n_blocks: int = 5,
    tell: Callable[[int, str], None] = lambda done, text: None,
) -> Forecast:
    """Return forecasts of all cases, each by a fit to the other blocks of cases.

    Errors of neighbouring days are not independent: blocks are of consecutive cases, as they are in X.

    Parameters
    ----------
    calibration : EMOS or RegimeEMOS
        The settings of the fits.
    X, y, context, sample_weight
        As for :meth:`degmm.calibration.EMOS.fit`.
    n_blocks : int
        Number of blocks, at least 2.
    tell : callable
        Is told after each fit how many are done, and in words which.

    Returns
    -------
    Forecast
        Of the cases in their order; with the labels of X if it is an ``Ensemble`` or DataArray.

    Raises
    ------
    TypeError
        If ``calibration`` is none.
    ValueError
        If there are fewer cases than blocks, or a fit refuses its settings or cases.
    """
    if not isinstance(calibration, Calibration):
        raise TypeError(f"calibration: expected an EMOS or RegimeEMOS, got {calibration!r}")
    data = labelled(X)
    values = values_of(data)
    n, _, D = values.shape
    observed = observations_of(data, y, (n, D))
    observed = observed[:, 0] if D == 1 else observed
    weights = check_weights(sample_weight, n, data)
    whole = _of_rows(of_cases(data, context, "context", of_variables=False), n)
    blocks = _blocks(n, n_blocks)

    def held_out(block: int) -> Forecast:
        test = blocks[block]
        train = np.setdiff1d(np.arange(n), test)
        of_train, of_test = (_rows_of(whole, rows) for rows in (train, test))
        try:
            fitted = clone(calibration).fit_to_forecast(
                _safe_indexing(data, train),
                observed[train],
                context=of_train,
                sample_weight=weights[train],
            )
        except ValueError as error:
            ends = f"{test[0]} to {test[-1]}"
            raise ValueError(f"n_blocks: the fit without cases {ends} failed: {error}") from error
        return fitted.predict(_safe_indexing(data, test), of_test)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        parts = []
        for part in in_threads(held_out, n_blocks):
            parts.append(part)
            tell(len(parts), f"without block {len(parts)} of {n_blocks}")
    return _joined(parts, data if isinstance(data, Ensemble) else None)


def select_regimes(
    calibration: Any,
    X: Any,
    y: Any = None,
    *,
    components: Iterable[int] = range(1, 9),
    context: Any = None,
    sample_weight: Any = None,
    n_blocks: int = 5,
    tell: Callable[[int, str], None] = lambda done, text: None,
) -> RegimeSelection:
    """Compare numbers of regimes by the CRPS of cases held out in blocks, on the cases of a training.

    Parameters
    ----------
    calibration : RegimeEMOS
        The settings of the fits; its own ``n_components`` is not used.
    X, y, context, sample_weight, n_blocks, tell
        As for :func:`cross_validated`.
    components : iterable of int
        Numbers of regimes.

    Returns
    -------
    RegimeSelection

    Raises
    ------
    TypeError
        If ``calibration`` has no regimes.
    ValueError
        As for :func:`cross_validated`, and if ``components`` are no integers of at least 1.
    """
    import pandas as pd

    if not hasattr(calibration, "n_components"):
        raise TypeError(f"calibration: expected a RegimeEMOS, got {calibration!r}")
    wanted = check_components(components)
    data = labelled(X)
    n, _, D = values_of(data).shape
    observed = observations_of(data, y, (n, D))
    weights = check_weights(sample_weight, n, data)
    rows = {}
    for i, K in enumerate(wanted):
        model = clone(calibration).set_params(n_components=K)

        def tell_of(done: int, text: str, before: int = i * n_blocks, K: int = K) -> None:
            tell(before + done, f"{K} {'regime' if K == 1 else 'regimes'}, {text}")

        try:
            forecast = cross_validated(
                model, data, y, context=context, sample_weight=weights, n_blocks=n_blocks, tell=tell_of
            )
        except ValueError as error:
            if not i:
                raise
            why = str(error).removeprefix("n_blocks: ")
            raise ValueError(
                f"components: K = {K} cannot be fitted, while {wanted[i - 1]} can ({why}); leave it out"
            ) from error
        crps = np.asarray(forecast.crps(observed.reshape(forecast.shape))).reshape(n, D)
        rows[K] = _mean_and_error(crps, weights, _blocks(n, n_blocks))
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["crps", "crps_se"])
    table = table.rename_axis("n_components")
    return RegimeSelection(table, wanted[int(table["crps"].to_numpy().argmin())])


def _blocks(n: int, n_blocks: int) -> list[Int[np.ndarray, "b"]]:
    count = check_integer("n_blocks", n_blocks, 2)
    if count > n:
        raise ValueError(f"n_blocks: {count} blocks are too many for {n} cases")
    return np.array_split(np.arange(n), count)


def _of_rows(context: Any, n: int) -> Any:
    """Return names of a context as they are, and an array as one of n rows."""
    names = named_context(context)
    if context is None or names is not None:
        return names
    return check_context(context, n)


def _rows_of(context: Any, rows: Int[np.ndarray, "r"]) -> Any:
    return context if isinstance(context, tuple | None) else context[rows]


def _joined(parts: list[Forecast], labels: Ensemble | None) -> Forecast:
    shifts = [part.shifts for part in parts if part.shifts is not None]
    return Forecast(
        np.concatenate([part.weights for part in parts]),
        np.concatenate([part.locations for part in parts]),
        np.concatenate([part.scales for part in parts]),
        np.concatenate(shifts) if shifts else None,
        parts[0].family,
        labels,
        parts[0].variables,
    )


def _mean_and_error(
    crps: Float[np.ndarray, "n D"], weights: Float[np.ndarray, "n"], blocks: list[Int[np.ndarray, "b"]]
) -> tuple[float, float]:
    """Return the weighted mean, and its standard error over the blocks."""
    share = np.where(np.isnan(crps), 0, weights[:, None])
    sums = np.array([(share[rows] * np.nan_to_num(crps[rows])).sum() for rows in blocks])
    totals = np.array([share[rows].sum() for rows in blocks])
    sums, totals = sums[totals > 0], totals[totals > 0]  # a block of weight 0 says nothing
    error = (sums / totals).std(ddof=1) / np.sqrt(len(sums)) if len(sums) > 1 else np.nan
    return float(sums.sum() / totals.sum()), float(error)
