"""EMOS: ensemble model output statistics, also known as non-homogeneous regression."""

from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Float
from sklearn.utils.validation import check_is_fitted

from degmm.calibration.base import Calibration, CalibrationData, check_arrays, of_margins
from degmm.calibration.chunked import of_chunks
from degmm.calibration.coefficients import coefficients
from degmm.calibration.families import PredictiveFamily, find_family
from degmm.calibration.forecast import Forecast
from degmm.calibration.linear import (
    LOG_SCALES,
    LOSSES,
    Cases,
    design,
    n_parameters,
    narrowed,
    objective,
    predicted,
    starts,
    widened,
)
from degmm.calibration.minimisation import Minimum, Result, minimise
from degmm.calibration.predictors import Predictors
from degmm.calibration.rows import on_rows
from degmm.choices import find
from degmm.ensembles import labelled
from degmm.estimators.checks import check_integer, generator
from degmm.processes import need_one_process

WORST = (
    Result.NON_FINITE,
    Result.STALLED,
    Result.MAX_ITERATIONS,
    Result.AT_FLOOR,
    Result.CONVERGED,
)
"""Ends of a fit from bad to good: that of several margins is the worst of theirs"""


class _Margin(NamedTuple):
    """The fit of one variable."""

    minimum: Minimum
    crps: float
    n_cases: int


class EMOS(Calibration):
    """Calibrated forecasts from ensembles: one distribution a case, linear in mean and log spread.

    With member mean x̄, member standard deviation s (divisor M − 1) and context u, y is of the family's
    distribution with

        location = link(a + b x̄ + Σ_j a_j u_j),    log scale = c + d log(s + s₀) + Σ_j c_j u_j,

    and, in a family with one, a constant shift (Gneiting et al. 2005, doi:10.1175/MWR2904.1). The
    parameters have the least mean CRPS, or the greatest likelihood, on the cases of the fit. s₀ is a
    hundredth of the root-mean-square spread, so that ensembles of equal members have a logarithm. The
    link is the identity, except for the censored gamma distribution, whose mean is positive: there it is
    unit × log(1 + exp(· / unit)), with the standard deviation of the observations as unit.

    In that unit a scale is kept between 3e-7 and 3e6, and a shift between 6e-6 and 4.5; the standard
    deviation of a gamma distribution is 10⁴ times its mean at most. A fit with a scale or standard deviation
    at such a limit says so: ``result_`` is ``AT_FLOOR``, with a warning. (A shift at its limit changes the
    forecasts little: the distribution is nearly normal there.)

    Variables are calibrated one by one, each with parameters of its own; :func:`degmm.calibration.ecc`
    joins them.

    Parameters
    ----------
    family : str
        ``"normal"``; from 0 upwards ``"truncated_normal"`` (wind speed), ``"censored_logistic"`` and
        ``"censored_gamma"`` (precipitation).
    loss : {"crps", "likelihood"}
        What is minimised: the mean CRPS or the mean negative log density.
    context_terms : bool
        Whether location and log scale have terms in the context. If not, a context that comes with an
        ``Ensemble`` is left aside.
    n_init : int
        Number of starts of the optimiser: two of least squares, any others about them at random.
    max_iter : int
        Most iterations of BFGS from each start.
    random_state : int, Generator or None
        Seed of the random starts.

    Attributes
    ----------
    coefficients_ : pandas.DataFrame
        A row a variable: ``a``, ``b``, ``c``, ``d``, for each column of the context ``a: name`` and
        ``c: name``, and ``shift`` and ``unit`` where the family has them; in the units of the data.
        Coefficients of columns that are collinear, such as of all labels of a coordinate, are one of
        many choices that predict the same.
    spread_floor_ : ndarray, shape (D,)
        s₀.
    crps_ : float, or ndarray (D,) for several variables
        Mean CRPS on the cases of the fit.
    n_cases_ : int, or ndarray (D,)
        Number of these cases: with an observation, a member and a weight above 0.
    n_parameters_ : int
        Free parameters of each variable.
    result_ : Result
        How the fit ended, an enum with a readable message; of several variables the worst.
    converged_ : bool
        Whether all variables converged.
    n_iter_ : int
        Iterations of the best start, the most of all variables.

    Examples
    --------
    >>> emos = EMOS().fit(train, context="season")          # doctest: +SKIP
    >>> forecast = emos.predict(test)                       # doctest: +SKIP
    >>> forecast.quantile([0.05, 0.95])                     # doctest: +SKIP
    """

    _parameters: Float[np.ndarray, "D Q"]
    """In standard units"""

    def __init__(
        self,
        family: str = "normal",
        *,
        loss: str = "crps",
        context_terms: bool = True,
        n_init: int = 2,
        max_iter: int = 500,
        random_state: Any = None,
    ):
        self.family = family
        self.loss = loss
        self.context_terms = context_terms
        self.n_init = n_init
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, context: Any = None, sample_weight: Any = None) -> Self:
        """Fit the parameters.

        Parameters
        ----------
        X : Ensemble, xarray.DataArray or array-like, shape (n, M), (n, M, 1) or (n, M, D)
            Members, NaN where absent, variable by variable. A case without members is left out, and one
            with a single member has the average spread. Where no case has two members, or all have the
            same spread, there is no term in the spread (d = 0).
        y : array-like, shape (n,), or (n, D) for D variables, optional
            What was observed, in the unit of X (as anomalies, if X is of anomalies); NaN where there is
            none. By default the observations of an ``Ensemble``.
        context : array-like, shape (n, C), or names, optional
            What is known of each case beside its members. Of an Ensemble or DataArray it can be made of
            coordinates: ``"season"`` (sine and cosine of the day of the year), names of coordinates, or
            a list of these; new cases then get theirs likewise.
        sample_weight : array-like, shape (n,), optional
            Weights of the cases: a weight of w counts as w copies. By default those of an ``Ensemble``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument is wrong, there are no observations or fewer cases than parameters, values
            are infinite, or negative where the family has none, or a column of the context does not vary.
        """
        need_one_process("EMOS", "fit it in one process, outside degmm.devices")
        find("loss", self.loss, LOSSES)
        check_integer("n_init", self.n_init, 1)
        check_integer("max_iter", self.max_iter, 1)
        rng = generator(self.random_state)
        family = find_family(self.family)
        data = self._prepared(X, y, context, sample_weight)
        data.check_enough(n_parameters(family, 2 + data.recipe.n_context))
        self._fit_prepared(data, rng)
        self._ended(self.result_)
        return self

    @of_chunks
    def predict(self, X: Any, context: Any = None) -> Forecast:
        """Return the calibrated forecast.

        Parameters
        ----------
        X : Ensemble, xarray.DataArray or array-like
            Members of the variables of the fit; their number may be another. A case without members has
            no forecast (NaN).
        context : array-like, shape (n, C), or names, optional
            As in the fit: must be given if it was an array there, need not if it was named.

        Returns
        -------
        Forecast
            Of shape (n,), or (n, D) for several variables; with the labels of X if it is a DataArray. For
            chunked ensembles a :class:`~degmm.calibration.ChunkedForecast`, whose answers are lazy.

        Raises
        ------
        ValueError
            If X has other variables or units than the fit had, or its context is missing or another.
        """
        check_is_fitted(self)
        data = labelled(X)
        predictors = self._predictors(data, context)
        parts = [part[..., None] for part in margins(self._family, self._parameters, predictors)]
        return self._forecast(X, data, np.ones_like(parts[0]), parts)

    # --- for the above --------------------------------------------------------------------------

    def _fit_prepared(self, data: CalibrationData, rng: np.random.Generator) -> Self:
        """Fit the parameters to cases that were checked before, and warn of nothing."""
        family = find_family(self.family)
        fits = [self._fit_margin(d, data, family, rng) for d in range(data.observed.shape[1])]
        self._keep(data)
        self._parameters = np.stack([fit.minimum.parameters for fit in fits])
        self._publish()
        self.crps_ = of_margins([fit.crps for fit in fits])
        self.n_cases_ = of_margins([fit.n_cases for fit in fits])
        self.n_iter_ = max(fit.minimum.n_iter for fit in fits)
        self.result_ = min((fit.minimum.result for fit in fits), key=WORST.index)
        self.converged_ = self.result_.succeeded
        return self

    def _fit_margin(
        self,
        d: int,
        data: CalibrationData,
        family: PredictiveFamily,
        rng: np.random.Generator,
    ) -> _Margin:
        predictors, units = data.predictors, data.units
        rows = np.flatnonzero(data.weights[:, d] > 0)
        context = predictors.context[rows]
        y = (data.observed[rows, d] - units.centre[d]) / units.scale[d]
        share = data.weights[rows, d] / data.weights[rows, d].sum()
        cases = Cases(
            y,
            design(predictors.mean[rows, d], context),
            design(predictors.log_spread[rows, d], context),
            share,
        )
        P = cases.for_scale.shape[1]
        first = widened(starts(family, cases, self.n_init, rng), P)
        found = minimise(objective(family.name, self.loss), first, cases.filled(), self.max_iter)
        found = found._replace(parameters=narrowed(found.parameters, P))
        log_scale = cases.for_scale @ found.parameters[P : 2 * P]
        at_end = (log_scale <= LOG_SCALES[0]) | (log_scale >= LOG_SCALES[1])
        if found.result is Result.NON_FINITE:
            return _Margin(found, float("nan"), len(rows))
        parts: list[np.ndarray] = []
        if family.limited is not None or self.loss != "crps":
            parts = predicted(family, found.parameters, cases.for_location, cases.for_scale)
        if family.limited is not None:
            at_end |= family.limited(*parts)
        if at_end.any():
            found = found._replace(result=Result.AT_FLOOR)
        crps = found.value
        if self.loss != "crps":
            mixture = [part[:, None] for part in (np.ones(len(rows)), *parts)]
            crps = float(share @ on_rows("crps", family.name, y, *mixture))
        return _Margin(found, crps * float(units.scale[d]), len(rows))

    def _publish(self) -> None:
        """Give the parameters in the units of the data."""
        self.coefficients_ = coefficients(self._family, self._parameters, self._recipe, self._observed)
        self.spread_floor_ = self._recipe.floor
        self.n_parameters_ = self._parameters.shape[1]

    def _get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return all that a fit set, as arrays and as facts that JSON can hold."""
        check_is_fitted(self)
        arrays, facts = self._recipe.state()
        arrays |= self._units_state() | {
            "parameters": self._parameters,
            "crps": np.atleast_1d(self.crps_),
            "n_cases": np.atleast_1d(self.n_cases_),
        }
        facts |= {"family": self._family.name, "result": self.result_.name, "n_iter": self.n_iter_}
        return {name: np.asarray(array) for name, array in arrays.items()}, facts

    def _set_state(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        """Set what :meth:`_get_state` gave.

        Raises
        ------
        ValueError
            If a size or a number is none that a fit gives; a name that is not there raises KeyError.
        """
        self._restore_units(arrays, facts)
        D, Q = self.n_features_in_, n_parameters(self._family, 2 + self._recipe.n_context)
        check_arrays(arrays, {"parameters": (D, Q), "crps": (D,), "n_cases": (D,)})
        self._parameters = arrays["parameters"]
        self._publish()
        self.crps_ = of_margins(arrays["crps"].tolist())
        self.n_cases_ = of_margins(arrays["n_cases"].tolist())
        self.n_iter_, self.result_ = int(facts["n_iter"]), Result[facts["result"]]
        self.converged_ = self.result_.succeeded


def margins(
    family: PredictiveFamily, parameters: Float[np.ndarray, "D Q"], predictors: Predictors
) -> list[Float[np.ndarray, "n D"]]:
    """Return location, scale and, in families with one, shift of each variable, in the units of a fit."""
    columns = []
    for d, of_one in enumerate(parameters):
        A = design(predictors.mean[:, d], predictors.context)
        S = design(predictors.log_spread[:, d], predictors.context)
        columns.append(predicted(family, of_one, A, S))
    return [np.stack(part, axis=1) for part in zip(*columns, strict=True)]
