"""Readers of files and xarray objects into an :class:`Ensemble`."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from degmm.ensembles.ensemble import Ensemble

if TYPE_CHECKING:
    import xarray as xr

MEMBER_NAMES = ("realization", "number", "member", "ensemble", "ens", "sample")
VARIABLE_NAMES = ("variable", "var", "feature")


def read_ensemble(
    path: str | Path, *, variables: Sequence[str] | None = None, member_dim: str | None = None
) -> Ensemble:
    """Read ensembles from a NetCDF file with a member dimension.

    Parameters
    ----------
    path : str or Path
        A NetCDF-4 file, or one in the classic format (NetCDF-3).
    variables : sequence of str, optional
        Which variables to keep, in this order, by name: data variables, or labels along a
        ``variable`` dimension. By default all that have the member dimension.
    member_dim : str, optional
        Name of the member dimension. By default the dimension whose coordinate has
        ``standard_name="realization"``, then the first of the names realization, number, member,
        ensemble, ens, sample.

    Returns
    -------
    Ensemble
        Its ``notes`` say what was decided.

    Raises
    ------
    ValueError
        If the file is not there, is not NetCDF, or has no member dimension.

    Notes
    -----
    In a file the order of dimensions is a matter of storage, so their names decide: the variables are
    the data variables, and the labels of a dimension ``variable``, ``var`` or ``feature``; all
    dimensions but this and that of the members run over the cases, in the order in which they are
    stored.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: no such file")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, expected a NetCDF file")
    xr = _import_xarray()
    try:
        dataset = xr.open_dataset(path, engine=_engine_of(path))
    except Exception as error:  # h5py and xarray raise many types for a bad file
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: not a readable NetCDF file ({type(error).__name__})") from error
    with dataset:
        try:
            return from_dataset(dataset, variables=variables, member_dim=member_dim)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        except (OSError, RuntimeError) as error:  # what h5py raises for damaged data
            raise ValueError(f"{path}: cannot be read ({error})") from error


def from_dataarray(array: Any, *, member_dim: str | None = None, name: str = "X") -> Ensemble:
    """Turn a DataArray with a member dimension into an :class:`Ensemble`.

    Dimensions are read by their names, as :func:`read_ensemble` does. Where this contradicts how the
    same values are read as a NumPy array (n, M, D), nothing is guessed: of three dimensions, the last
    must be named ``variable`` if it follows that of the members. An array of members alone is one case.

    Parameters
    ----------
    array : xarray.DataArray
    member_dim : str, optional
        As in :func:`read_ensemble`.
    name : str
        Name of the argument, for messages.

    Raises
    ------
    ValueError
        If ``array`` is another object of xarray's, such as a Dataset, or cannot be read.
    """
    import xarray as xr

    if not isinstance(array, xr.DataArray):
        several = f"pass one of its variables, such as {name}['t2m'], or {name}.to_dataarray('variable')"
        raise ValueError(
            f"{name}: expected a DataArray, got a {type(array).__name__}; "
            f"{several if isinstance(array, xr.Dataset) else 'convert it'}"
        )
    variable = str(array.name) if array.name and array.name not in {*array.dims, *array.coords} else "value"
    dataset = array.to_dataset(name=variable)
    try:
        member, last = _find_member_dim(dataset, member_dim), str(array.dims[-1])
        like_numpy = array.ndim == 3 and array.dims[1] == member and array.shape[2] > 1
        if like_numpy and not {*array.dims} & {*VARIABLE_NAMES}:
            raise ValueError(
                f"dimension {last!r} follows that of the members, {member!r}: if it holds variables, rename "
                f"it to 'variable'; if it holds cases, transpose it to the front"
            )
        if not {*map(str, array.dims)} - {member, *VARIABLE_NAMES}:
            dataset = dataset.expand_dims("case")
        return from_dataset(dataset, member_dim=member_dim)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def from_dataset(
    dataset: "xr.Dataset", *, variables: Sequence[str] | None = None, member_dim: str | None = None
) -> Ensemble:
    """Turn a Dataset with a member dimension into an :class:`Ensemble`.

    The data variables that have the member dimension become variables, as do the labels of a
    dimension named ``variable``; the remaining dimensions become cases.
    """
    wanted = [variables] if isinstance(variables, str) else variables
    whole, dataset = dataset, _chosen(dataset, wanted)
    member = _member_dim_of(dataset, whole, member_dim)
    names = [name for name, v in dataset.data_vars.items() if member in v.dims and _is_numeric(v)]
    if not names:
        raise ValueError(f"no numeric variable has the member dimension {member!r}")
    shapes = {tuple(sorted(map(str, dataset[name].dims))) for name in names}
    if len(shapes) > 1:
        raise ValueError(
            f"variables: {', '.join(map(str, names))} have different dimensions; choose among them"
        )
    variable_dim = next((d for d in VARIABLE_NAMES if d in dataset[names[0]].dims), None)
    case_dims = [d for d in dataset[names[0]].dims if d not in (member, variable_dim)]
    if not case_dims:
        raise ValueError(f"only the dimension {member!r} of members: there is nothing to cluster")

    arrays: list[np.ndarray] = []
    labels: list[str] = []
    sources: list[str] = []
    units: list[str] = []
    for name in names:
        array = dataset[name].transpose(*case_dims, member, *([variable_dim] if variable_dim else []))
        values = array.to_numpy()
        arrays.append(values if variable_dim else values[..., None])
        labels += _labels_of(dataset, str(name), variable_dim, prefix=len(names) > 1)
        sources += [str(name)] * (len(labels) - len(sources))
        units += _units_of(array, variable_dim)
    values = np.concatenate(arrays, axis=-1)
    values = values.reshape(-1, *values.shape[-2:])
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    keep = _selection(labels, sources, wanted, whole, member)
    case_dim, coords = _case_labels(dataset[names[0]], case_dims)
    notes = [f"members along {member!r}", f"cases along {' × '.join(map(repr, map(str, case_dims)))}"]
    if len(keep) < len(labels):
        notes.append(f"{len(keep)} of {len(labels)} variables kept")
    return Ensemble(
        values=values[..., keep],
        variables=tuple(labels[k] for k in keep),
        units=tuple(units[k] for k in keep),
        case_dim=case_dim,
        coords=coords,
        notes=tuple(notes),
    )


def _import_xarray() -> Any:
    try:
        import h5netcdf  # noqa: F401
        import xarray
    except ImportError as error:
        raise ImportError("reading files needs xarray and h5netcdf: pip install 'degmm[files]'") from error
    return xarray


def _is_numeric(array: "xr.DataArray") -> bool:
    return array.dtype.kind in "fiu"


def _engine_of(path: Path) -> str:
    """Return xarray's engine for a file, by its first bytes."""
    with path.open("rb") as file:
        start = file.read(4)
    if start in (b"CDF\x01", b"CDF\x02"):
        return "scipy"
    for first, kind, command in (
        (b"CDF\x05", "NetCDF-3 with 64-bit data", "nccopy -k nc4"),
        (b"GRIB", "GRIB", "cdo -f nc4 copy"),
    ):
        if start == first:
            raise ValueError(f"{path}: is {kind}; convert it to NetCDF-4 first, as by {command} IN OUT")
    return "h5netcdf"


def _chosen(dataset: "xr.Dataset", wanted: Sequence[str] | None) -> "xr.Dataset":
    """Return the data variables that ``wanted`` may mean, so that the others need not fit them."""
    if wanted is None:
        return dataset
    chosen = [name for name in dataset.data_vars if name in wanted]
    if len(chosen) < len(set(wanted)):  # the others must be labels along a dimension of variables
        labelled = [name for name, v in dataset.data_vars.items() if {*v.dims} & {*VARIABLE_NAMES}]
        chosen += [name for name in labelled if name not in chosen]
    return dataset[chosen] if chosen else dataset


def _member_dim_of(chosen: "xr.Dataset", whole: "xr.Dataset", wanted: str | None) -> str:
    """Return the member dimension of the chosen variables."""
    try:
        return _find_member_dim(chosen, wanted)
    except ValueError:
        member = _find_member_dim(whole, wanted)
        if member in chosen.dims:
            raise
        names = ", ".join(repr(str(name)) for name in chosen.data_vars)
        raise ValueError(f"variables: {_without(names, member, chosen.dims)}") from None


def _without(names: str, member: str, dims: Any) -> str:
    found = ", ".join(map(str, dims)) or "none"
    return f"{names}: no member dimension {member!r} (dimensions: {found})"


def _find_member_dim(dataset: "xr.Dataset", wanted: str | None) -> str:
    dims = [str(d) for d in dataset.dims]
    if wanted is not None:
        if wanted not in dims:
            raise ValueError(f"member_dim: no dimension {wanted!r}; there are {', '.join(dims)}")
        return wanted
    for dim in dims:
        if dim in dataset.coords and dataset[dim].attrs.get("standard_name") == "realization":
            return dim
    for name in MEMBER_NAMES:
        if name in dims:
            return name
    found = f"its dimensions are {', '.join(dims)}" if dims else "it has no dimension"
    raise ValueError(
        f"no member dimension found ({found}); rename one to 'member', or give its name to read_ensemble "
        f"as member_dim"
    )


def _labels_of(dataset: "xr.Dataset", name: str, variable_dim: str | None, *, prefix: bool) -> list[str]:
    if variable_dim is None:
        return [name]
    size = dataset.sizes[variable_dim]
    labels = dataset[variable_dim].to_numpy() if variable_dim in dataset.coords else np.arange(size)
    return [f"{name}_{label}" if prefix else str(label) for label in labels]


def _units_of(array: "xr.DataArray", variable_dim: str | None) -> list[str]:
    if variable_dim is None:
        return [str(array.attrs.get("units", ""))]
    if "units" in array.coords and array["units"].dims == (variable_dim,):
        return [str(unit) for unit in array["units"].to_numpy()]
    return [str(array.attrs.get("units", ""))] * array.sizes[variable_dim]


def _selection(
    labels: list[str], sources: list[str], wanted: Sequence[str] | None, whole: "xr.Dataset", member: str
) -> list[int]:
    """Return the places of the wanted labels; a data variable's name stands for all of its labels."""
    if wanted is None:
        return list(range(len(labels)))
    keep: list[int] = []
    for name in wanted:
        found = [k for k, named in enumerate(zip(labels, sources, strict=True)) if name in named]
        if not found:
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
        str(v) for v, x in whole.data_vars.items() if v not in sources and member in x.dims and _is_numeric(x)
    ]
    known = [*labels, *others]
    like = difflib.get_close_matches(name, [*known, *sources], n=1)
    hint = f"; did you mean {like[0]!r}?" if like else ""
    return f"no variable {name!r} of members; there are {', '.join(known)}{hint}"


def _case_labels(array: "xr.DataArray", case_dims: list[Any]) -> tuple[str, dict[str, np.ndarray]]:
    """Return the name of the case dimension and the coordinates that run along cases alone."""
    sizes = [array.sizes[d] for d in case_dims]
    coords = {}
    for name, coord in array.coords.items():
        if coord.dims and set(coord.dims) <= set(case_dims):
            template = coord.broadcast_like(
                array.isel({d: 0 for d in array.dims if d not in case_dims}, drop=True)
            )
            coords[str(name)] = template.transpose(*case_dims).to_numpy().reshape(int(np.prod(sizes)))
    return (str(case_dims[0]) if len(case_dims) == 1 else "case"), coords
