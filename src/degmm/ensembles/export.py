"""From an :class:`Ensemble` to an xarray Dataset."""

from typing import TYPE_CHECKING, Any

import numpy as np

from degmm.ensembles.ensemble import Ensemble
from degmm.ensembles.names import MEMBER_NAMES, ROLE

if TYPE_CHECKING:
    import xarray as xr


def to_xarray(data: Ensemble) -> "xr.Dataset":
    """Return the ensembles as a Dataset, laid out as the one that they were read from, if any.

    Cases that are no longer a product of their dimensions lie along one. An ensemble that comes from
    elsewhere has a data variable for each of its variables, and ``obs_NAME`` for its observations. Weights
    and context are data variables too, which are told by an attribute when they are read again.
    """
    dims: tuple[str, ...] = (data.case_dim,)
    sizes: tuple[int, ...] = (len(data),)
    if data.layout is None:
        dataset = _columns(data)
    else:
        dataset = data.layout.filled(data.values, data.observations, data.case_dim)
        dims, sizes = data.layout.case_dimensions(data.case_dim), data.layout.case_sizes()
    if data.weights is not None:
        name = _free("weights", dataset)
        dataset[name] = (dims, data.weights.reshape(sizes), {ROLE: "weights"})
    if data.context is not None:
        name, column = _free("context", dataset), _free("context_column", dataset)
        dataset[name] = ((*dims, column), data.context.reshape(*sizes, -1), {ROLE: "context"})
    return dataset


def _columns(data: Ensemble) -> "xr.Dataset":
    import xarray as xr

    case, units = data.case_dim, data.units or ("",) * data.n_features
    taken = {case, *data.coords, *data.variables}
    member = next(name for name in ("member", *MEMBER_NAMES, "degmm_member") if name not in taken)
    arrays: dict[str, Any] = {}
    for d, (name, unit) in enumerate(zip(data.variables, units, strict=True)):
        attributes = {"units": unit} if unit else {}
        arrays[name] = ((case, member), data.values[..., d], attributes)
        if data.observations is not None:
            arrays[f"obs_{name}"] = ((case,), data.observations[:, d], attributes)
    coords = {name: (case, np.asarray(labels)) for name, labels in data.coords.items()}
    labels = (member, data.member_labels, {"standard_name": "realization"})
    return xr.Dataset(arrays, coords={**coords, member: labels}, attrs={"Conventions": "CF-1.10"})


def _free(name: str, dataset: "xr.Dataset") -> str:
    while name in dataset.variables or name in dataset.dims:
        name = f"degmm_{name}"
    return name
