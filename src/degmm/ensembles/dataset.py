"""From xarray objects to an :class:`Ensemble`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from degmm.ensembles.arrays import as_floats
from degmm.ensembles.ensemble import Ensemble
from degmm.ensembles.layout import Layout, empty_like
from degmm.ensembles.names import (
    NAMELESS,
    ROLE,
    VARIABLE_NAMES,
    case_labels,
    check_units,
    chosen_arrays,
    find_member_dim,
    grid_labels,
    is_numeric,
    labels_of,
    member_dim_of,
    observations_of,
    selection,
    units_of,
)
from degmm.ensembles.times import undated

if TYPE_CHECKING:
    import xarray as xr


def from_xarray(data: Any, *, name: str = "X", **options: Any) -> Ensemble:
    """Turn a Dataset or a DataArray with a member dimension into an :class:`Ensemble`."""
    import xarray as xr

    if isinstance(data, xr.Dataset):
        return from_dataset(data, **options)
    return from_dataarray(data, name=name, **options)


def from_dataarray(array: Any, *, name: str = "X", **options: Any) -> Ensemble:
    """Turn a DataArray with a member dimension into an :class:`Ensemble`.

    Dimensions are read by their names, as :func:`degmm.read_ensemble` does. Where this contradicts how the
    same values are read as a NumPy array (n, M, D), nothing is guessed: of three dimensions, the last
    must be named ``variable`` if it follows that of the members. An array of members alone is one case.

    Parameters
    ----------
    array : xarray.DataArray
    name : str
        Name of the argument, for messages.
    **options
        ``member_dim``, ``feature_dims`` and ``control``, as in :func:`degmm.read_ensemble`.

    Raises
    ------
    ValueError
        If ``array`` is another object of xarray's, such as a Dataset, or cannot be read.
    """
    dataset, options = dataset_of(array, name, options)
    try:
        return from_dataset(dataset, **options)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def dataset_of(array: Any, name: str, options: dict[str, Any]) -> tuple["xr.Dataset", dict[str, Any]]:
    """Return a DataArray as a Dataset that :func:`from_dataset` reads, having checked its dimensions."""
    import xarray as xr

    if not isinstance(array, xr.DataArray):
        several = f"pass one of its variables, such as {name}['t2m'], or Ensemble.from_xarray({name})"
        raise ValueError(
            f"{name}: expected a DataArray, got a {type(array).__name__}; "
            f"{several if isinstance(array, xr.Dataset) else 'convert it'}"
        )
    taken = {*array.dims, *array.coords}
    variable = str(array.name) if array.name and array.name not in taken else NAMELESS
    dataset = array.to_dataset(name=variable)
    try:
        member, last = find_member_dim(dataset, options.get("member_dim")), str(array.dims[-1])
        like_numpy = array.ndim == 3 and array.dims[1] == member and array.shape[2] > 1
        named = {*VARIABLE_NAMES, *(options.get("feature_dims") or ())}
        if like_numpy and not {*map(str, array.dims)} & named:
            raise ValueError(
                f"dimension {last!r} follows that of the members, {member!r}: if it holds variables, rename "
                f"it to 'variable'; if it holds cases, transpose it to the front"
            )
        if not {*map(str, array.dims)} - {member, *VARIABLE_NAMES}:
            dataset = dataset.expand_dims("case")
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return dataset, options


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


def roles_of(
    dataset: "xr.Dataset",
    wanted: Sequence[str] | None,
    member_dim: str | None,
    feature_dims: Sequence[str] | None,
    observation: str | None,
) -> Roles:
    """Return what the dimensions and variables of a Dataset are; no values are read."""
    roles = {str(v.attrs[ROLE]): name for name, v in dataset.data_vars.items() if ROLE in v.attrs}
    parts = {role: dataset[name] for role, name in roles.items() if role in ("weights", "context")}
    whole = dataset.drop_vars([part.name for part in parts.values()])
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
    if not case_dims:
        raise ValueError(f"only the dimension {member!r} of members: there is nothing to cluster")
    return Roles(whole, dataset, parts, member, observed, names, grid, variable_dim, case_dims)


def from_dataset(
    dataset: "xr.Dataset",
    *,
    variables: Sequence[str] | None = None,
    member_dim: str | None = None,
    feature_dims: Sequence[str] | None = None,
    control: Any = None,
    observation: str | None = None,
    keep_absent: bool = False,
) -> Ensemble:
    """Turn a Dataset with a member dimension into an :class:`Ensemble`.

    The data variables that have the member dimension become variables, as do the labels of a
    dimension named ``variable`` and the points of ``feature_dims``; the remaining dimensions become cases.
    Grid points without any value are left out, unless ``keep_absent``.
    """
    wanted = [variables] if isinstance(variables, str) else variables
    roles = roles_of(dataset, wanted, member_dim, feature_dims, observation)
    whole, dataset, parts, member, observed, names, grid, variable_dim, case_dims = roles
    inner = roles.inner
    places = np.argwhere(np.ones([dataset.sizes[d] for d in inner], bool))
    points = grid_labels(dataset, grid, places[:, len(inner) - len(grid) :])
    known: list[tuple[str, ...]] = []
    units: list[str] = []
    for name in names:
        bases = labels_of(dataset, name, variable_dim, prefix=len(names) > 1)
        each = len(points) // len(bases)
        of_each = units_of(dataset[name], variable_dim)
        for k, point in enumerate(points):
            known.append((bases[k // each] + point, bases[k // each], name))
            units.append(of_each[k // each])
    blocks = [_block(dataset[name], case_dims, (member,), inner) for name in names]
    values = as_floats(np.concatenate(blocks, axis=-1) if len(blocks) > 1 else blocks[0])
    keep = selection(known, wanted, whole, member)
    numbers = np.concatenate([np.insert(places, 0, k, axis=1) for k in range(len(names))])
    inner_places = tuple(np.unique(numbers[keep, 1 + k]) for k in range(len(inner)))
    notes = [f"members along {member!r}", f"cases along {' × '.join(map(repr, case_dims))}"]
    if grid:
        notes.append(f"variables along {' × '.join(map(repr, grid))}")
        absent = np.isnan(values[..., keep]).all(axis=(0, 1))
        if absent.any() and not absent.all() and not keep_absent:  # such as land in a field of the sea
            keep = [k for k, gone in zip(keep, absent, strict=True) if not gone]
            notes.append(f"{int(absent.sum())} grid points without any value left out")
    if len(keep) < len(known) and wanted is not None:
        notes.append(f"{len(keep)} of {len(known)} variables kept")
    observations = None
    if observed:
        _check_units(roles)
        gone = np.full((values.shape[0], len(places)), np.nan)
        observations = np.concatenate(
            [_block(whole[observed[n]], case_dims, (), inner) if n in observed else gone for n in names],
            axis=-1,
        ).astype(np.float64)[:, keep]
        notes.append(f"observations in {', '.join(map(repr, dict.fromkeys(observed.values())))}")
    used = {*names, *observed.values()}
    others = [str(n) for n in whole.data_vars if n not in used]
    if wanted is None:
        notes += _left_out(whole[others])
    case_dim, coords = case_labels(dataset[names[0]], case_dims)
    notes += undated(coords)
    template = whole.drop_vars([n for n in whole.data_vars if n in used or wanted is not None])
    sizes = tuple(dataset.sizes[d] for d in case_dims)
    has_labels = member in dataset.coords
    data = Ensemble(
        values=values if keep == list(range(len(known))) else values[..., keep],
        variables=tuple(known[k][0] for k in keep),
        units=tuple(units[k] for k in keep),
        case_dim=case_dim,
        coords=coords,
        members=dataset[member].to_numpy() if has_labels else None,
        observations=observations,
        weights=_part(parts.get("weights"), case_dims),
        context=_part(parts.get("context"), case_dims),
        notes=tuple(notes),
        layout=Layout(
            template=_read(template),
            arrays={name: empty_like(dataset[name]) for name in names},
            case_dims=tuple(case_dims),
            sizes=sizes,
            member_dim=member,
            cases=np.indices(sizes).reshape(len(sizes), -1).T,
            members=np.arange(dataset.sizes[member]),
            features=numbers[keep],
            inner_dims=inner,
            inner_places=inner_places,
            observations={name: (o, empty_like(whole[o])) for name, o in observed.items()},
        ),
    )
    return data if control is None else data.drop_control(control)


def _members_arrays(dataset: "xr.Dataset", member: str) -> list[str]:
    return [str(name) for name, v in dataset.data_vars.items() if member in v.dims and is_numeric(v)]


def _check_units(roles: Roles) -> None:
    """Raise an error where observations say that they are in another unit than their members."""
    for name, seen in roles.observed.items():
        variables = labels_of(roles.dataset, name, roles.variable_dim, prefix=len(roles.names) > 1)
        arrays = roles.dataset[name], roles.whole[seen]
        members, observed = (units_of(array, roles.variable_dim) for array in arrays)
        check_units(f"observation: {seen!r}", variables, members, observed)


def _left_out(others: "xr.Dataset") -> list[str]:
    """Return notes on the variables that are none of members, and why."""
    alone = [str(name) for name, v in others.data_vars.items() if is_numeric(v)]
    typed = [f"{n} ({v.dtype})" for n, v in others.data_vars.items() if not is_numeric(v)]
    notes = [f"left out, without members: {', '.join(alone)}"] if alone else []
    return [*notes, f"left out, no numbers: {', '.join(typed)}"] if typed else notes


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


def _block(
    array: "xr.DataArray", case_dims: Sequence[str], member: tuple[str, ...], inner: Sequence[str]
) -> np.ndarray:
    """Return values as (n, M, d), or (n, d) without members."""
    # only what is wanted is read, and a damaged file shows itself here
    values = _read(array).transpose(*case_dims, *member, *inner).to_numpy()
    n = int(np.prod(values.shape[: len(case_dims)]))
    return values.reshape(n, *values.shape[len(case_dims) : len(case_dims) + len(member)], -1)


def _part(array: "xr.DataArray | None", case_dims: Sequence[str]) -> np.ndarray | None:
    """Return the weights or the context of the cases, if they are there."""
    if array is None:
        return None
    missing = [d for d in case_dims if d not in array.dims]
    if missing:
        raise ValueError(f"{array.name!r} has no dimension {missing[0]!r} of the cases")
    columns = [str(d) for d in array.dims if d not in case_dims]
    block = _block(array, case_dims, (), columns).astype(np.float64)
    return block if columns else block[:, 0]


def _read(array: Any) -> Any:
    """Return what was read from a file, be it an array or a Dataset.

    Raises
    ------
    ValueError
        If it cannot be read: each program raises what it likes then.
    """
    try:
        return array.load()
    except MemoryError:
        raise
    except Exception as error:
        name = getattr(array, "name", None)
        what = "the coordinates" if name is None else f"the values of {name!r}"
        raise ValueError(f"{what} cannot be read ({type(error).__name__}: {error})") from error
