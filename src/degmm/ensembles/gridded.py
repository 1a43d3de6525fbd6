"""Files of dimensions that xarray opens: NetCDF, Zarr and GRIB."""

import warnings
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from degmm.ensembles import groups
from degmm.ensembles.decoding import decoded
from degmm.ensembles.grib import UnfitError, open_grib
from degmm.ensembles.messages import check_messages
from degmm.ensembles.names import first_line

if TYPE_CHECKING:
    import xarray as xr

KINDS = {"scipy": "NetCDF", "h5netcdf": "NetCDF", "zarr": "Zarr", "cfgrib": "GRIB"}
"""What is read by which of xarray's engines"""
ZARR_ROOTS = ("zarr.json", ".zgroup", ".zmetadata")
"""Files that a folder of Zarr holds one of"""


class Opened(NamedTuple):
    """A file, opened."""

    dataset: "xr.Dataset"
    notes: tuple[str, ...]
    """What is to be said of it, one sentence each"""
    groups: Callable[[], list[str]] = list
    """Lists the groups of the file that were not read"""


class Store(NamedTuple):
    """A file of groups: what lists them, and what opens one."""

    groups: Callable[[], list[str]]
    open: Callable[[str | None], tuple["xr.Dataset", list[str]]]


def open_dataset(
    path: Path,
    engine: str,
    chunks: Any = None,
    *,
    group: str | None = None,
    wanted: Sequence[str] | None = None,
) -> Opened:
    """Open a file with xarray; with ``chunks``, on Dask arrays.

    Parameters
    ----------
    path : Path
    engine : str
        A key of :data:`KINDS`.
    chunks : optional
        As ``xarray.open_dataset`` takes them.
    group : str, optional
        Group of a NetCDF-4 or Zarr file to read; by default the root, or the only group where the root
        has no variables.
    wanted : sequence of str, optional
        Variables without which the others of a GRIB file need not be read.

    Raises
    ------
    ImportError
        If a package is not there.
    ValueError
        If the file is damaged, or is no such file.
    """
    _check_packages(path, engine)
    kind = KINDS[engine]
    if engine == "cfgrib":
        check_messages(path)
    if group is not None and engine not in ("h5netcdf", "zarr"):
        what = "GRIB" if engine == "cfgrib" else "NetCDF-3"
        raise ValueError(f"group: a {what} file has no groups; leave it out")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            if engine == "cfgrib":
                dataset, notes = open_grib(path, wanted)
                return Opened(dataset, tuple(notes))
            import xarray as xr

            if engine == "scipy":
                dataset, notes = decoded(partial(xr.open_dataset, path, engine=engine, chunks=chunks))
                return Opened(dataset, tuple(notes))
            store = _zarr(path, chunks) if engine == "zarr" else _netcdf(path, chunks)
            return _of_group(store, group)
    except (MemoryError, UnfitError):
        raise
    except Exception as error:  # h5py, zarr, eccodes and xarray raise many types for a bad file
        raise ValueError(
            f"not a readable {kind} file; write or fetch it again ({type(error).__name__}: "
            f"{first_line(error)})"
        ) from error


def groups_of(path: Path, engine: str) -> list[str]:
    """Return the groups of a NetCDF-4 or Zarr file that hold variables, the root not among them."""
    _check_packages(path, engine)
    return (_zarr(path, None) if engine == "zarr" else _netcdf(path, None)).groups()


def _of_group(store: Store, wanted: str | None) -> Opened:
    """Open the root of a file, or one of its groups."""
    dataset, notes = store.open(None)
    try:
        name = groups.chosen(wanted, store.groups, dataset)
    except ValueError as error:
        raise UnfitError(str(error)) from error
    if name is None:
        return Opened(dataset, tuple(notes), store.groups)
    dataset.close()
    dataset, notes = store.open(name)
    dataset = groups.with_coordinates_above(dataset, name, lambda above: store.open(above)[0])
    return Opened(dataset, (f"group {name!r}", *notes))


def _netcdf(path: Path, chunks: Any) -> Store:
    import xarray as xr

    def open_group(name: str | None) -> tuple["xr.Dataset", list[str]]:
        # of an HDF5 file without dimensions one learns more by their sizes than by a warning
        options: dict[str, Any] = {"engine": "h5netcdf", "phony_dims": "sort", "group": name}
        return decoded(partial(xr.open_dataset, path, chunks=chunks, **options))

    return Store(lambda: groups.in_netcdf(path), open_group)


def _check_packages(path: Path, engine: str) -> None:
    try:
        import h5netcdf  # noqa: F401
        import xarray  # noqa: F401

        if engine == "zarr":
            import zarr  # noqa: F401
        if engine == "cfgrib":
            import cfgrib  # noqa: F401
    except ImportError as error:
        extra = {"zarr": "files", "cfgrib": "grib"}.get(engine, "files")
        package = {"zarr": "zarr", "cfgrib": "cfgrib"}.get(engine, "xarray and h5netcdf")
        raise ImportError(f"{path}: reading it needs {package}: pip install 'degmm[{extra}]'") from error


# --- Zarr ---------------------------------------------------------------------------------------


def _zarr(path: Path, chunks: Any) -> Store:
    import xarray as xr

    store, root = (path, None) if path.is_dir() else _zipped(path)

    def open_group(name: str | None) -> tuple["xr.Dataset", list[str]]:
        where = "/".join(filter(None, (root, name))) or None
        options: dict[str, Any] = {"engine": "zarr", "consolidated": False, "group": where}
        zeros, fills = _fills_of_zarr(store, where)
        dataset, notes = decoded(partial(xr.open_dataset, store, chunks=chunks, **options), fills)
        if zeros:
            notes.append(f"0 is read as a value, not as missing, in {', '.join(zeros)}")
        # the order of files in a folder is by chance
        return dataset[sorted(map(str, dataset.data_vars))], notes

    return Store(lambda: groups.in_zarr(store, root), open_group)


def _zipped(path: Path) -> tuple[Any, str | None]:
    """Return the store of a zip archive, and the group in it that is its root."""
    from zarr.storage import ZipStore

    with zipfile.ZipFile(path) as archive:
        roots = [PurePosixPath(n) for n in archive.namelist() if PurePosixPath(n).name in ZARR_ROOTS]
    if not roots:
        raise ValueError("no Zarr group in the zip archive")
    top = min((root.parent for root in roots), key=lambda parent: len(parent.parts))
    return ZipStore(path, mode="r"), None if top == PurePosixPath(".") else str(top)


def _fills_of_zarr(store: Any, group: str | None) -> tuple[list[str], dict[str, Any]]:
    """Return of which arrays 0 is a value, and whose missing values are others than xarray takes them for.

    In format 2 xarray takes what stands for chunks that were not written, by default 0, for missing, and no
    longer sees an attribute ``_FillValue`` then. It writes what is missing there itself, but never a 0
    that the user has not asked for; of packed values 0 is none in particular, so there it is believed.
    """
    import zarr

    opened = zarr.open_group(store, path=group, mode="r", use_consolidated=False)
    zeros: list[str] = []
    fills: dict[str, Any] = {}
    for name, array in opened.arrays() if opened.metadata.zarr_format == 2 else ():
        unwritten, own = array.fill_value, array.attrs.get("_FillValue")
        if unwritten is None or np.dtype(array.dtype).kind not in "biuf":
            continue
        if isinstance(own, int | float):
            if own != unwritten:
                fills[name] = np.dtype(array.dtype).type(own)
        elif unwritten == 0 and not {"scale_factor", "add_offset"} & {*array.attrs}:
            fills[name] = None
            zeros.append(name)
    return sorted(zeros), fills
