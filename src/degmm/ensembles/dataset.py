"""From xarray objects to an :class:`Ensemble`."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from degmm.ensembles.arrays import as_floats
from degmm.ensembles.doubts import with_labels_told
from degmm.ensembles.ensemble import Ensemble
from degmm.ensembles.layout import Layout, empty_like
from degmm.ensembles.missing import told_of, without_codes, without_marked
from degmm.ensembles.names import (
    NAMELESS,
    VARIABLE_NAMES,
    case_labels,
    find_member_dim,
    grid_labels,
    labels_of,
    selection,
    units_of,
)
from degmm.ensembles.roles import Roles, settled, with_single_member
from degmm.ensembles.times import undated
from degmm.ensembles.units import check_units
from degmm.memory import check_amount

if TYPE_CHECKING:
    import xarray as xr


def from_xarray(data: Any, *, name: str = "X", **options: Any) -> Ensemble:
    """Turn a Dataset or a DataArray with a member dimension into an :class:`Ensemble`."""
    import xarray as xr

    if isinstance(data, xr.Dataset):
        found = from_dataset(data, **options)
        return found if options.get("variables") is not None else with_labels_told(found)
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
    dataset = with_single_member(array.to_dataset(name=variable), options.get("member_dim"))
    try:
        member, last = find_member_dim(dataset, options.get("member_dim")), str(("", *array.dims)[-1])
        like_numpy = array.ndim == 3 and array.dims[1] == member and array.shape[2] > 1
        named = {*VARIABLE_NAMES, *(options.get("feature_dims") or ())}
        if like_numpy and not {*map(str, array.dims)} & named:
            raise ValueError(
                f"dimension {last!r} follows that of the members, {member!r}: if it holds variables, rename "
                f"it to 'variable'; if it holds cases, transpose it to the front"
            )
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return dataset, options


def from_dataset(
    dataset: "xr.Dataset",
    *,
    variables: Sequence[str] | None = None,
    member_dim: str | None = None,
    feature_dims: Sequence[str] | None = None,
    control: Any = None,
    observation: str | None = None,
    keep_absent: bool = False,
    missing: Sequence[float] = (),
    notes: Sequence[str] = (),
) -> Ensemble:
    """Turn a Dataset with a member dimension into an :class:`Ensemble`.

    The data variables that have the member dimension become variables, as do the labels of a
    dimension named ``variable`` and the points of ``feature_dims``; the remaining dimensions become cases.
    Grid points without any value are left out, unless ``keep_absent``. What is out of the valid range that
    the file gives is missing, and so are the numbers ``missing``. ``notes`` come before those that say what
    was decided.
    """
    wanted = [variables] if isinstance(variables, str) else variables
    dataset, roles = settled(dataset, wanted, member_dim, feature_dims, observation)
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
    invalid = sum(block.invalid for block in blocks)
    values = as_floats(
        np.concatenate([b.values for b in blocks], axis=-1) if len(blocks) > 1 else blocks[0].values
    )
    values, gone = without_codes(values, missing) if missing else (values, 0)
    keep = selection(known, wanted, whole, member)
    numbers = np.concatenate([np.insert(places, 0, k, axis=1) for k in range(len(names))])
    inner_places = tuple(np.unique(numbers[keep, 1 + k]) for k in range(len(inner)))
    said = [*notes, f"members along {member!r}", f"cases along {' × '.join(map(repr, case_dims))}"]
    if grid:
        said.append(f"variables along {' × '.join(map(repr, grid))}")
        absent = np.isnan(values[..., keep]).all(axis=(0, 1))
        if absent.any() and not absent.all() and not keep_absent:  # such as land in a field of the sea
            keep = [k for k, empty in zip(keep, absent, strict=True) if not empty]
            said.append(f"{int(absent.sum())} grid points without any value left out")
    if len(keep) < len(known) and wanted is not None:
        said.append(f"{len(keep)} of {len(known)} variables kept")
    observations, unseen = None, 0
    if observed:
        _check_units(roles)
        none = Block(np.full((values.shape[0], len(places)), np.nan), 0)
        blocks = [_block(whole[observed[n]], case_dims, (), inner) if n in observed else none for n in names]
        invalid += sum(block.invalid for block in blocks)
        observations = np.concatenate([b.values for b in blocks], axis=-1).astype(np.float64)[:, keep]
        observations, unseen = without_codes(observations, missing) if missing else (observations, 0)
        said.append(f"observations in {', '.join(map(repr, dict.fromkeys(observed.values())))}")
    said += [told_of(missing, gone, unseen)] if missing else []
    said += [f"missing, as the file says of such values: {invalid} values"] if invalid else []
    used = {*names, *observed.values()}
    if wanted is None:
        others = [str(n) for n, v in whole.data_vars.items() if n not in used and member not in v.dims]
        texts = [f"{n} ({v.dtype})" for n, v in whole.data_vars.items() if n not in used and member in v.dims]
        said += [f"left out, without members: {', '.join(others)}"] if others else []
        said += [f"left out, no numbers: {', '.join(texts)}"] if texts else []
    case_dim, coords = case_labels(dataset[names[0]], case_dims)
    said += undated(coords)
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
        notes=tuple(said),
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


class Block(NamedTuple):
    """Values of a data variable."""

    values: np.ndarray
    """(n, M, d), or (n, d) without members"""
    invalid: int
    """Number of values that are NaN since the file says that they are none"""


def _check_units(roles: Roles) -> None:
    """Raise an error where observations say that they are in another unit than their members."""
    for name, seen in roles.observed.items():
        variables = labels_of(roles.dataset, name, roles.variable_dim, prefix=len(roles.names) > 1)
        arrays = roles.dataset[name], roles.whole[seen]
        members, observed = (units_of(array, roles.variable_dim) for array in arrays)
        check_units(f"observation: {seen!r}", variables, members, observed)


def _block(
    array: "xr.DataArray", case_dims: Sequence[str], member: tuple[str, ...], inner: Sequence[str]
) -> Block:
    """Return the values of cases, members and what runs over variables."""
    # only what is wanted is read, and a damaged file shows itself here
    values = _read(array).transpose(*case_dims, *member, *inner).to_numpy()
    n = int(np.prod(values.shape[: len(case_dims)]))
    values, invalid = without_marked(values, array.encoding)
    return Block(values.reshape(n, *values.shape[len(case_dims) : len(case_dims) + len(member)], -1), invalid)


def _part(array: "xr.DataArray | None", case_dims: Sequence[str]) -> np.ndarray | None:
    """Return the weights or the context of the cases, if they are there."""
    if array is None:
        return None
    missing = [d for d in case_dims if d not in array.dims]
    if missing:
        raise ValueError(f"{array.name!r} has no dimension {missing[0]!r} of the cases")
    columns = [str(d) for d in array.dims if d not in case_dims]
    block = _block(array, case_dims, (), columns).values.astype(np.float64)
    return block if columns else block[:, 0]


def _read(array: Any) -> Any:
    """Return what was read from a file, be it an array or a Dataset.

    Raises
    ------
    ValueError
        If it cannot be read: each program raises what it likes then.
    """
    source = array.encoding.get("source")
    stored = os.path.getsize(source) if isinstance(source, str) and os.path.isfile(source) else None
    check_amount(_named(array), array.nbytes, stored, "take fewer variables, or chunks=… to read it by parts")
    try:
        return array.compute()  # a Dataset of the user's stays as it is
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"{_named(array)} cannot be read ({type(error).__name__}: {error})") from error


def _named(array: Any) -> str:
    name = getattr(array, "name", None)
    return "the coordinates" if name is None else f"the values of {name!r}"
