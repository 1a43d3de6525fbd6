"""What gate and experts of deep regimes read of each case."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

from degmm.calibration.predictors import PredictorRecipe, Predictors
from degmm.scaling import Scaling
from degmm.standard_units import ROUNDING

ANGLE_ERROR = 1e-6
"""Of the square sum of what counts as the sine and cosine of an angle"""


@dataclass(frozen=True, eq=False)
class GateFeatures:
    """How features are made of predictors, so that new cases get the same as those of a fit.

    Two neighbouring columns of the context whose squares always sum to 1 are sine and cosine of an angle,
    such as of the day of the year; those of twice the angle are added to them. The gate reads means, log
    spreads, the context and, where there is one, the anomalies of the means from their regression on
    it; an expert reads 1, its variable's mean and log spread, and the context.
    """

    angles: Int[np.ndarray, "A"]
    """First columns of the pairs"""
    context: Scaling
    """Units of the context with what is added, each (C,)"""
    cycle: Float[np.ndarray, "C+1 D"]
    """Regression of the means on 1 and the context"""
    anomalies: Float[np.ndarray, "D"]
    """Scale of the anomalies; infinite where there are none"""

    @classmethod
    def fit(cls, recipe: PredictorRecipe, predictors: Predictors, weights: Float[np.ndarray, "n D"]) -> Self:
        """Return the features for cases of given weights."""
        used = weights.sum(axis=1) > 0
        share = weights.sum(axis=1)[used] / weights.sum()
        raw = _in_data_units(recipe, predictors)[used]
        angles = np.array([c for c in range(raw.shape[1] - 1) if _is_angle(raw[:, c], raw[:, c + 1])], int)
        columns = _with_doubled(raw, angles)
        centre = share @ columns
        context = Scaling(centre, np.sqrt(share @ (columns - centre) ** 2))
        regressors = _with_one((columns - centre) / context.scale)
        mean = np.nan_to_num(predictors.mean[used])
        root = np.sqrt(share)[:, None]
        cycle = np.linalg.lstsq(root * regressors, root * mean, rcond=None)[0]
        scale = np.sqrt(share @ (mean - regressors @ cycle) ** 2)
        return cls(angles, context, cycle, np.where(scale > ROUNDING, scale, np.inf))

    def of(
        self, recipe: PredictorRecipe, predictors: Predictors
    ) -> tuple[Float[np.ndarray, "n G"], Float[np.ndarray, "n D P"]]:
        """Return the features of the gate, and the regressors of the experts; NaN without a member."""
        columns = _with_doubled(_in_data_units(recipe, predictors), self.angles)
        context = (columns - self.context.centre) / self.context.scale
        known = np.nan_to_num(predictors.mean)  # the gate takes what is missing as the mean
        features = [known, predictors.log_spread]
        if context.shape[1]:
            features += [context, (known - _with_one(context) @ self.cycle) / self.anomalies]
        n, D = predictors.mean.shape
        shared = np.broadcast_to(context[:, None], (n, D, context.shape[1]))
        own = [np.ones((n, D)), predictors.mean, predictors.log_spread]
        return np.concatenate(features, axis=1), np.concatenate([np.stack(own, axis=2), shared], axis=2)

    def state(self) -> dict[str, np.ndarray]:
        """Return the arrays of a saved model."""
        return {
            "features.angles": self.angles,
            "features.context.centre": self.context.centre,
            "features.context.scale": self.context.scale,
            "features.cycle": self.cycle,
            "features.anomalies": np.where(np.isinf(self.anomalies), 0, self.anomalies),
        }

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray], n_context: int, D: int) -> Self:
        """Return the features of :meth:`state`.

        Raises
        ------
        ValueError
            If a size or a number is none that a fit gives; a name that is not there raises KeyError.
        """
        angles = arrays["features.angles"]
        if angles.ndim != 1 or angles.dtype.kind != "i" or not _among(angles, n_context - 1):
            raise ValueError("features.angles are no columns of the context")
        C = n_context + 2 * len(angles)
        shapes: dict[str, Any] = {"context.centre": (C,), "context.scale": (C,), "cycle": (C + 1, D)}
        parts = []
        for name, shape in {**shapes, "anomalies": (D,)}.items():
            part = arrays[f"features.{name}"]
            if part.shape != shape or not np.isfinite(part).all():
                raise ValueError(f"features.{name} is not finite of shape {shape}")
            parts.append(part)
        centre, scale, cycle, anomalies = parts
        if not ((scale > 0).all() and (anomalies >= 0).all()):
            raise ValueError("features.context.scale or features.anomalies is no scale")
        return cls(angles, Scaling(centre, scale), cycle, np.where(anomalies > 0, anomalies, np.inf))


def _in_data_units(recipe: PredictorRecipe, predictors: Predictors) -> Float[np.ndarray, "n C"]:
    if recipe.context is None:
        return predictors.context
    return predictors.context * recipe.context.scale + recipe.context.centre


def _is_angle(sine: Float[np.ndarray, "n"], cosine: Float[np.ndarray, "n"]) -> bool:
    """Return whether columns are those of an angle that takes more than a few values."""
    doubled = _doubled(sine, cosine)
    varies = all(np.ptp(column) > ANGLE_ERROR for column in doubled)
    return varies and bool((np.abs(sine**2 + cosine**2 - 1) < ANGLE_ERROR).all())


def _doubled(sine: Float[np.ndarray, "n"], cosine: Float[np.ndarray, "n"]) -> list[np.ndarray]:
    """Return sine and cosine of twice the angle."""
    return [2 * sine * cosine, cosine**2 - sine**2]


def _with_doubled(raw: Float[np.ndarray, "n C"], angles: Int[np.ndarray, "A"]) -> Float[np.ndarray, "n C2"]:
    added = [column for c in angles for column in _doubled(raw[:, c], raw[:, c + 1])]
    return np.column_stack([raw, *added]) if added else raw


def _with_one(columns: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n C+1"]:
    return np.column_stack([np.ones(len(columns)), columns])


def _among(columns: Int[np.ndarray, "A"], end: int) -> bool:
    return bool(((columns >= 0) & (columns < end)).all())
