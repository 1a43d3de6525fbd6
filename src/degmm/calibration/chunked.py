"""Forecasts for chunked ensembles, Dask's to compute: what is asked of them, and not they, is kept."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from degmm.calibration.forecast import NAMES, Forecast
from degmm.ensembles.blocks import ChunkedBlocks, as_chunks
from degmm.ensembles.chunked import ChunkedEnsemble
from degmm.ensembles.matching import shared_variables
from degmm.estimators.lazy import said_of
from degmm.results import chunked_array


class ChunkedForecast:
    """Calibrated forecasts of chunked ensembles.

    What a ``predict`` returns for a Dask array, a DataArray on one, or what ``read_ensemble`` returns with
    ``chunks``. Each answer is unread: a Dask array or, where the cases have labels, a DataArray on one, of
    a chunk for each block of the ensembles. All that a :class:`Forecast` can do is to be had block by
    block: ``for part in ensemble.blocks(): model.predict(part)``.

    Parameters
    ----------
    model : EMOS or RegimeEMOS
        Fitted.
    blocks : ChunkedBlocks
    context : optional
        As for the model's ``predict``.
    """

    def __init__(self, model: Any, blocks: ChunkedBlocks, context: Any = None) -> None:
        self._model, self._blocks, self._options = model, blocks, {"context": context}

    def __repr__(self) -> str:
        return f"ChunkedForecast(shape={self.shape})"

    def __len__(self) -> int:
        return int(np.prod(self._blocks.sizes))

    @property
    def shape(self) -> tuple[int, ...]:
        """(n,), or (n, D) for D variables."""
        D = self._model.n_features_in_
        return (len(self),) if D == 1 else (len(self), D)

    def mean(self) -> Any:
        """Return the mean of each distribution."""
        return self._said("mean")

    def std(self) -> Any:
        """Return the standard deviation of each distribution."""
        return self._said("std")

    def quantile(self, q: Any) -> Any:
        """Return quantiles: q is a probability, or (Q,) of them, which are then the last dimension."""
        levels = np.asarray(q, np.float64)
        if levels.ndim > 1 or not ((levels >= 0) & (levels <= 1)).all():
            raise ValueError(f"q: expected probabilities between 0 and 1, a number or (Q,); got {q!r}")
        if not levels.ndim:
            return self._said("quantile", float(levels))
        found = self._said("quantile", levels, ("quantile",), levels.shape)
        is_labelled = isinstance(self._blocks, ChunkedEnsemble)
        return found.assign_coords({found.dims[-1]: levels}) if is_labelled else found

    def cdf(self, y: float) -> Any:
        """Return the probability of at most y, one number for all cases."""
        if np.ndim(y):
            raise ValueError("y: of chunked ensembles, expected one number; predict blocks for others")
        return self._said("cdf", float(y))

    def _said(
        self, what: str, value: Any = None, over: tuple[str, ...] = (), sizes: tuple[int, ...] = ()
    ) -> Any:
        D, blocks = self._model.n_features_in_, self._blocks
        if D > 1:
            over, sizes = ("variable", *over), (D, *sizes)
        say = partial(_say, what, value)
        whole = said_of(blocks, say, self._model, self._options, sizes, np.dtype(np.float64))
        if not isinstance(blocks, ChunkedEnsemble):
            return whole
        answer = chunked_array(blocks, whole, NAMES.get(what, what), over)
        variables = shared_variables(blocks.first, self._model._recipe.variables)
        return answer.assign_coords({answer.dims[-len(over)]: list(variables)}) if D > 1 else answer


def _say(what: str, value: Any, model: Any, X: Any, options: dict[str, Any]) -> Any:
    forecast: Forecast = model.predict(X, **options)
    return getattr(forecast, what)(*(() if value is None else (value,)))


def of_chunks(predict: Callable[..., Forecast]) -> Callable[..., Any]:
    """Wrap a ``predict`` so that it gives a :class:`ChunkedForecast` of chunked ensembles."""

    @wraps(predict)
    def of_any(self: Any, X: Any, context: Any = None) -> Any:
        blocks = as_chunks(X)
        if blocks is None:
            return predict(self, X, context)
        check_is_fitted(self)
        return ChunkedForecast(self, blocks, context)

    return of_any
