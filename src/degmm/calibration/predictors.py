"""Predictors of a calibration: ensemble mean, log spread and context, in standard units."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Float, Int

from degmm.ensembles import Climatology, ContextRecipe, Ensemble, labelled
from degmm.ensembles.arrays import check_members, check_size, members_of, numbers_of
from degmm.ensembles.context import named_context
from degmm.estimators.checks import check_context
from degmm.estimators.context_units import context_scaling, scaled_context
from degmm.estimators.labels import (
    context_given,
    matched,
    recipe_facts,
    restored_recipe,
    tell_of_unlikely,
    with_labels,
)
from degmm.scaling import Scaling
from degmm.standard_units import ROUNDING

FLOOR_SHARE = 0.01
"""s₀, the floor added to each spread, over the root-mean-square spread of the fit"""
SCALINGS = ("mean", "spread")


class Predictors(NamedTuple):
    """What is known of n cases, in the standard units of a fit."""

    mean: Float[np.ndarray, "n D"]
    """x̄; NaN where a case has no member"""
    log_spread: Float[np.ndarray, "n D"]
    """log(s + s₀); 0, the mean, where a case has a single member"""
    context: Float[np.ndarray, "n C"]
    """C = 0 without one"""


class MemberStatistics(NamedTuple):
    """Number, mean and spread of the members of n cases, in the units of the data."""

    counts: Int[np.ndarray, "n D"]
    mean: Float[np.ndarray, "n D"]
    """NaN without a member"""
    spread: Float[np.ndarray, "n D"]
    """Standard deviation with the divisor M − 1; NaN with fewer than two members"""


def values_of(X: Any) -> Float[np.ndarray, "n M D"]:
    """Return members as an array (n, M, D); (n, M) is read as those of one variable.

    Raises
    ------
    ValueError
        If the rank is wrong, an axis is empty or a value is infinite. NaN are allowed.
    """
    values = numbers_of(members_of(X), "X")
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3:
        raise ValueError(
            f"X: expected members (n, M) of one variable or (n, M, D) of D; got {values.ndim} dimensions"
        )
    check_members(values, "X")
    values = np.asarray(values, np.float64)
    check_size(values, "X", ("ensemble", "member", "variable"))
    return values


def member_statistics(values: Float[np.ndarray, "n M D"]) -> MemberStatistics:
    """Return number, mean and spread of the members, variable by variable, without those that are NaN."""
    present = ~np.isnan(values)
    counts = present.sum(axis=1)
    some = np.maximum(counts, 1)
    # about the first member of each case, so that equal members have a spread of exactly 0
    first = np.take_along_axis(values, present.argmax(axis=1)[:, None], axis=1)
    apart = np.where(present, values - first, 0)
    shift = apart.sum(axis=1) / some
    squares = np.where(present, apart - shift[:, None], 0) ** 2
    spread = np.sqrt(squares.sum(axis=1) / np.maximum(counts - 1, 1))
    return MemberStatistics(counts, first[:, 0] + shift, np.where(counts > 1, spread, np.nan))


@dataclass(frozen=True, eq=False)
class PredictorRecipe:
    """How predictors are made of ensembles, so that new cases get the same as those of a fit.

    A predictor that does not vary in the fit has an infinite scale, and so no effect.
    """

    floor: Float[np.ndarray, "D"]
    """s₀: ``FLOOR_SHARE`` of the root-mean-square spread, since members may all be equal"""
    mean: Scaling
    """Units of x̄, each (D,)"""
    spread: Scaling
    """Units of log(s + s₀), each (D,)"""
    context: Scaling | None = None
    """Units of the context's columns, each (C,)"""
    recipe: ContextRecipe | None = None
    """How the context is made of coordinates, if it is"""
    variables: tuple[str, ...] = ()
    """Names, if the fit was of labelled ensembles"""
    units: tuple[str, ...] = ()
    climatology: Climatology | None = None
    """The seasonal cycle that was taken off the data of the fit, if any"""

    @classmethod
    def fit(cls, X: Any, weights: Float[np.ndarray, "n D"], context: Any = None) -> Self:
        """Return the recipe for ensembles.

        Parameters
        ----------
        X : Ensemble, xarray.DataArray or array-like, shape (n, M), (n, M, D)
        weights : ndarray, shape (n, D)
            Weights of the cases; 0 for those that do not enter the fit, such as without an observation.
        context : array-like (n, C), or names of coordinates, optional
            ``"season"`` is the day of the year; by default the context of an ``Ensemble`` that has one.

        Raises
        ------
        ValueError
            If a context has a wrong shape, a missing value or a column that does not vary.
        """
        X = labelled(X)
        known = member_statistics(values_of(X))
        n, D = known.mean.shape
        used = np.where(known.counts > 0, weights, 0)
        spread_used = np.where(known.counts > 1, used, 0)
        floor, mean, spread = np.ones(D), [], []
        for d in range(D):
            size = np.sqrt(_average(known.spread[:, d] ** 2, spread_used[:, d]))
            floor[d] = FLOOR_SHARE * size if size > 0 else 1.0
            mean.append(_units(known.mean[:, d], used[:, d]))
            spread.append(_units(np.log(known.spread[:, d] + floor[d]), spread_used[:, d]))
        names = named_context(context)
        recipe = None if names is None else ContextRecipe.fit(with_labels(X), names)
        given = context_given(X, context, recipe)
        units = None if given is None else context_scaling(check_context(given, n), used.sum(axis=1))
        labels = X if isinstance(X, Ensemble) else None
        return cls(
            floor,
            Scaling(*np.transpose(mean)),
            Scaling(*np.transpose(spread)),
            units,
            recipe,
            () if labels is None else labels.variables,
            () if labels is None else labels.units,
            None if labels is None else labels.climatology,
        )

    @property
    def n_features(self) -> int:
        """Number D of variables."""
        return len(self.floor)

    @property
    def n_context(self) -> int:
        """Number C of columns of the context."""
        return 0 if self.context is None else len(self.context.centre)

    @property
    def context_names(self) -> tuple[str, ...]:
        """Names of the columns of the context: ``u1``, ``u2``, … where it was an array."""
        if self.recipe is not None:
            return self.recipe.columns
        return tuple(f"u{c + 1}" for c in range(self.n_context))

    def of(self, X: Any, context: Any = None) -> Predictors:
        """Return the predictors of ensembles, in the units of the fit.

        Raises
        ------
        ValueError
            If X has other variables or units than the fit had, or its context is missing or another.
        """
        X = labelled(X)
        given = self._context_of(X, context)
        if isinstance(X, Ensemble) and self.variables:
            X = matched(X, self.variables, self.units, self.climatology)
        elif self.climatology is not None:
            raise ValueError("X: the fit is one of anomalies; pass an Ensemble or DataArray with dates")
        values = values_of(X)
        known = member_statistics(values)
        n, D = known.mean.shape
        if self.n_features != D:
            raise ValueError(f"X: {D} variables, where the fit had {self.n_features}")
        tell_of_unlikely(X, self.units, values, self.mean.centre[None])
        log_spread = (np.log(known.spread + self.floor) - self.spread.centre) / self.spread.scale
        columns = np.zeros((n, 0))
        if self.context is not None:
            columns = scaled_context(check_context(given, n, self.n_context), self.context, np.float64)
        mean = (known.mean - self.mean.centre) / self.mean.scale
        return Predictors(
            np.where(known.counts > 0, mean, np.nan), np.where(known.counts > 1, log_spread, 0), columns
        )

    def _context_of(self, X: Any, context: Any) -> Any:
        if self.context is None:
            if context is not None:
                raise ValueError("context: the fit was without one; pass none")
            return None
        given = context_given(X, context, self.recipe)
        if given is None:
            raise ValueError(
                f"context: the fit was with one of {self.n_context} columns; pass that of these cases"
            )
        return given

    # --- for saved models -----------------------------------------------------------------------

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the recipe as arrays, and facts that JSON can hold."""
        arrays = {"predictors.floor": self.floor}
        for name in (*SCALINGS, "context"):
            scaling = getattr(self, name)
            if scaling is not None:
                arrays |= {f"predictors.{name}.{part}": a for part, a in scaling._asdict().items()}
        facts: dict[str, Any] = {"variables": list(self.variables), "units": list(self.units)}
        if self.recipe is not None:
            facts["context"] = recipe_facts(self.recipe)
        if self.climatology is not None:
            facts["climatology"] = self.climatology.facts()
            arrays["predictors.climatology"] = self.climatology.coefficients
        return arrays, facts

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> Self:
        """Return the recipe of :meth:`state`.

        Raises
        ------
        ValueError
            If sizes differ or a number is none; a name that is not there raises KeyError.
        """
        floor = np.asarray(arrays["predictors.floor"], np.float64)
        scalings: dict[str, Scaling | None] = {"context": None}
        for name in (*SCALINGS, "context"):
            if name == "context" and f"predictors.{name}.centre" not in arrays:
                continue
            scaling = Scaling(*(arrays[f"predictors.{name}.{part}"] for part in Scaling._fields))
            sized = scaling.centre.shape == scaling.scale.shape and scaling.centre.ndim == 1
            if not sized or (name != "context" and scaling.centre.shape != floor.shape):
                raise ValueError(f"predictors.{name} is not of the size of the fit")
            sound = np.isfinite(scaling.centre) & np.isfinite(scaling.scale) & (scaling.scale > 0)
            if not sound.all():
                raise ValueError(f"predictors.{name} is no scaling")
            scalings[name] = scaling
        if floor.ndim != 1 or not (np.isfinite(floor) & (floor > 0)).all():
            raise ValueError("predictors.floor is not positive")
        variables = tuple(map(str, facts["variables"]))
        climatology = None
        if "climatology" in facts:
            climatology = Climatology.restored(
                facts["climatology"], arrays["predictors.climatology"], list(variables)
            )
        mean, spread = scalings["mean"], scalings["spread"]
        assert mean is not None  # they were set above
        assert spread is not None
        return cls(
            floor,
            mean,
            spread,
            scalings["context"],
            restored_recipe(facts["context"]) if "context" in facts else None,
            variables,
            tuple(map(str, facts["units"])),
            climatology,
        )


def _average(values: Float[np.ndarray, "n"], weights: Float[np.ndarray, "n"]) -> float:
    """Return the weighted mean of the values of positive weight, 0 if there are none."""
    used = weights > 0
    return float(np.average(values[used], weights=weights[used])) if used.any() else 0.0


def _units(values: Float[np.ndarray, "n"], weights: Float[np.ndarray, "n"]) -> tuple[float, float]:
    """Return weighted mean and standard deviation, which is infinite where nothing varies."""
    centre = _average(values, weights)
    scale = float(np.sqrt(_average((values - centre) ** 2, weights)))
    return centre, scale if scale > ROUNDING * max(abs(centre), 1e-300) else np.inf
