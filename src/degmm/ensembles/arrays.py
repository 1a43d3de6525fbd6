"""Validation of members: from what a user passes to a float array (n, M, D)."""

import datetime
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from degmm.ensembles.texts import is_missing

LARGEST = 1e100
"""Value of float64"""
STANDARD_FILLS = (9.969209968386869e36, 1e20, 1e30, 1e35)
FILLS = [float(kind(fill)) for fill in STANDARD_FILLS for kind in (np.float32, float)]
"""Values that files have for missing ones, by the defaults of NetCDF, of CMIP and of others"""
SMALLEST_FILL = 0.99e20


def check_members(values: Any, name: str = "X") -> np.ndarray:
    """Return ``values`` if it is a real array of shape (n, M, D) without an empty axis.

    Raises
    ------
    ValueError
        If its type, rank or size is wrong; the message names ``name``.
    """
    if not isinstance(values, np.ndarray) or values.ndim != 3:
        got = f"{values.ndim} dimensions" if isinstance(values, np.ndarray) else type(values).__name__
        raise ValueError(f"{name}: expected an array (n, M, D) of ensembles, members, variables; got {got}")
    if not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"{name}: expected real numbers, got dtype {values.dtype}")
    for axis, size, what in zip((0, 1, 2), values.shape, ("ensembles", "members", "variables"), strict=True):
        if size == 0:
            n, _, D = values.shape
            # scikit-learn's wording, for those who look for it
            why = f"0 feature(s) (shape=({n}, {D})) while a minimum of 1 is required."
            why = why if axis == 2 else f"axis {axis} is empty in shape {values.shape}"
            raise ValueError(f"{name}: no {what}: {why}")
    return values


def as_floats(values: np.ndarray) -> np.ndarray:
    """Return numbers as float32 where they are so, in any order of bytes, and else as float64."""
    native = values.dtype.newbyteorder("=")
    own = native if native in (np.float32, np.float64) else np.dtype(np.float64)
    return values.astype(own, copy=False)


def without_masks(values: Any) -> Any:
    """Return a masked array, or a list with some in it, with NaN for what is masked; all else as it is."""
    inner = list | tuple | np.ma.MaskedArray
    if isinstance(values, list | tuple) and any(isinstance(part, inner) for part in values):
        return [without_masks(part) for part in values]
    if not isinstance(values, np.ma.MaskedArray) or values.dtype.kind not in "biufO":
        return values
    plain, mask = values.data, np.ma.getmaskarray(values)
    return np.where(mask, np.nan, plain) if mask.any() else plain


def labelled(X: Any) -> Any:
    """Return an ``xarray.DataArray`` or unread ensembles as an ``Ensemble``, and anything else as it is."""
    from degmm.ensembles.chunked import ChunkedEnsemble

    if isinstance(X, ChunkedEnsemble):
        return X.compute()
    if type(X).__module__.startswith("xarray."):
        from degmm.ensembles.dataset import from_dataarray

        return from_dataarray(X)
    return X


def members_of(X: Any) -> Any:
    """Return the plain array behind ``X``: an ``Ensemble``, an ``xarray.DataArray`` or an array-like."""
    from degmm.ensembles.ensemble import Ensemble

    X = labelled(X)
    return X.values if isinstance(X, Ensemble) else X


def variable_names(X: Any) -> tuple[str, ...] | None:
    """Return the names of the variables of an ``Ensemble``, which has them; None for anything else."""
    from degmm.ensembles.ensemble import Ensemble

    return X.variables if isinstance(X, Ensemble) else None


def as_members(X: Any, *, name: str = "X") -> np.ndarray:
    """Turn the input of an estimator into members.

    Parameters
    ----------
    X : Ensemble, xarray.DataArray or array-like
        Shape (n, M, D), or (n, D), which is read as M = 1. NaN, or the mask of a masked array, marks
        an absent member: a member with a NaN in any variable is absent as a whole.
    name : str
        Name of the argument, for messages.

    Returns
    -------
    ndarray, shape (n, M, D)
        In float32 if X is, else in float64.

    Raises
    ------
    TypeError
        For a sparse matrix, or objects that are no numbers.
    ValueError
        For a wrong rank, an infinite or huge value, or an ensemble with no member left.
    """
    values = numbers_of(members_of(X), name)
    if values.ndim == 2:
        values = values[:, None, :]
    elif values.ndim != 3:
        raise ValueError(
            f"{name}: expected shape (n, M, D), or (n, D) for one member; got {values.ndim} "
            f"dimension{'s' if values.ndim != 1 else ''}. Reshape your data: a single variable is "
            f"{name}[..., None]"
        )
    check_members(values, name)
    _check_values(values, name)
    return values


def numbers_of(values: Any, name: str) -> np.ndarray:
    """Return an array-like as an array of floats, NaN where a number is masked or missing.

    Whatever is read as numbers passes here: members, observations, contexts, weights, scores. A list of
    ensembles (M_i, D) of several sizes is filled up with NaN.

    Raises
    ------
    TypeError
        For a sparse matrix, or objects that are no numbers.
    ValueError
        For what has no one unit (dates, durations), complex numbers, and parts of different lengths.
    """
    if type(values).__module__.startswith("scipy.sparse"):
        raise TypeError(f"{name}: sparse data are not supported; pass a dense array, {name}.toarray()")
    if isinstance(values, Iterator):
        raise ValueError(
            f"{name}: an iterator, which only the fits of GMM and EGMM take, as blocks; pass an array, or go "
            "through its blocks one by one"
        )
    try:
        found = _array_of(without_masks(values), name)
        if found.dtype.kind == "O":
            found = _of_objects(found, name)
        _check_kind(found.dtype.kind, str(found.dtype), name)
        return as_floats(found)
    except (TypeError, ValueError, OverflowError) as error:  # the last of an integer that no float holds
        if str(error).startswith(f"{name}:"):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: could not be read as an array of numbers ({error})") from error


def doubles_of(values: Any, name: str) -> np.ndarray:
    """Return an array-like as :func:`numbers_of` does, in float64; what is none is always a ValueError."""
    try:
        return np.asarray(numbers_of(values, name), np.float64)
    except TypeError as error:
        raise ValueError(str(error)) from error


def _check_kind(kind: str, called: str, name: str) -> None:
    if kind == "c":
        raise ValueError(f"{name}: Complex data not supported; pass real and imaginary parts as variables")
    if kind in "mM":
        raise ValueError(f"{name}: dates or durations ({called}); pass numbers, in a unit of yours")


def _array_of(values: Any, name: str) -> np.ndarray:
    """Return an array-like as an array, ensembles of several sizes filled up."""
    try:
        found = np.asarray(values)
    except ValueError:  # NumPy's of parts of different lengths
        if not isinstance(values, list | tuple):
            raise
        return _filled_up(values, name)
    parts = found.dtype.kind == "O" and found.ndim == 1 and found.size > 0
    if parts and all(isinstance(part, np.ndarray | list | tuple) for part in found):
        return _array_of(list(found), name)
    return found


def _filled_up(parts: Sequence[Any], name: str) -> np.ndarray:
    """Return ensembles (M_i, D) of several sizes as one array (n, M, D), NaN where one has no more."""
    arrays = [numbers_of(part, name) for part in parts]
    shapes = list(dict.fromkeys(array.shape for array in arrays))
    if len({shape[1:] for shape in shapes}) > 1 or len(shapes[0]) != 2:
        known = ", ".join(map(str, shapes[:3])) + (", …" if len(shapes) > 3 else "")
        raise ValueError(
            f"{name}: its parts have different shapes, {known}; give all the same, filled up with NaN where "
            "members are absent"
        )
    most = max(shape[0] for shape in shapes)
    whole = np.full((len(arrays), most, shapes[0][1]), np.nan, np.result_type(*arrays))
    for i, array in enumerate(arrays):
        whole[i, : len(array)] = array
    return whole


DATED = (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)


def _of_objects(values: np.ndarray, name: str) -> np.ndarray:
    """Return an array of objects with NaN for those that stand for a missing number."""
    cells = [np.nan if is_missing(cell) else cell for cell in values.ravel().tolist()]
    for cell in cells:
        if isinstance(cell, DATED):  # some of which NumPy would count from 1970
            _check_kind("M", type(cell).__name__, name)
        if isinstance(cell, complex | np.complexfloating):
            _check_kind("c", type(cell).__name__, name)
    plain = np.empty(len(cells), object)
    plain[:] = cells
    return plain.reshape(values.shape).astype(np.float64)


def largest_of(dtype: Any) -> float:
    """Return the largest value of which a precision holds sums of squares, and what they are divided by."""
    return min(float(np.sqrt(np.finfo(dtype).max)) * 1e-4, LARGEST)


def check_size(values: np.ndarray, name: str, axes: tuple[str, ...]) -> bool:
    """Refuse values too large for their precision, and warn of those that files have for missing ones.

    Parameters
    ----------
    values : ndarray
        Floats.
    name : str
        Name of the argument, for messages.
    axes : tuple of str
        What the axes go through, for messages.

    Returns
    -------
    bool
        Whether all are known to be finite.

    Raises
    ------
    ValueError
        For an infinite or huge value.
    """
    largest = largest_of(values.dtype)
    # One pass without temporaries settles the usual case: NaN, infinity and huge values show in it.
    if values.flags.c_contiguous:
        with np.errstate(over="ignore", invalid="ignore"):
            flat = values.reshape(-1)
            if np.dot(flat, flat) < min(largest, SMALLEST_FILL) ** 2:
                return True
    size = np.abs(values)
    huge = size > largest
    if huge.any():
        place = tuple(np.argwhere(huge)[0])
        what = "infinite value" if np.isinf(values[place]) else f"value {values[place]:.3g}"
        where = ", ".join(f"{axis} {i}" for axis, i in zip(axes, place, strict=True))
        raise ValueError(
            f"{name}: {what} at {where} ({int(huge.sum())} beyond {largest:.0e} in all); if it stands for a "
            "missing value, set it to NaN to leave it out"
        )
    point_out_fills(values, name, axes)
    return False


def point_out_fills(values: np.ndarray, name: str, axes: tuple[str, ...]) -> None:
    """Warn of values that files have for missing ones; the arguments are those of :func:`check_size`."""
    size = np.abs(values)
    large = size >= SMALLEST_FILL
    if not large.any():
        return
    filled = large & np.isin(size, FILLS)
    if filled.any():
        place = tuple(np.argwhere(filled)[0])
        where = ", ".join(f"{axis} {i}" for axis, i in zip(axes, place, strict=True))
        warnings.warn(
            f"{name}: {values[place]:.6g} at {where} ({int(filled.sum())} in all) is what files have for "
            "missing values; set it to NaN if it is one",
            UserWarning,
            stacklevel=3,
        )


def _check_values(values: np.ndarray, name: str) -> None:
    if check_size(values, name, ("ensemble", "member", "variable")):
        return
    absent = np.isnan(values).any(axis=2).all(axis=1)
    if absent.any():
        raise ValueError(
            f"{name}: ensemble {int(np.argmax(absent))} has no member without NaN "
            f"({int(absent.sum())} such ensembles); drop them first"
        )
