"""What the dimensions and variables of a Dataset are, and what single values and places label."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from degmm.ensembles.decoding import durations_as_numbers
from degmm.ensembles.names import (
    OBSERVATION_NAMES,
    ROLE,
    VARIABLE_NAMES,
    chosen_arrays,
    is_numeric,
    member_dim_of,
    observation_names,
    observations_of,
    paired_names,
)
from degmm.ensembles.times import TIME_NAMES, as_times

if TYPE_CHECKING:
    import xarray as xr

LABELS = (
    *TIME_NAMES,
    "step",
    "lead",
    "lead_time",
    "leadtime",
    "forecast_period",
    "forecast_reference_time",
    "forecast_time",
    "init",
    "init_time",
    "run",
    "station",
    "site",
    "location",
    "height",
    "depth",
    "level",
    "lat",
    "latitude",
    "lon",
    "longitude",
)
"""Names of single values that label all cases, also where a file does not call them coordinates"""
ONE_CASE = "case"
"""Dimension of one case that has no date"""


class Roles(NamedTuple):
    """What the dimensions and variables of a Dataset are."""

    whole: "xr.Dataset"
    """Without weights and context"""
    dataset: "xr.Dataset"
    """The variables that may be meant"""
    parts: dict[str, "xr.DataArray"]
    """Weights and context, if they are there"""
    member: str
    observed: dict[str, str]
    """Names of observations by those of the variables"""
    names: list[str]
    """Data variables of the members"""
    grid: tuple[str, ...]
    variable_dim: str | None
    case_dims: list[str]

    @property
    def inner(self) -> tuple[str, ...]:
        """Dimensions that run over variables."""
        return (*([self.variable_dim] if self.variable_dim else []), *self.grid)


def settled(
    dataset: "xr.Dataset",
    wanted: Sequence[str] | None,
    member_dim: str | None,
    feature_dims: Sequence[str] | None,
    observation: str | None,
) -> tuple["xr.Dataset", Roles]:
    """Return a Dataset as it is read, and its roles.

    Durations are numbers. A single value, such as the date of one forecast, is a label of all cases, and so
    is a dimension of one place that not all variables and observations have. The members of one case have a
    dimension of cases too.
    """
    dataset = _with_labels(durations_as_numbers(dataset))
    dataset = with_single_member(dataset, member_dim, observation)
    dataset = _of_shared_dimensions(dataset, wanted, member_dim, feature_dims, observation)
    roles = roles_of(dataset, wanted, member_dim, feature_dims, observation)
    if roles.case_dims:
        return dataset, roles
    dataset = _as_one_case(dataset, roles)
    return dataset, roles_of(dataset, wanted, member_dim, feature_dims, observation)


def _with_labels(dataset: "xr.Dataset") -> "xr.Dataset":
    """Return a Dataset in which single values that label all cases are coordinates."""
    single = {name: v for name, v in dataset.data_vars.items() if not v.dims and ROLE not in v.attrs}
    labels = [name for name, v in single.items() if name in LABELS or _is_date(v)]
    return dataset.set_coords(labels) if labels else dataset


def with_single_member(
    dataset: "xr.Dataset", member_dim: str | None, observation: str | None = None
) -> "xr.Dataset":
    """Return a Dataset of one member, such as a control run, with its dimension: its number is one value."""
    if member_dim is None or member_dim not in dataset.variables or dataset[member_dim].dims:
        return dataset
    others = {*OBSERVATION_NAMES, *paired_names([str(v) for v in dataset.data_vars]), observation}
    others |= {v.attrs.get("bounds", v.encoding.get("bounds")) for v in dataset.variables.values()}
    dataset = dataset.set_coords(member_dim)
    alone = not any(v.dims for v in dataset.data_vars.values())
    members = [
        name
        for name, v in dataset.data_vars.items()
        if (v.dims or alone) and is_numeric(v) and name not in others and ROLE not in v.attrs
    ]
    return dataset.assign({name: dataset[name].expand_dims(member_dim, axis=-1) for name in members})


def _is_date(array: "xr.DataArray") -> bool:
    return array.dtype.kind in "MOU" and as_times(np.atleast_1d(array.to_numpy())) is not None


def _of_shared_dimensions(
    dataset: "xr.Dataset",
    wanted: Sequence[str] | None,
    member_dim: str | None,
    feature_dims: Sequence[str] | None,
    observation: str | None,
) -> "xr.Dataset":
    """Return a Dataset without the dimensions of one place that only some variables or observations have."""
    whole = _parted(dataset)[1]
    chosen = chosen_arrays(whole, wanted)
    member = member_dim_of(chosen, whole, member_dim)
    names = _members_arrays(chosen, member)
    dims = [{*whole[name].dims} - {member} for name in names]
    dims += [
        {*whole[candidate].dims} - {member}
        for name in names
        for candidate in observation_names(whole, name, names, observation)
        if is_numeric(whole[candidate])
    ]
    if not dims:
        return dataset
    kept = {*VARIABLE_NAMES, *((feature_dims,) if isinstance(feature_dims, str) else feature_dims or ())}
    loose = set.union(*dims) - set.intersection(*dims) - kept
    single = [d for d in dataset.dims if d in loose and dataset.sizes[d] == 1]
    return dataset.squeeze(single) if single else dataset


def _as_one_case(dataset: "xr.Dataset", roles: Roles) -> "xr.Dataset":
    """Return the members of one case with a dimension of cases: its date, if it has one."""
    dated = (name for name in TIME_NAMES if name in dataset.coords and not dataset[name].dims)
    name = next(dated, ONE_CASE)
    while name in dataset.dims or name in dataset.data_vars:
        name = f"degmm_{name}"
    read = [*roles.names, *dict.fromkeys(roles.observed.values()), *(p.name for p in roles.parts.values())]
    others = [n for n in dataset.data_vars if n not in read]
    one = dataset[read].expand_dims(name)
    return one.assign({n: dataset[n].drop_vars(name, errors="ignore") for n in others}) if others else one


def _parted(dataset: "xr.Dataset") -> tuple[dict[str, "xr.DataArray"], "xr.Dataset"]:
    """Return weights and context, if they are there, and a Dataset without them."""
    roles = {str(v.attrs[ROLE]): name for name, v in dataset.data_vars.items() if ROLE in v.attrs}
    parts = {role: dataset[name] for role, name in roles.items() if role in ("weights", "context")}
    return parts, dataset.drop_vars([part.name for part in parts.values()])


def roles_of(
    dataset: "xr.Dataset",
    wanted: Sequence[str] | None,
    member_dim: str | None,
    feature_dims: Sequence[str] | None,
    observation: str | None,
) -> Roles:
    """Return what the dimensions and variables of a Dataset are; no values are read.

    There are no dimensions of cases where the members of a single one are all.
    """
    parts, whole = _parted(dataset)
    dataset = chosen_arrays(whole, wanted)
    member = member_dim_of(dataset, whole, member_dim)
    observed = observations_of(whole, _members_arrays(dataset, member), member, observation)
    names = [name for name in _members_arrays(dataset, member) if name not in observed.values()]
    if not names:
        raise ValueError(f"no numeric variable has the member dimension {member!r}{_types(dataset, member)}")
    shapes = {tuple(sorted(map(str, dataset[name].dims))) for name in names}
    if len(shapes) > 1:
        raise ValueError(f"variables: {', '.join(names)} have different dimensions; choose among them")
    dims = [str(d) for d in dataset[names[0]].dims]
    empty = next((d for d in dims if not dataset.sizes[d]), None)
    if empty is not None:
        raise ValueError(f"dimension {empty!r} is empty; there must be at least one case and one member")
    grid = _grid(feature_dims, dims, member)
    variable_dim = next((d for d in VARIABLE_NAMES if d in dims and d not in grid), None)
    case_dims = [d for d in dims if d not in (member, variable_dim, *grid)]
    return Roles(whole, dataset, parts, member, observed, names, grid, variable_dim, case_dims)


def _members_arrays(dataset: "xr.Dataset", member: str) -> list[str]:
    return [str(name) for name, v in dataset.data_vars.items() if member in v.dims and is_numeric(v)]


def _types(dataset: "xr.Dataset", member: str) -> str:
    """Return of what other types the variables of members are, in words."""
    found = [f"{n!r} is of type {v.dtype}" for n, v in dataset.data_vars.items() if member in v.dims]
    return f": {', '.join(found)}; write real numbers" if found else ""


def _grid(wanted: Sequence[str] | None, dims: Sequence[str], member: str) -> tuple[str, ...]:
    grid = (wanted,) if isinstance(wanted, str) else tuple(wanted or ())
    for dim in grid:
        if dim not in dims or dim == member:
            others = ", ".join(d for d in dims if d != member) or "none"
            raise ValueError(
                f"feature_dims: no dimension {dim!r} beside that of the members; there are {others}"
            )
    return tuple(d for d in dims if d in grid)
