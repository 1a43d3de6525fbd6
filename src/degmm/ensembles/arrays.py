"""Validation of members: from what a user passes to a float array (n, M, D)."""

from typing import Any

import numpy as np


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
            raise ValueError(f"{name}: no {what} (axis {axis} is empty in shape {values.shape})")
    return values


def members_of(X: Any) -> Any:
    """Return the plain array behind ``X``: an ``Ensemble``, an ``xarray.DataArray`` or an array-like."""
    from degmm.ensembles.ensemble import Ensemble

    if isinstance(X, Ensemble):
        return X.values
    if type(X).__module__.startswith("xarray."):
        from degmm.ensembles.reader import from_dataarray

        return from_dataarray(X).values
    return X


def as_members(X: Any, *, name: str = "X", dtype: Any = None) -> np.ndarray:
    """Turn the input of an estimator into members.

    Parameters
    ----------
    X : Ensemble, xarray.DataArray or array-like
        Shape (n, M, D), or (n, D), which is read as M = 1. NaN marks an absent member: a member
        with a NaN in any variable is absent as a whole.
    name : str
        Name of the argument, for messages.
    dtype : dtype-like, optional
        float32 or float64; by default that of X, and float64 for any other type.

    Returns
    -------
    ndarray, shape (n, M, D)

    Raises
    ------
    ValueError
        For a wrong rank or type, an infinite value, or an ensemble with no member left.
    """
    values = members_of(X)
    if type(values).__module__.startswith("scipy.sparse"):
        raise TypeError(f"{name}: sparse data are not supported; pass a dense array, {name}.toarray()")
    try:
        values = np.asarray(values)
        if values.dtype.kind == "c":
            raise ValueError(
                f"{name}: complex data not supported; pass real and imaginary parts as variables"
            )
        if dtype is None:
            dtype = values.dtype if values.dtype in (np.float32, np.float64) else np.float64
        elif np.dtype(dtype) not in (np.float32, np.float64):
            raise ValueError(f"dtype: expected float32 or float64, got {np.dtype(dtype)}")
        values = values.astype(dtype, copy=False)
    except (TypeError, ValueError) as error:
        if str(error).startswith((f"{name}:", "dtype:")):
            raise
        raise ValueError(f"{name}: could not be read as an array of numbers ({error})") from error
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


def _check_values(values: np.ndarray, name: str) -> None:
    # One pass without temporaries settles the usual case: a finite sum has neither NaN nor infinity.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum(dtype=np.float64)):
            return
    infinite = np.isinf(values)
    if infinite.any():
        i, m, d = np.argwhere(infinite)[0]
        raise ValueError(
            f"{name}: infinite value at ensemble {i}, member {m}, variable {d} "
            f"({int(infinite.sum())} in all); remove it, or set it to NaN to drop the member"
        )
    absent = np.isnan(values).any(axis=2).all(axis=1)
    if absent.any():
        raise ValueError(
            f"{name}: ensemble {int(np.argmax(absent))} has no member without NaN "
            f"({int(absent.sum())} such ensembles); drop them before the fit"
        )
