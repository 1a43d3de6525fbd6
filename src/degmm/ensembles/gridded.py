"""Files of dimensions that xarray opens: NetCDF, Zarr and GRIB."""

import logging
import re
import warnings
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from degmm.ensembles.messages import check_messages
from degmm.ensembles.names import first_line

if TYPE_CHECKING:
    import xarray as xr

KINDS = {"scipy": "NetCDF", "h5netcdf": "NetCDF", "zarr": "Zarr", "cfgrib": "GRIB"}
"""What is read by which of xarray's engines"""
UNDATED = re.compile(r"unable to decode time units '([^']*)' with \W*(?:calendar |the )?'?([\w ]+)")
"""What xarray says of times that it cannot read"""
ZARR_ROOTS = ("zarr.json", ".zgroup", ".zmetadata")
"""Files that a folder of Zarr holds one of"""


def open_dataset(path: Path, engine: str, chunks: Any = None) -> "xr.Dataset":
    """Open a file with xarray; with ``chunks``, on Dask arrays.

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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            if engine == "cfgrib":
                return _joined(_grib_parts(path))
            if engine == "zarr":
                return _open_zarr(path, chunks)
            import xarray as xr

            # of an HDF5 file without dimensions one learns more by their sizes than by a warning
            options: dict[str, Any] = {"phony_dims": "sort"} if engine == "h5netcdf" else {}
            return xr.open_dataset(path, engine=engine, chunks=chunks, **options)
    except (MemoryError, UnfitError):
        raise
    except Exception as error:  # h5py, zarr, eccodes and xarray raise many types for a bad file
        if undated := UNDATED.search(str(error)):
            units, calendar = undated.groups()
            usual = calendar in ("standard", "gregorian", "proleptic_gregorian", "default calendar")
            fix = "correct the units, as to 'days since 2000-01-01'"
            fix = fix if usual else "install cftime (pip install cftime), which reads such calendars"
            raise ValueError(
                f"its dates cannot be read, {units!r} in the calendar {calendar!r}; {fix}"
            ) from error
        raise ValueError(
            f"not a readable {kind} file; write or fetch it again ({type(error).__name__}: "
            f"{first_line(error)})"
        ) from error


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


def _open_zarr(path: Path, chunks: Any) -> "xr.Dataset":
    import xarray as xr

    if path.is_dir():
        return _sorted(xr.open_dataset(path, engine="zarr", consolidated=False, chunks=chunks))
    from zarr.storage import ZipStore

    with zipfile.ZipFile(path) as archive:
        roots = [PurePosixPath(n) for n in archive.namelist() if PurePosixPath(n).name in ZARR_ROOTS]
    if not roots:
        raise ValueError("no Zarr group in the zip archive")
    top = min((root.parent for root in roots), key=lambda parent: len(parent.parts))
    group = None if top == PurePosixPath(".") else str(top)
    store: Any = ZipStore(path, mode="r")
    return _sorted(xr.open_dataset(store, engine="zarr", consolidated=False, group=group, chunks=chunks))


def _sorted(dataset: "xr.Dataset") -> "xr.Dataset":
    """Return the variables in the order of their names: that of files in a folder is by chance."""
    return dataset[sorted(map(str, dataset.data_vars))]


# --- GRIB ---------------------------------------------------------------------------------------


class UnfitError(ValueError):
    """Messages of a sound file that make no table."""


def _grib_parts(path: Path) -> list["xr.Dataset"]:
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


def _joined(parts: list["xr.Dataset"]) -> "xr.Dataset":
    """Return the variables of several Datasets in one.

    Variables at different heights are put side by side, and the control run (type cf, number 0) before
    the perturbed members (pf).
    """
    import xarray as xr

    arrays: dict[str, list[xr.DataArray]] = {}
    for part in parts:
        for name, array in part.data_vars.items():
            arrays.setdefault(str(name), []).append(array)
    several = len(arrays) > 1
    joined: dict[str, xr.DataArray] = {}
    for name, pieces in arrays.items():
        if len(pieces) > 1:
            # number is one label where a control run stands alone
            pieces = [
                p if "number" in p.dims or "number" not in p.coords else p.expand_dims("number")
                for p in pieces
            ]
            levels = {frozenset(d for d in p.dims if d != "number") for p in pieces}
            if len(levels) > 1 or any("number" not in p.dims for p in pieces):
                raise UnfitError(
                    f"its messages of {name} do not fit into one table of dimensions; split it first, as by "
                    f"grib_copy -w typeOfLevel=surface IN OUT"
                )
            pieces.sort(key=lambda p: int(p["number"].min()))
            pieces = [xr.concat(pieces, dim="number", coords="minimal", compat="override", join="exact")]
        array = pieces[0]
        # levels, one a variable, are no coordinates of all
        joined[name] = (
            array.reset_coords(
                [
                    c
                    for c, v in array.coords.items()
                    if v.ndim == 0 and c not in ("time", "step", "valid_time")
                ],
                drop=True,
            )
            if several
            else array
        )
    return xr.Dataset(joined, attrs=parts[0].attrs)
