"""The coefficients of a calibration in the units of the data."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from degmm.calibration.families import PredictiveFamily
from degmm.calibration.families.base import identity
from degmm.calibration.linear import LOG_SHIFTS
from degmm.calibration.predictors import PredictorRecipe
from degmm.scaling import Scaling

if TYPE_CHECKING:
    import pandas as pd


def coefficients(
    family: PredictiveFamily,
    parameters: Float[np.ndarray, "D Q"],
    recipe: PredictorRecipe,
    observed: Scaling,
) -> "pd.DataFrame":
    """Return a row a variable of what :class:`degmm.calibration.EMOS` calls ``coefficients_``.

    Parameters
    ----------
    family : PredictiveFamily
    parameters : ndarray, shape (D, Q)
        Of :func:`degmm.calibration.linear.distribution`, in standard units.
    recipe : PredictorRecipe
        Units of the predictors.
    observed : Scaling
        Units of the observations, each (D,).
    """
    import pandas as pd

    P = 2 + recipe.n_context
    rows = []
    for d, values in enumerate(parameters):
        unit, centre = float(observed.scale[d]), float(observed.centre[d])
        a, b, a_context = _in_data_units(unit * values[:P], recipe, recipe.mean, d)
        c, slope, c_context = _in_data_units(values[P : 2 * P], recipe, recipe.spread, d)
        row = {"a": a + centre, "b": b, "c": c + np.log(unit), "d": slope}
        row |= {f"a: {name}": v for name, v in zip(recipe.context_names, a_context, strict=True)}
        row |= {f"c: {name}": v for name, v in zip(recipe.context_names, c_context, strict=True)}
        if family.shifted:
            row["shift"] = unit * float(np.exp(np.clip(values[2 * P], *LOG_SHIFTS)))
        if family.link is not identity:
            row["unit"] = unit
        rows.append(row)
    names = recipe.variables or tuple(f"x{d + 1}" for d in range(len(parameters)))
    return pd.DataFrame(rows, index=pd.Index(names, name="variable"), dtype=np.float64)


def _in_data_units(
    values: Float[np.ndarray, "P"], recipe: PredictorRecipe, of: Scaling, d: int
) -> tuple[float, float, Float[np.ndarray, "C"]]:
    """Return intercept, slope and coefficients of the context for predictors in the units of the data."""
    slope = float(values[1] / of.scale[d])
    of_context = values[2:]
    intercept = float(values[0] - slope * of.centre[d])
    if recipe.context is not None:
        of_context = of_context / recipe.context.scale
        intercept -= float(of_context @ recipe.context.centre)
    return intercept, slope, of_context
