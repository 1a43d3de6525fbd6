"""What calibrations have in common: how they take their cases, and what they answer with."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from degmm.calibration.families import PredictiveFamily, find_family
from degmm.calibration.forecast import Forecast
from degmm.calibration.minimisation import Result
from degmm.calibration.observations import observations_of
from degmm.calibration.predictors import PredictorRecipe, Predictors, member_statistics, values_of
from degmm.ensembles import Ensemble, labelled
from degmm.ensembles.matching import of_cases, shared_variables, with_variables
from degmm.estimators.checks import check_weights
from degmm.scaling import Scaling
from degmm.standard_units import ROUNDING

LARGEST = 1e150
"""Of a location or a scale: its square is finite"""
LEARNED = ("parameters", "gate.", "experts.")
"""How the names of a saved calibration's arrays begin that must be finite"""


class CalibrationData(NamedTuple):
    """What a calibration is fitted to: n cases of D variables."""

    X: Any
    """The ensembles; without their context, where there are to be no terms in it"""
    observed: Float[np.ndarray, "n D"]
    """In the unit of the data, NaN where there is none"""
    weights: Float[np.ndarray, "n D"]
    """0 where there is no observation or no member"""
    case_weights: Float[np.ndarray, "n"]
    """Of all cases"""
    recipe: PredictorRecipe
    predictors: Predictors
    units: Scaling
    """Of the observations"""

    def check_enough(self, n_parameters: int) -> None:
        """See that each variable has as many cases as parameters."""
        D = self.weights.shape[1]
        for d, used in enumerate((self.weights > 0).sum(axis=0)):
            if used < n_parameters:
                names = self.recipe.variables
                where = "" if D == 1 else f" of {names[d] if names else f'variable {d}'}"
                raise ValueError(
                    f"X: {used} cases{where} with an observation, a member and a weight above 0 are too "
                    f"few for {n_parameters} parameters; give more, or have fewer regimes or less context"
                )


class Calibration(BaseEstimator, ABC):
    """A fit of predicted distributions to ensembles and what was observed."""

    # Constructor's arguments and fitted state of all subclasses.
    family: str
    context_terms: bool
    n_features_in_: int
    _family: PredictiveFamily
    _recipe: PredictorRecipe
    _observed: Scaling
    """Units of the observations"""

    @abstractmethod
    def fit(self, X: Any, y: Any = None, *, context: Any = None, sample_weight: Any = None) -> Self:
        """Fit the parameters, and say what the fit is."""

    def fit_to_forecast(
        self, X: Any, y: Any = None, *, context: Any = None, sample_weight: Any = None
    ) -> Self:
        """Fit as :meth:`fit` does, but leave out what only describes the fit."""
        return self.fit(X, y, context=context, sample_weight=sample_weight)

    @abstractmethod
    def predict(self, X: Any, context: Any = None) -> Forecast:
        """Return the calibrated forecast."""

    def score(self, X: Any, y: Any = None, *, context: Any = None, sample_weight: Any = None) -> float:
        """Return minus the mean CRPS over the cases (and variables) with a forecast and an observation."""
        data = labelled(X)
        forecast = replace(self.predict(data, context), labels=None)
        n, D = len(forecast), self.n_features_in_
        observed = observations_of(data, y, (n, values_of(data).shape[2]))
        if isinstance(data, Ensemble):
            names = with_variables(data, forecast.variables).variables
            observed = observed[:, [data.variables.index(name) for name in names]]
        crps = forecast.crps(observed.reshape(forecast.shape)).reshape(n, D)
        given = data.weights if sample_weight is None and isinstance(data, Ensemble) else sample_weight
        weights = np.where(np.isnan(crps), 0, check_weights(given, n, data)[:, None])
        if not weights.any():
            raise ValueError("y: no case has a forecast and an observation")
        return -float(np.average(np.where(weights > 0, crps, 0), weights=weights))

    # --- for subclasses -------------------------------------------------------------------------

    def _prepared(self, X: Any, y: Any, context: Any, sample_weight: Any) -> CalibrationData:
        """Check the arguments of a fit, and return what it works on."""
        family = find_family(self.family)
        X = labelled(X)
        values = values_of(X)
        n, _, D = values.shape
        observed = observations_of(X, y, (n, D), at_least_zero=family.from_zero)
        given = X.weights if sample_weight is None and isinstance(X, Ensemble) else sample_weight
        known = ~np.isnan(observed) & (member_statistics(values).counts > 0)
        case_weights = check_weights(given, n, X)
        weights = np.where(known, case_weights[:, None], 0)
        context = self._checked_context(X, context)
        X = self._without_context(X)
        recipe = PredictorRecipe.fit(X, weights, context)
        predictors = recipe.of(X, context)
        units = _units(observed, weights, family)
        return CalibrationData(X, observed, weights, case_weights, recipe, predictors, units)

    def _keep(self, data: CalibrationData) -> None:
        """Keep what new cases are read with."""
        self._family, self._recipe, self._observed = find_family(self.family), data.recipe, data.units
        self.n_features_in_ = data.observed.shape[1]

    def _predictors(self, data: Any, context: Any) -> Predictors:
        """Return the predictors of new cases."""
        return self._recipe.of(self._without_context(data), self._checked_context(data, context))

    def _forecast(
        self, X: Any, data: Any, weights: Float[np.ndarray, "n D K"], parts: list[Float[np.ndarray, "n D K"]]
    ) -> Forecast:
        """Return the forecast of location, scale and perhaps shift in the units of the fit.

        It has the labels of the data where X had such, and the variables in the order of theirs. A case
        without a location has no forecast.
        """
        location, *spreads = parts
        unit, centre = self._observed.scale[:, None], self._observed.centre[:, None]
        parts = [centre + unit * location, *(unit * part for part in spreads)]
        # without a member there is no forecast, whatever the context says of the spread
        parts = [weights, *(np.where(np.isnan(location), np.nan, part) for part in parts)]
        _check_forecasts(values_of(data), parts)
        if self.n_features_in_ == 1:
            parts = [part[:, 0] for part in parts]
        fitted = self._recipe.variables
        variables = shared_variables(data, fitted)
        if variables != tuple(fitted):
            order = [fitted.index(name) for name in variables]
            parts = [part[:, order] for part in parts]
        names = ("weights", "locations", "scales", "shifts")
        given: dict[str, Any] = dict(zip(names, parts, strict=False))  # shifts where the family has them
        return Forecast(
            **given,
            family=self._family.name,
            labels=None if data is X else with_variables(data, variables),
            variables=variables,
        )

    def _checked_context(self, X: Any, context: Any) -> Any:
        if context is not None and not self.context_terms:
            raise ValueError("context: has no effect with context_terms=False; pass none")
        return of_cases(X, context, "context", of_variables=False)

    def _without_context(self, X: Any) -> Any:
        if self.context_terms or not isinstance(X, Ensemble) or X.context is None:
            return X
        return replace(X, context=None)

    def _ended(self, result: Result) -> None:
        self.result_, self.converged_ = result, result.succeeded
        if not result.succeeded:
            warnings.warn(f"{type(self).__name__}: {result.value}", ConvergenceWarning, stacklevel=3)

    def _units_state(self) -> dict[str, np.ndarray]:
        return {f"observed.{name}": part for name, part in self._observed._asdict().items()}

    def _check_state(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        """See that what a fit learned is finite."""
        for name, array in arrays.items():
            if name.startswith(LEARNED) and not np.isfinite(array).all():
                raise ValueError(f"{name} is not finite")

    def _restore_units(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        """Set what new cases are read with.

        Raises
        ------
        ValueError
            If a size or a number is none that a fit gives; a name that is not there raises KeyError.
        """
        self._family, self._recipe = find_family(facts["family"]), PredictorRecipe.restored(arrays, facts)
        self.n_features_in_ = self._recipe.n_features
        check_arrays(arrays, {f"observed.{name}": (self.n_features_in_,) for name in Scaling._fields})
        if getattr(self, "family", self._family.name) not in (self._family.name, self._family):
            raise ValueError(f"the fit was of family {self._family.name!r}")
        if len(self._recipe.variables) not in (0, self.n_features_in_):
            raise ValueError(f"{len(self._recipe.variables)} names for {self.n_features_in_} variables")
        self._observed = Scaling(*(arrays[f"observed.{name}"] for name in Scaling._fields))
        if not (self._observed.scale > 0).all():
            raise ValueError("observed.scale is not positive")


def check_arrays(arrays: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]) -> None:
    """See that a saved model's arrays are finite and of their shapes."""
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} has shape {arrays[name].shape}, expected {shape}")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} is not finite")


def _check_forecasts(
    members: Float[np.ndarray, "n M D"], parts: Sequence[Float[np.ndarray, "n D K"]]
) -> None:
    """See that no forecast is beyond what can be squared, or missing where all variables have members."""
    whole = (~np.isnan(members)).any(axis=1).all(axis=1)
    whole &= members.shape[2] == parts[0].shape[1]  # else some variables of the fit are not there
    for part in parts:
        unsound = (np.abs(part) > LARGEST).any(axis=(1, 2)) | (np.isnan(part).any(axis=(1, 2)) & whole)
        if unsound.any():
            raise ValueError(
                f"X: the forecast of case {int(np.argmax(unsound))} is no finite number; check its values, "
                "or the model"
            )


def of_margins(values: Any) -> Any:
    """Return one number for a single variable, an array for several."""
    return values[0] if len(values) == 1 else np.array(values)


def _units(
    observed: Float[np.ndarray, "n D"], weights: Float[np.ndarray, "n D"], family: PredictiveFamily
) -> Scaling:
    """Return the units of the observations: their mean, or 0 if that has a meaning, and spread."""
    centre, scale = np.zeros(observed.shape[1]), np.ones(observed.shape[1])
    for d in range(len(centre)):
        used = weights[:, d] > 0
        if not used.any():  # which a fit refuses, when it counts its cases
            continue
        y, w = observed[used, d], weights[used, d]
        mean = np.average(y, weights=w)
        centre[d] = 0.0 if family.from_zero else mean
        spread = float(np.sqrt(np.average((y - mean) ** 2, weights=w)))
        if spread > ROUNDING * abs(mean):
            scale[d] = spread
    return Scaling(centre, scale)
