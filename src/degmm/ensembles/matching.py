"""Values that come with labels, matched to the cases of labelled ensembles by these."""

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from degmm.ensembles.chunked import ChunkedEnsemble
from degmm.ensembles.ensemble import Ensemble
from degmm.ensembles.roles import LABELS
from degmm.ensembles.texts import plain_texts
from degmm.ensembles.times import dates_in
from degmm.ensembles.units import check_units, known_unit, same_unit

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


LENGTHS = re.compile(r"\s*\d+(?:\.\d+)?\s*(?:d|days?|h|hours?|hr|min|minutes?|s|sec|seconds?)\s*", re.I)
"""Durations as text, such as 6h"""


def cases_of(data: Ensemble | ChunkedEnsemble) -> tuple[tuple[str, ...], tuple[int, ...], "xr.Dataset"]:
    """Return the dimensions of the cases, their sizes, and a Dataset of the coordinates along them."""
    import xarray as xr

    if isinstance(data, ChunkedEnsemble):
        return data.case_dims, data.sizes, data.case_coordinates()
    if data.layout is None:
        coords = {name: (data.case_dim, np.asarray(labels)) for name, labels in data.coords.items()}
        return (data.case_dim,), (len(data),), xr.Dataset(coords=coords)
    layout = data.layout
    dataset = layout.case_coordinates(data.case_dim)
    dataset.attrs = {}
    return layout.case_dimensions(data.case_dim), layout.case_sizes(), dataset


def of_cases(data: Any, values: Any, name: str, *, of_variables: bool = True) -> Any:
    """Return values of the cases of labelled ensembles in the order of these, as a plain array (n, …).

    Dimensions are matched by name, their labels by value where both have an index; one of a single case
    may be missing, and values may have dimensions of one place that the cases have not, such as a height.
    Where data or values have no labels, or they have no dimension in common, the values are returned as they
    are.

    Parameters
    ----------
    data : Ensemble or ChunkedEnsemble, or anything else
        Of n cases.
    values : xarray.DataArray, or anything else
    name : str
        Name of the argument, for messages.
    of_variables : bool
        Whether a dimension ``variable`` is that of the ensembles: then it comes first of the others, in the
        order of theirs.

    Raises
    ------
    ValueError
        If a dimension or a label of the cases is missing, or is there twice.
    """
    if not isinstance(data, Ensemble | ChunkedEnsemble) or not type(values).__module__.startswith("xarray."):
        return values
    if of_variables and isinstance(data, Ensemble):
        _check_units(data, values, name)
    dims, sizes, cases = cases_of(data)
    if not hasattr(values, "isel") or not hasattr(values, "ndim"):
        return values
    single = [dim for dim in values.dims if values.sizes[dim] == 1 and dim not in dims]
    values = values.squeeze([dim for dim in single if dim in LABELS or dim in data_coords(data)])
    if len(data) > 1 and not set(dims) & set(values.dims):
        return values
    values = values.expand_dims(
        [dim for dim, size in zip(dims, sizes, strict=True) if size == 1 and dim not in values.dims]
    )
    absent = [dim for dim in dims if dim not in values.dims]
    if absent:
        raise ValueError(f"{name}: no dimension {absent[0]!r} of the cases; it has {', '.join(values.dims)}")
    for dim in dims:
        values = in_order(values, dim, cases.indexes.get(dim), name, "case")
    others = sorted((dim for dim in values.dims if dim not in dims), key=lambda dim: dim != "variable")
    if of_variables:
        values = of_variables_named(data.variables, values, name)
    array = values.transpose(*dims, *others).to_numpy()
    if array.shape[: len(dims)] != sizes:
        raise ValueError(
            f"{name}: expected sizes {sizes} along {', '.join(dims)}; got {array.shape[: len(dims)]}"
        )
    return array.reshape(len(data), *array.shape[len(dims) :])


def data_coords(data: Ensemble | ChunkedEnsemble) -> Collection[str]:
    """Return the names of the labels of the cases."""
    return data.coords if isinstance(data, Ensemble) else data.first.coords


def _check_units(data: Ensemble, values: Any, name: str) -> None:
    """Raise an error where values of the variables say that they are in another unit."""
    attrs, coords = getattr(values, "attrs", {}), getattr(values, "coords", {})
    if not data.units:
        return
    given = [str(attrs.get("units", ""))] * data.n_features
    index = values.indexes.get("variable") if coords else None
    if "units" in coords and coords["units"].dims == ("variable",) and index is not None:
        found = dict(zip(map(str, index), map(str, coords["units"].to_numpy()), strict=True))
        given = [found.get(variable, "") for variable in data.variables]
    elif any(not known_unit(known) or same_unit(known, given[0]) for known in data.units):
        return  # one unit for several variables: it is that of one of them
    check_units(name, data.variables, data.units, given)


def of_variables_named(names: Sequence[str], values: "xr.DataArray", called: str) -> "xr.DataArray":
    """Return values in the order of names along a dimension ``variable``, if its labels are any of them."""
    index = values.indexes.get("variable")
    if index is None or not set(index) & set(names):
        return values
    import pandas as pd

    return in_order(values, "variable", pd.Index(names), called, "variable")


def in_order(values: Any, dim: str, wanted: Any, name: str, what: str) -> Any:
    """Return values with the labels along a dimension in the wanted order."""
    given = values.indexes.get(dim)
    if wanted is None or given is None:
        return values
    if wanted.dtype != given.dtype and wanted.nlevels == given.nlevels == 1:
        wanted, given = _comparable(dim, wanted, given)
    if wanted.equals(given):
        return values
    wanted, given = _without_rounding(wanted, given)
    if not given.is_unique:
        twice = given[given.duplicated()][0]
        raise ValueError(f"{name}: {dim} {twice} is there twice, and cannot be matched to a {what}")
    places = given.get_indexer(wanted)
    if (places < 0).any():
        missing = int((places < 0).sum())
        first = wanted[int(np.argmax(places < 0))]
        raise ValueError(
            f"{name}: no value for {dim} {first} ({missing} of {len(wanted)} such {what}s); "
            "give one for each (NaN, or a weight of 0, for what is missing), or an array without labels to "
            "go by position"
        )
    return values.isel({dim: places})


def _comparable(dim: str, *indexes: "pd.Index") -> "list[pd.Index]":
    """Return indexes of labels of different types as labels that can be the same: dates, or else text."""
    import pandas as pd

    labels = [index.to_numpy() for index in indexes]
    if all(index.dtype.kind in "iuf" for index in indexes):
        if any(part.dtype.kind != "f" for part in labels):
            return list(indexes)
        lower = min((part.dtype for part in labels), key=lambda dtype: dtype.itemsize)
        return [pd.Index(part.astype(lower)) for part in labels]
    if any(part.dtype.kind != "M" for part in labels):
        labels = [_durations(part) for part in labels]
    times = [dates_in(dim, part) for part in labels]
    if any(part is None for part in times):
        return [pd.Index(plain_texts(part)) for part in labels]
    return [pd.Index(np.asarray(part, "datetime64[us]")) for part in times]


def _durations(labels: np.ndarray) -> np.ndarray:
    """Return labels such as 6h as durations, and those that are none as they are."""
    import pandas as pd

    if labels.dtype.kind not in "OUT" or not all(LENGTHS.fullmatch(str(label)) for label in labels):
        return labels
    return pd.to_timedelta([str(label) for label in labels]).to_numpy()


def _without_rounding(*indexes: "pd.Index") -> "list[pd.Index]":
    """Return indexes of dates to the second, where that tells all of them apart.

    Dates that files have as fractions of days miss the full hour by microseconds.
    """
    if any(index.nlevels > 1 or index.dtype.kind != "M" for index in indexes):
        return list(indexes)
    found = [index.round("s") for index in indexes]  # type: ignore[attr-defined]
    return found if all(index.is_unique for index in found) else list(indexes)


def order_of_cases(data: Ensemble, wanted: Ensemble, name: str) -> Int[np.ndarray, "n"] | slice:
    """Return the places in labelled ensembles of the cases of others, by labels that both have; else all."""
    from degmm.results import data_array

    places = of_cases(wanted, data_array(data, np.arange(len(data)), "place"), name, of_variables=False)
    return places if isinstance(places, np.ndarray) else slice(None)


def shared_variables(data: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Return names of variables in the order in which labelled ensembles have these variables."""
    known = data.variables if isinstance(data, Ensemble) else ()
    return tuple(name for name in known if name in names) if set(names) <= set(known) else tuple(names)


def with_variables(data: Any, names: Sequence[str]) -> Any:
    """Return ensembles with the variables of these names, in their order, if they have them all."""
    if not isinstance(data, Ensemble) or not names or data.variables == tuple(names):
        return data
    if not set(names) <= set(data.variables):
        return data
    return data.take_variables([data.variables.index(name) for name in names])
