"""How a file stores values, and whether others fit into that."""

from collections.abc import Mapping
from typing import Any

import numpy as np

PACKING = ("dtype", "scale_factor", "add_offset", "_FillValue")
"""Of a variable's encoding, what goes where values do not fit: NaN and the type of the values need none"""


def holds(dtype: np.dtype[Any], values: np.ndarray) -> bool:
    """Return whether a type of numbers has all these values, fractions of floats aside."""
    if dtype.kind == "f":
        largest = np.abs(values[np.isfinite(values)], dtype=np.float64).max(initial=0)
        return bool(largest <= np.finfo(dtype).max)
    return dtype.kind in "iu" and bool((values == np.round(values)).all()) and _in_range(dtype, values)


def stored_as(encoding: Mapping[str, Any], values: np.ndarray) -> dict[str, Any]:
    """Return an encoding of xarray's under which values come back as they are written.

    Values that were read, and packed in integers, go back into these. Others may be beyond their range,
    between two of them, or the one that stands for what is missing; then they are stored as they are.
    """
    kept = dict(encoding)
    dtype, fill = kept.get("dtype"), kept.get("_FillValue")
    dtype = values.dtype if dtype is None else np.dtype(dtype)
    there = values[~np.isnan(values)].astype(np.float64) if values.dtype.kind == "f" else values.ravel()
    unit = kept.get("scale_factor", 1)
    packed = (there - kept.get("add_offset", 0)) / unit
    if dtype.kind in "iu":
        whole = np.round(packed)
        fits = bool((np.abs(packed - whole) <= _rounding(values, unit)).all()) and _in_range(dtype, whole)
        fits = fits and (there.size == values.size or fill is not None)  # an integer is no NaN
    else:
        whole, fits = packed, dtype.kind != "f" or holds(dtype, packed)
    taken = fill is not None and fill == fill and bool((whole == fill).any())
    return kept if fits and not taken else {k: v for k, v in kept.items() if k not in PACKING}


def _rounding(values: np.ndarray, unit: float) -> float:
    """Return by how much of a unit of the packing values that were unpacked may miss a whole number."""
    if values.dtype.kind != "f":
        return 0.0
    largest = np.abs(values[np.isfinite(values)]).max(initial=0)
    return min(0.4, 1e-3 + 2 * float(np.spacing(largest)) / abs(unit))


def _in_range(dtype: np.dtype[Any], values: np.ndarray) -> bool:
    limits = np.iinfo(dtype)
    return not values.size or bool(limits.min <= values.min() and values.max() <= limits.max)
