"""GRIB files, whose messages make a table of dimensions, or several."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

LABELS = ("time", "step", "valid_time")
"""What labels cases where it is a single value, too"""
TELLING = (
    "stepRange",
    "percentileValue",
    "quantile",
    "probabilityType",
    "generatingProcessIdentifier",
    "experimentVersionNumber",
    "marsStream",
    "hdate",
    "wavelength",
    "md5GridSection",
)
"""Keys by which messages may differ that have the same place in a table"""
OF_FILE = ("GRIB_centre", "GRIB_subCentre")
KINDS = ("GRIB_typeOfLevel", "GRIB_stepType", *OF_FILE, "GRIB_gridType")
"""Attributes by which parts of one variable may differ; the second are those of all variables of a part"""
UNNAMED = ("undef", "unknown")


class UnfitError(ValueError):
    """What a sound file holds makes no table."""


def open_grib(path: Path, wanted: Sequence[str] | None) -> tuple["xr.Dataset", list[str]]:
    """Return the variables of a GRIB file in one Dataset, and what is to be said of them.

    Those that are not wanted need not fit the others. Variables at different heights are put side by
    side, and the control run (type cf, number 0) before the perturbed members (pf).

    Raises
    ------
    UnfitError
        If messages would be lost, or the variables have different dimensions.
    """
    arrays: dict[str, list[xr.DataArray]] = {}
    attributes: list[dict[Any, Any]] = []
    for part in _parts(path):
        attributes.append(part.attrs)
        for name, array in part.data_vars.items():
            told = {key: part.attrs[key] for key in OF_FILE if key in part.attrs}
            arrays.setdefault(str(name), []).append(array.assign_attrs({**array.attrs, **told}))
    chosen = [name for name in arrays if wanted is None or name in wanted] or list(arrays)
    notes = _check_none_lost(path, chosen)
    joined = {name: _joined(name, arrays[name]) for name in chosen}
    for array in joined.values():
        for key in OF_FILE:
            array.attrs.pop(key, None)
    dataset, apart = _side_by_side(joined)
    if apart:
        notes.append(f"left out, at other places or times: {', '.join(apart)}")
    return dataset.assign_attrs(attributes[0]), notes


def _parts(path: Path) -> list["xr.Dataset"]:
    """Open a GRIB file, whose messages need not all have the same dimensions."""
    import cfgrib

    # No index is left beside the user's file, and a message that is cut off is told of.
    options = {"indexpath": "", "errors": "raise"}
    logger = logging.getLogger("cfgrib.dataset")
    before = logger.level
    logger.setLevel(logging.CRITICAL)  # what it cannot merge it says with a traceback
    try:
        return cfgrib.open_datasets(str(path), backend_kwargs=options)
    finally:
        logger.setLevel(before)


# --- what would be lost -------------------------------------------------------------------------------


def _check_none_lost(path: Path, names: Sequence[str]) -> list[str]:
    """Raise an error if two messages of these variables have the same place, of which one would be read.

    Messages that are there twice are told of.
    """
    from cfgrib import dataset as layout
    from cfgrib.messages import FileStream

    told = [*layout.GLOBAL_ATTRIBUTES_KEYS, *layout.DATA_ATTRIBUTES_KEYS, *layout.ALL_HEADER_DIMS]
    told += ["time", "step"]
    keys = list(dict.fromkeys([*told, "cfVarName", "shortName", *TELLING]))
    stream = FileStream(str(path), errors="raise")
    index = layout.open_fileindex(stream, indexpath="", index_keys=keys)
    keys = list(index.index_keys)  # in an order of its own
    places: dict[tuple[Any, ...], list[tuple[dict[str, Any], Any]]] = {}
    for values, messages in index.field_ids_index:
        known = dict(zip(keys, values, strict=True))
        if _name_of(known) in names:
            place = tuple(known[key] for key in told)
            places.setdefault(place, []).extend((known, message) for message in messages)
    repeated = 0
    for found in places.values():
        if len(found) > 1 and not _same_values(index, [message for _, message in found]):
            several = [len(place) for place in places.values()]
            raise UnfitError(_lost(sum(several) - len(several), sum(several), [known for known, _ in found]))
        repeated += len(found) - 1
    return [f"{repeated} messages that are there twice were read once"] if repeated else []


def _name_of(known: dict[str, Any]) -> str:
    """Return the name that a message has as a variable."""
    return str(known["shortName"] if known["cfVarName"] in UNNAMED else known["cfVarName"])


def _same_values(index: Any, messages: Sequence[Any]) -> bool:
    first, *others = (np.asarray(index.get_field(message)["values"]) for message in messages)
    return all(np.array_equal(first, other) for other in others)


def _lost(lost: int, total: int, found: Sequence[dict[str, Any]]) -> str:
    """Return what is said of messages that have the same place."""
    name = _name_of(found[0])
    key = next((key for key in TELLING if len({str(known[key]) for known in found}) > 1), None)
    if key is None:
        differ, how = "", "step=24"
    else:
        values = list(dict.fromkeys(str(known[key]) for known in found))
        differ, how = f" ({key} {' and '.join(values[:3])})", f"{key}={values[-1]}"
    return (
        f"{lost} of its {total} messages would be lost, since several of {name} have the same member, time, "
        f"step and level{differ}; split it first, as by grib_copy -w {how} IN OUT"
    )


# --- one table ------------------------------------------------------------------------------------------


def _joined(name: str, pieces: Sequence["xr.DataArray"]) -> "xr.DataArray":
    """Return the parts of one variable, of which each has members of its own, in one."""
    import xarray as xr

    if len(pieces) == 1:
        return pieces[0]
    # number is one label where a control run stands alone
    pieces = [
        p if "number" in p.dims or "number" not in p.coords else p.expand_dims("number") for p in pieces
    ]
    dims = {frozenset(d for d in p.dims if d != "number") for p in pieces}
    why = _difference(pieces)
    members = [n for p in pieces if "number" in p.dims for n in p["number"].to_numpy().tolist()]
    alike = len(dims) == 1 and all("number" in p.dims for p in pieces) and len({*members}) == len(members)
    if not alike or why:
        how = HOW.get(why.partition(" ")[0], "typeOfLevel=surface")
        raise UnfitError(
            f"its messages of {name} do not fit into one table of dimensions{why and f' ({why})'}; split it "
            f"first, as by grib_copy -w {how} IN OUT"
        )
    pieces = sorted(pieces, key=lambda p: int(p["number"].min()))
    try:
        return xr.concat(pieces, dim="number", coords="minimal", compat="override", join="exact")
    except ValueError as error:
        raise UnfitError(
            f"its messages of {name} do not fit into one table of dimensions: the members have different "
            "times, steps or places; choose among the members first, as by grib_copy -w dataType=pf IN OUT"
        ) from error


HOW = {
    "stepType": "stepType=instant",
    "centre": "centre=ecmf",
    "time": "dataDate=20200131",
    "step": "step=24",
}
"""How to split a file, by what its parts differ in"""


def _difference(pieces: Sequence["xr.DataArray"]) -> str:
    """Return in what parts of a variable differ beside their members, with two values of it; else nothing."""
    for key in KINDS:
        values = list(dict.fromkeys(str(p.attrs.get(key, "none")) for p in pieces))
        if len(values) > 1:
            return f"{key.removeprefix('GRIB_')} {' and '.join(values[:3])}"
    for key in dict.fromkeys(str(c) for p in pieces for c, v in p.coords.items() if not v.ndim):
        values = list(dict.fromkeys(_text(p.coords[key]) if key in p.coords else "none" for p in pieces))
        if len(values) > 1:
            return f"{key} {' and '.join(values[:3])}"
    return ""


def _text(label: "xr.DataArray") -> str:
    value = label.to_numpy()
    if value.dtype.kind == "m":
        return f"{value / np.timedelta64(1, 'h'):g}"
    return str(value.astype("M8[m]") if value.dtype.kind == "M" else value)


def _side_by_side(joined: dict[str, "xr.DataArray"]) -> tuple["xr.Dataset", list[str]]:
    """Return variables in one Dataset, and the names of those without members that do not fit the others.

    Raises
    ------
    UnfitError
        If those with members have different dimensions or labels.
    """
    import xarray as xr

    names = [name for name, array in joined.items() if "number" in array.dims] or list(joined)[:1]
    several = len(joined) > 1
    # levels, one a variable, are no coordinates of all
    arrays = {name: _without_levels(joined[name]) if several else joined[name] for name in joined}
    first = arrays[names[0]]
    for name in names[1:]:
        both = first, arrays[name]
        differ = _unlike(*both, [label for a in both for label in (*a.dims, *a.coords)])
        if differ:
            raise UnfitError(
                f"variables: {', '.join(names)} have different dimensions or labels ({differ!r} of "
                f"{names[0]} and {name}); choose among them"
            )
    dataset = xr.Dataset({name: arrays[name] for name in names})
    apart = []
    for name in arrays:
        if name in names:
            continue
        array = arrays[name].drop_vars([c for c, v in arrays[name].coords.items() if not v.ndim])
        if _unlike(array, first, list(array.dims)):
            apart.append(name)
        else:
            dataset[name] = array
    return dataset, apart


def _without_levels(array: "xr.DataArray") -> "xr.DataArray":
    levels = [c for c, v in array.coords.items() if v.ndim == 0 and c not in LABELS]
    return array.reset_coords(levels, drop=True)


def _unlike(one: "xr.DataArray", other: "xr.DataArray", names: Sequence[Any]) -> str:
    """Return the first of some dimensions and coordinates that two arrays do not share; else nothing."""
    for name in dict.fromkeys(names):
        labels = [array.coords[name].variable for array in (one, other) if name in array.coords]
        same = not labels or (len(labels) == 2 and labels[0].equals(labels[1]))
        if (name in one.dims) != (name in other.dims) or not same:
            return str(name)
    return ""
