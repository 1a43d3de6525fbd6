"""What was observed, as a calibration takes it."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from degmm.ensembles import Ensemble
from degmm.ensembles.arrays import check_size, doubles_of
from degmm.ensembles.matching import of_cases

ROUNDING = 2.0**-16
"""Of the largest value of a variable, by which packing may miss 0"""
LEAST = 1e-15
"""By which it may miss 0 where no value is above it"""


def observations_of(
    X: Any, y: Any, shape: tuple[int, int], *, at_least_zero: bool = False
) -> Float[np.ndarray, "n D"]:
    """Return observations (n, D), NaN where there are none.

    Parameters
    ----------
    X : Ensemble or array-like
        Its observations are taken where y is None.
    y : array-like, shape (n,) for one variable, or (n, D); or None
        A DataArray is matched to the cases of an ``Ensemble`` by its labels.
    shape : (n, D)
    at_least_zero : bool
        Whether a negative value is an error, save for those of :func:`without_rounding`.

    Raises
    ------
    ValueError
        If there are none, or their shape or a value is wrong.
    """
    if y is None:
        y = X.observations if isinstance(X, Ensemble) else None
        if y is None:
            raise ValueError("y: no observations; pass them, y=…, or an Ensemble that has some")
    elif isinstance(y, Ensemble):
        raise ValueError("y: an Ensemble; pass the observations alone, as an array (n,) or (n, D)")
    y = of_cases(X, y, "y")
    values = doubles_of(y, "y")
    n, D = shape
    values = values[:, None] if values.ndim == 1 and D == 1 else values
    if values.shape != shape:
        expected = f"({n},)" if D == 1 else f"({n}, {D})"
        raise ValueError(f"y: expected one observation per case, shape {expected}; got {np.shape(y)}")
    names = X.variables if isinstance(X, Ensemble) else [f"variable {d}" for d in range(D)]
    _check(values, np.isinf(values), "infinite; set what is missing to NaN", names)
    check_size(values, "y", ("case", "variable"))
    if at_least_zero:
        values, count = without_rounding(values)
        if count:
            warnings.warn(f"y: {count} below 0 by no more than rounding, which count as 0", stacklevel=4)
        _check(values, values < 0, "below 0, where the family has no values; use family='normal'", names)
    bad = np.isnan(values).all(axis=0)
    if bad.any():
        where = "" if D == 1 else f" of {names[int(np.argmax(bad))]}"
        raise ValueError(f"y: every observation{where} is missing (NaN)")
    return values


def without_rounding(values: Float[np.ndarray, "n D"]) -> tuple[Float[np.ndarray, "n D"], int]:
    """Return observations that are 0 where they are below 0 by rounding alone, and the number of these.

    Rain that was packed in integers comes back as −1e−19. Rounding is of 16 bits of the largest value of the
    variable; of a variable that goes further below 0, nothing is changed.
    """
    known = np.where(np.isnan(values), 0, values)
    by_rounding = known.min(axis=0) >= -(ROUNDING * known.max(axis=0) + LEAST)
    rounded = (known < 0) & by_rounding
    return (np.where(rounded, 0.0, values), int(rounded.sum())) if rounded.any() else (values, 0)


def _check(values: np.ndarray, bad: np.ndarray, fault: str, names: Sequence[str]) -> None:
    if bad.any():
        i, d = np.argwhere(bad)[0]
        raise ValueError(f"y: {values[i, d]:g} at case {i}, {names[d]}, is {fault}")
