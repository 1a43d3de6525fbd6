"""Groups of a NetCDF-4 or Zarr file: folders of variables within it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from degmm.ensembles.grib import UnfitError
from degmm.ensembles.summary import some
from degmm.memory import check_amount

if TYPE_CHECKING:
    import xarray as xr


NO_VALUES = "This is a netCDF dimension but not a netCDF variable"
"""How a dimension without a coordinate is marked, which has a size, but no values"""


def in_netcdf(path: Path) -> list[str]:
    """Return the groups of a NetCDF-4 file that hold variables, the root not among them."""
    import h5py

    found: list[str] = []

    def note(name: str, part: Any) -> None:
        group = name.rpartition("/")[0]
        if group and group not in found and isinstance(part, h5py.Dataset) and part.ndim:
            found.append(group)

    with h5py.File(path) as file:
        file.visititems(note)
    return found


def check_sizes(path: Path) -> None:
    """See that what may be a coordinate, which is read when a NetCDF-4 file is opened, fits in memory.

    Raises
    ------
    UnfitError
        If not.
    """
    import h5py

    def check(name: str, part: Any) -> None:
        if isinstance(part, h5py.Dataset) and part.ndim == 1 and NO_VALUES not in str(part.attrs.get("NAME")):
            size, stored = part.size * max(part.dtype.itemsize, 8), part.id.get_storage_size()
            try:
                check_amount(f"{name!r}", size, stored, "write the file again")
            except ValueError as error:
                raise UnfitError(str(error)) from error

    with h5py.File(path) as file:
        file.visititems(check)


def in_zarr(store: Any, root: str | None) -> list[str]:
    """Return the groups below ``root`` of a Zarr store that hold arrays."""
    import zarr

    members = zarr.open_group(store, path=root, mode="r").members(max_depth=None)
    arrays = [name for name, part in members if isinstance(part, zarr.Array)]
    return sorted({group for name in arrays if (group := name.rpartition("/")[0])})


def chosen(wanted: str | None, groups: Callable[[], list[str]], dataset: "xr.Dataset") -> str | None:
    """Return the group to read: that which is wanted, or the only one where the root has no variables.

    None stands for the root, whose ``dataset`` it is; ``groups`` lists the others.

    Raises
    ------
    ValueError
        If there is no such group, or there are several.
    """
    if wanted is None and dataset.data_vars:
        return None
    known = groups()
    if wanted is not None:
        name = wanted.strip("/")
        if name and name not in known:
            there = f"there are {some(known)}" if known else "there are none"
            raise ValueError(f"group: no group {wanted!r} with variables; {there}")
        return name or None
    if len(known) > 1:
        raise ValueError(f"its variables lie in groups, {some(known)}; choose one, as group={known[0]!r}")
    return known[0] if known else None


def with_coordinates_above(
    dataset: "xr.Dataset", group: str, open_group: Callable[[str | None], "xr.Dataset"]
) -> "xr.Dataset":
    """Return the Dataset of a group with the coordinates of the groups that it lies in, as CF has them."""
    parts = group.split("/")[:-1]
    for depth in range(len(parts), -1, -1):
        with open_group("/".join(parts[:depth]) or None) as above:
            dataset = dataset.assign_coords(
                {
                    name: coord.variable.compute()
                    for name, coord in above.coords.items()
                    if name not in dataset.variables
                    and all(dataset.sizes.get(d) == size for d, size in coord.sizes.items())
                }
            )
    return dataset
