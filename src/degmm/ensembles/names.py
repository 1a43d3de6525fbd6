"""Which dimension and variable of a Dataset is what: found by name, or as the user says."""

import difflib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

MEMBER_NAMES = ("realization", "number", "member", "ensemble", "ens", "sample")
OTHER_MEMBER_NAMES = (
    "realisation",
    "memberid",
    "membernumber",
    "ensemblemember",
    "ensembleid",
    "ensemblenumber",
    "ensmember",
    "ensid",
    "realizationid",
    "perturbationnumber",
    "variantlabel",
    "variantid",
)
"""Names of the same in archives of climate models, in small letters and without what parts their words"""
LIKE_MEMBERS = re.compile(
    r"(?:^|[\W_])n?(?:mem|ens|eps|perturb|variant|rip)|member|ensemble|reali[sz]|^M$|^rip", re.IGNORECASE
)
"""In a name of members that we do not know"""
NO_MEMBERS = "no member dimension found"
VARIABLE_NAMES = ("variable", "var", "feature")
OBSERVATION_NAMES = ("observation", "observations", "obs", "verification")
NAMELESS = "value"
"""Variable of a DataArray without a name"""
ROLE = "degmm_role"
"""Attribute of the variables that hold weights and context in a file of ours"""
OF_THE_GRID = {"grid_mapping_name", "crs_wkt", "spatial_ref"}
"""Attributes of the single value that describes a map projection, and labels nothing"""
CONTROL_WORDS = ("control", "ctrl", "hres")
"""Names of other runs, which are told of"""


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, shortened."""
    line = (str(error).strip().splitlines() or [""])[0]
    return line if len(line) <= 200 else f"{line[:200]} …"


def is_numeric(array: "xr.DataArray") -> bool:
    """Return whether values are numbers."""
    return array.dtype.kind in "fiu"


def chosen_arrays(dataset: "xr.Dataset", wanted: Sequence[str] | None) -> "xr.Dataset":
    """Return the data variables that ``wanted`` may mean, so that the others need not fit them."""
    if wanted is None:
        return dataset
    chosen = [name for name in dataset.data_vars if name in wanted]
    if len(chosen) < len(set(wanted)):  # the others must be labels along a dimension of variables
        labelled = [name for name, v in dataset.data_vars.items() if {*v.dims} & {*VARIABLE_NAMES}]
        chosen += [name for name in labelled if name not in chosen]
    return dataset[chosen] if chosen else dataset


def member_dim_of(chosen: "xr.Dataset", whole: "xr.Dataset", wanted: str | None) -> str:
    """Return the member dimension of the chosen variables."""
    try:
        return find_member_dim(chosen, wanted)
    except ValueError:
        member = find_member_dim(whole, wanted)
        if member in chosen.dims:
            raise
        names = ", ".join(repr(str(name)) for name in chosen.data_vars)
        raise ValueError(f"variables: {_without(names, member, chosen.dims)}") from None


def _without(names: str, member: str, dims: Any) -> str:
    found = ", ".join(map(str, dims)) or "none"
    return f"{names}: no member dimension {member!r} (dimensions: {found})"


def find_member_dim(dataset: "xr.Dataset", wanted: str | None) -> str:
    """Return the member dimension: the one wanted, or by standard name, or by name."""
    dims = [str(d) for d in dataset.dims]
    if wanted is not None:
        if wanted not in dims:
            raise ValueError(f"member_dim: no dimension {wanted!r}; there are {', '.join(dims)}")
        return wanted
    candidates = _said_to_be_members(dataset)
    named = named_members(dims)
    if not candidates:
        # names decide among dimensions of different variables, not among those of one
        for v in dataset.data_vars.values():
            both = [name for name in named if name in v.dims]
            candidates = both if len(both) > 1 and is_numeric(v) else candidates
        candidates = candidates or named[:1]
    if len(candidates) > 1:
        raise ValueError(
            f"{len(candidates)} dimensions may be that of the members, "
            f"{' and '.join(map(repr, candidates))}; say which by member_dim"
        )
    if candidates:
        return candidates[0]
    found = f"its dimensions are {', '.join(dims)}" if dims else "it has no dimension"
    like = [repr(d) for d in dims if LIKE_MEMBERS.search(d)]
    advice = "rename one to 'member', or give its name to read_ensemble as member_dim"
    advice = f"did you mean {' or '.join(like)}? Give it as member_dim" if like else advice
    single = named_members([str(name) for name, v in dataset.coords.items() if not v.dims])
    if single and not like:
        advice = f"{single[0]!r} is a single value: for single members, give it as member_dim"
    raise ValueError(f"{NO_MEMBERS} ({found}); {advice}")


def named_members(names: Sequence[str]) -> list[str]:
    """Return those of some names that members bear: the usual ones, or else those of other archives."""
    usual = [name for name in MEMBER_NAMES if name in names]
    return usual or [name for name in names if _is_of_members(name)]


def _is_of_members(name: str) -> bool:
    plain = re.sub(r"[\W_]", "", name).lower()
    known = (*MEMBER_NAMES, *OTHER_MEMBER_NAMES)
    return plain in known or plain.removesuffix("s") in known


def _said_to_be_members(dataset: "xr.Dataset") -> list[str]:
    """Return the dimensions whose labels have the standard name of members."""
    labels = [v for v in dataset.variables.values() if v.attrs.get("standard_name") == "realization"]
    return list(dict.fromkeys(str(v.dims[0]) for v in labels if len(v.dims) == 1))


def labels_of(dataset: "xr.Dataset", name: str, variable_dim: str | None, *, prefix: bool) -> list[str]:
    """Return the names of the variables that a data variable holds."""
    if variable_dim is None:
        return [name]
    size = dataset.sizes[variable_dim]
    labels = dataset[variable_dim].to_numpy() if variable_dim in dataset.coords else np.arange(size)
    return [f"{name}_{label}" if prefix else str(label) for label in labels]


def units_of(array: "xr.DataArray", variable_dim: str | None) -> list[str]:
    """Return the units of the variables that a data variable holds."""
    if variable_dim is None:
        return [str(array.attrs.get("units", ""))]
    if "units" in array.coords and array["units"].dims == (variable_dim,):
        return [str(unit) for unit in array["units"].to_numpy()]
    return [str(array.attrs.get("units", ""))] * array.sizes[variable_dim]


def selection(
    names: Sequence[tuple[str, ...]],
    wanted: Sequence[str] | None,
    whole: "xr.Dataset",
    member: str,
) -> list[int]:
    """Return the places of the wanted variables; each place has several names, its own the first."""
    if wanted is None:
        return list(range(len(names)))
    keep: list[int] = []
    for name in wanted:
        found = [k for k, known in enumerate(names) if name in known]
        if not found:
            labels, sources = [n[1] for n in names], [n[2] for n in names]
            labels = list(dict.fromkeys(labels))
            raise ValueError(f"variables: {_why_not(name, labels, sources, whole, member)}")
        keep += [k for k in found if k not in keep]
    return keep


def _why_not(name: str, labels: list[str], sources: list[str], whole: "xr.Dataset", member: str) -> str:
    """Return why a wanted variable cannot be had."""
    if name in whole.data_vars:
        array = whole[name]
        if member in array.dims:
            return f"{name!r} is of type {array.dtype}, not numeric"
        return _without(repr(name), member, array.dims)
    # Those that were not wanted, and so are not among the labels.
    others = [
        str(v) for v, x in whole.data_vars.items() if v not in sources and member in x.dims and is_numeric(x)
    ]
    known = [*labels, *others]
    like = difflib.get_close_matches(name, [*known, *sources], n=1)
    hint = f"; did you mean {like[0]!r}?" if like else ""
    return f"no variable {name!r} of members; there are {', '.join(known)}{hint}"


def case_labels(array: "xr.DataArray", case_dims: Sequence[Any]) -> tuple[str, dict[str, np.ndarray]]:
    """Return the name of the case dimension, and the coordinates that label the cases, or all of them."""
    sizes = [array.sizes[d] for d in case_dims]
    coords = {}
    for name, coord in array.coords.items():
        # a single label is that of all cases
        if not coord.dims and name not in VARIABLE_NAMES and not {*coord.attrs} & OF_THE_GRID:
            coords[str(name)] = np.repeat(coord.to_numpy()[None], int(np.prod(sizes)))
        elif coord.dims and set(coord.dims) <= set(case_dims):
            template = coord.broadcast_like(
                array.isel({d: 0 for d in array.dims if d not in case_dims}, drop=True)
            )
            coords[str(name)] = template.transpose(*case_dims).to_numpy().reshape(int(np.prod(sizes)))
    if len(case_dims) == 1:
        return str(case_dims[0]), coords
    case, taken = "case", {*map(str, array.dims), *map(str, array.coords)} - {*case_dims}
    while case in taken:
        case = f"degmm_{case}"
    return case, coords


def paired_names(names: Sequence[str]) -> list[str]:
    """Return the names that observations of some variables may have."""
    patterns = ("obs_{}", "{}_obs", "observation_{}", "{}_observation")
    return [pattern.format(name) for name in names for pattern in patterns]


def observation_names(
    dataset: "xr.Dataset", name: str, names: Sequence[str], wanted: str | None
) -> list[str]:
    """Return the data variables that by their names may be the observations of ``name``, one of ``names``."""
    usual = OBSERVATION_NAMES if len(names) == 1 else ()
    return [c for c in ([wanted] if wanted else [*paired_names([name]), *usual]) if c in dataset.data_vars]


def observations_of(
    dataset: "xr.Dataset", names: Sequence[str], member: str, wanted: str | None
) -> dict[str, str]:
    """Return the name of the observations of each data variable of members that has them.

    Found by the names observation, observations, obs and verification where there is one variable, and
    by ``obs_NAME``, ``NAME_obs``, ``observation_NAME`` and ``NAME_observation``.
    """
    found: dict[str, str] = {}
    for name in names:
        dims = {*dataset[name].dims} - {member}
        for candidate in observation_names(dataset, name, names, wanted):
            array = dataset[candidate]
            if {*array.dims} == dims and is_numeric(array):
                found[name] = candidate
                break
            if wanted:
                needed = ", ".join(map(str, dims))
                raise ValueError(
                    f"observation: {wanted!r} has the dimensions {', '.join(map(str, array.dims))} and type "
                    f"{array.dtype}; expected numbers with {needed}"
                )
    if wanted and not found:
        known = ", ".join(map(str, dataset.data_vars))
        raise ValueError(f"observation: no variable {wanted!r}; there are {known}")
    return found


def grid_labels(dataset: "xr.Dataset", dims: Sequence[str], places: np.ndarray) -> list[str]:
    """Return labels such as ``[48,0]`` of the points of a grid, by their places (points, dimensions)."""
    if not dims:
        return [""] * len(places)
    axes = [dataset[d].to_numpy() if d in dataset.coords else np.arange(dataset.sizes[d]) for d in dims]
    written = [_written(axis) for axis in axes]
    return ["[" + ",".join(written[j][k] for j, k in enumerate(place)) + "]" for place in places]


def _written(axis: np.ndarray) -> list[str]:
    """Return the places on an axis as text, in short where that tells them apart."""
    short = [f"{v:g}" if axis.dtype.kind == "f" else str(v) for v in axis]
    return short if len({*short}) == len(short) else [str(v) for v in axis.tolist()]
