"""Labels of any type as a file can hold them."""

import datetime
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from degmm.ensembles.texts import is_missing, plain_texts
from degmm.ensembles.times import as_times

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)


def storable(dataset: "xr.Dataset") -> "xr.Dataset":
    """Return a Dataset whose variables and coordinates are all of types that NetCDF has.

    Objects that are all numbers, durations or dates become such, and other types, such as decimal numbers
    and times of the day, text. Of an index of several levels each becomes a coordinate. Names are text
    without ``/``, and attributes text or numbers.
    """
    joint = [name for name, index in dataset.indexes.items() if index.nlevels > 1 and name in dataset.dims]
    dataset = _with_plain_names(dataset.reset_index(joint) if joint else dataset)
    changed = {}
    for name, variable in dataset.variables.items():
        plain = plain_labels(variable)
        if plain is not None:
            changed[name] = (variable.dims, plain, variable.attrs)
    coords = {name: part for name, part in changed.items() if name in dataset.coords}
    dataset = dataset.assign({k: v for k, v in changed.items() if k not in coords}).assign_coords(coords)
    parts: list[Any] = [dataset, *dataset.variables.values()]
    for part in parts:
        part.attrs = {str(key): _plain_attribute(value) for key, value in part.attrs.items()}
    return dataset


def storable_table(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table whose columns are all of types that files have, as :func:`storable` does."""
    plain = {str(n): found for n in table if (found := plain_labels(table[n], calendars=False)) is not None}
    return table.assign(**plain)


def _with_plain_names(dataset: "xr.Dataset") -> "xr.Dataset":
    """Return a Dataset whose names a file can have: text that names no group."""
    names = [*dict.fromkeys([*dataset.dims, *dataset.variables])]
    taken, changed = {*map(str, names)}, {}
    for name in names:
        plain = str(name).replace("/", "_")
        if plain != name:
            while plain in taken and plain != str(name):
                plain = f"{plain}_"
            changed[name] = plain
            taken.add(plain)
    return dataset.rename(changed) if changed else dataset


def _plain_attribute(value: Any) -> Any:
    """Return an attribute as NetCDF has it: text, or numbers in a row."""
    if isinstance(value, str | bytes):
        return value
    if isinstance(value, Mapping | bool | np.bool_) or value is None:
        return json.dumps(value, default=str)
    array = np.asarray(value)
    return value if array.dtype.kind in "iufS" and array.ndim < 2 else json.dumps(_listed(array), default=str)


def _listed(array: np.ndarray) -> Any:
    listed = array.tolist()
    return listed if array.ndim else str(listed)


def plain_labels(variable: Any, *, calendars: bool = True) -> np.ndarray | None:
    """Return values as an array of a type that files have; None where they are of such a type.

    Parameters
    ----------
    variable : xarray.Variable or pandas.Series
    calendars : bool
        Whether a file holds dates of calendars of their own, as NetCDF does.
    """
    kind = getattr(variable.dtype, "kind", "O")
    if isinstance(variable.dtype, np.dtype) and kind in "biuSUMm":
        return None
    if isinstance(variable.dtype, np.dtype) and kind == "f":
        known = variable.dtype in (np.float32, np.float64)
        return None if known else variable.to_numpy().astype(np.float64)
    values = np.asarray(variable.to_numpy(), object)
    labels = [label for label in values.ravel().tolist() if not is_missing(label)]
    gaps = len(labels) < values.size
    if labels and all(isinstance(label, str) for label in labels):
        return None if variable.dtype == object and not gaps else _texts(values, values)
    if labels and all(type(label).__module__.startswith("cftime") for label in labels):
        if calendars and not gaps:
            return None  # in a calendar of its own, which the file then has
        dates = [None if is_missing(x) else x.isoformat() for x in values.ravel().tolist()]
        return _texts(np.array(dates, object), values)
    if labels and all(isinstance(label, NUMBERS) for label in labels):
        plain = np.array([np.nan if is_missing(x) else x for x in values.ravel().tolist()])
        return plain.reshape(values.shape)
    if labels and all(isinstance(label, datetime.timedelta | np.timedelta64) for label in labels):
        spans = [np.timedelta64("NaT") if is_missing(x) else x for x in values.ravel().tolist()]
        return np.array(spans, "timedelta64[us]").reshape(values.shape)
    times = as_times(values)
    return _texts(values, values) if times is None else times


def _texts(labels: np.ndarray, like: np.ndarray) -> np.ndarray:
    return plain_texts(labels.ravel()).reshape(like.shape)
