"""Files of ensembles: which program opens them, and what is said of a bad one."""

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from degmm.ensembles.archives import read_npz
from degmm.ensembles.chunked import ChunkedEnsemble
from degmm.ensembles.dataset import from_dataset
from degmm.ensembles.ensemble import Ensemble
from degmm.ensembles.gridded import ZARR_ROOTS, Opened, groups_of, open_dataset
from degmm.ensembles.missing import as_codes, of_missing, suspects
from degmm.ensembles.names import NO_MEMBERS, paired_names
from degmm.ensembles.summary import some
from degmm.ensembles.tablefiles import read_csv, read_parquet
from degmm.ensembles.tables import from_dataframe


def read_ensemble(
    path: str | Path,
    *,
    variables: Sequence[str] | None = None,
    member_dim: str | None = None,
    feature_dims: Sequence[str] | None = None,
    control: Any = None,
    observation: str | None = None,
    member_columns: str | Sequence[str] | None = None,
    group: str | None = None,
    missing: Any = None,
    chunks: Any = None,
) -> Any:
    """Read ensembles from a file with a member dimension.

    Parameters
    ----------
    path : str or Path
        NetCDF, Zarr (a folder, or zipped), GRIB (with the package cfgrib), CSV, also compressed,
        Parquet, or npz. The content decides, not the name, save for tables.
    variables : sequence of str, optional
        Which variables to keep, in this order, by name: data variables, or labels along a
        ``variable`` dimension. By default all that have the member dimension.
    member_dim : str, optional
        Name of the member dimension, or of the column of members in a long table. By default the
        dimension whose coordinate has ``standard_name="realization"``, then that named realization,
        number, member, ensemble, ens or sample, if there is only one.
    feature_dims : sequence of str, optional
        Dimensions, such as those of a grid, whose points are variables of a member and not cases.
    control : optional
        Label of the member that is a control run, which is left out.
    observation : str, optional
        Name of the variable or column of observations; by default found by name (observation, obs,
        verification, or ``obs_NAME``, ``NAME_obs``).
    member_columns : str or sequence of str, optional
        In a wide table, the columns that are the members of one variable, by name or as a pattern
        such as ``"*oclock"``. By default columns named ``VARIABLE_m01``, ``VARIABLE_m02``, ….
    group : str, optional
        Group of a NetCDF-4 or Zarr file in which the variables lie, such as ``"forecasts"``. By default
        the root, or the only group if the root has no variables.
    missing : float or sequence of float, optional
        Numbers that stand for missing values, such as −999, of members and observations. What the
        attributes of a file say of missing values is known without.
    chunks : int, dict, "auto" or {}, optional
        As in ``xarray.open_dataset``: the values are left in the file, which is NetCDF or Zarr, and
        read chunk by chunk when they are needed (with the package dask); ``{}`` stands for the chunks
        that the file has. By default all is read into memory.

    Returns
    -------
    Ensemble
        Its ``notes`` say what was decided. With ``chunks``, a
        :class:`~degmm.ensembles.chunked.ChunkedEnsemble`, which a fit by EM and predictions take as well
        and whose ``compute()`` is the Ensemble.

    Raises
    ------
    ValueError
        If the file is not there, cannot be read, or has no member dimension.

    Notes
    -----
    In a file the order of dimensions is a matter of storage, so their names decide: the variables are
    the data variables, the labels of a dimension ``variable``, ``var`` or ``feature``, and the points of
    ``feature_dims``; all dimensions but these and that of the members run over the cases, in the order in
    which they are stored. A table is read as :func:`degmm.ensembles.tables.from_dataframe` says; an npz
    file holds ``X`` (n, M, D), or (n, D) for single members, and, if it has them, ``variables``, ``units``,
    ``members``, ``observations``, ``weights``, ``context`` and arrays of n labels of the cases.
    """
    path = Path(path)
    options: dict[str, Any] = {
        "variables": variables,
        "member_dim": member_dim,
        "control": control,
        "observation": observation,
    }
    try:
        codes = as_codes(missing)
        if chunks is not None:
            if member_columns is not None:
                raise ValueError("member_columns: only a table has columns; leave it out")
            return _unread(path, chunks, {**options, "feature_dims": feature_dims, "missing": codes}, group)
        data = _read(path, options, feature_dims, member_columns, group, codes)
        if np.isnan(data.values).all():
            raise ValueError("every value of the members is missing; check what was read as members")
        return replace(data, notes=(*data.notes, *suspects(data)))
    except (ValueError, OSError) as error:
        # one sentence, whatever the program that opens such files says
        said = " ".join(str(error).split()) if isinstance(error, ValueError) else _of_system(error)
        said = said.removeprefix(f"{path}: ").replace(str(path), path.name)
        raise ValueError(f"{path}: {said}") from error


TABLES = ("csv", "parquet")


def _read(
    path: Path,
    options: dict[str, Any],
    feature_dims: Sequence[str] | None,
    member_columns: str | Sequence[str] | None,
    group: str | None,
    missing: Sequence[float],
) -> Ensemble:
    kind = _kind_of(path)
    if group is not None and kind in (*TABLES, "npz"):
        raise ValueError("group: only NetCDF-4 and Zarr files have groups; leave it out")
    if kind in TABLES:
        if feature_dims:
            raise ValueError("feature_dims: a table has no dimensions; leave it out")
        table = read_csv(path) if kind == "csv" else read_parquet(path)
        data = from_dataframe(table, member_columns=member_columns, text=kind == "csv", **options)
        return of_missing(data, missing)
    if member_columns is not None:
        raise ValueError("member_columns: only a table has columns; leave it out")
    if kind == "npz":
        return of_missing(read_npz(path, feature_dims=feature_dims, **options), missing)
    opened = open_dataset(path, kind, group=group, wanted=_of_file(options))
    with opened.dataset as dataset:
        try:
            return from_dataset(
                dataset, feature_dims=feature_dims, missing=missing, notes=opened.notes, **options
            )
        except ValueError as error:
            raise _with_groups(error, opened) from None


CHUNKED = ("zarr", "h5netcdf")


def _of_file(options: dict[str, Any]) -> list[str] | None:
    """Return the names of what is wanted of a file, its observations with it; None for all."""
    wanted = options["variables"]
    if wanted is None:
        return None
    names = [wanted] if isinstance(wanted, str) else [*wanted]
    return [*names, *paired_names(names), *filter(None, [options["observation"]])]


def _with_groups(error: ValueError, opened: Opened) -> ValueError:
    """Return an error that also tells of the groups of a file, where the members may lie in one of them."""
    known = opened.groups() if str(error).startswith(NO_MEMBERS) else []
    if not known:
        return error
    return ValueError(f"{error}; or choose one of its groups, {some(known)}, as group={known[0]!r}")


def _unread(path: Path, chunks: Any, options: dict[str, Any], group: str | None) -> ChunkedEnsemble:
    kind = _kind_of(path)
    if kind not in CHUNKED:
        raise ValueError(f"chunks: a file of type {kind} is read into memory as a whole; leave it out")
    try:
        import dask  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{path}: reading it by chunks needs dask: pip install 'degmm[dask]'") from error
    opened = open_dataset(path, kind, chunks=chunks, group=group)
    try:
        return ChunkedEnsemble(opened.dataset, name=str(path), notes=opened.notes, **options)
    except ValueError as error:
        raise _with_groups(error, opened) from None


def is_store(path: Path) -> bool:
    """Return whether a folder is a Zarr store."""
    return any((path / name).exists() for name in ZARR_ROOTS)


def is_table(path: Path) -> bool:
    """Return whether a file is a table; what cannot be read is none."""
    try:
        return _kind_of(path) in TABLES
    except (ValueError, OSError):
        return False


def has_group(path: Path, group: str) -> bool:
    """Return whether a file has a group; what cannot be read has none."""
    try:
        kind, name = _kind_of(path), group.strip("/")
        return kind in CHUNKED and (not name or name in groups_of(path, kind))
    except Exception:  # as many types as libraries have; whoever reads the file tells of it
        return False


def _of_system(error: OSError) -> str:
    """Return what the operating system says of a file."""
    if isinstance(error, PermissionError):
        return "may not be read; ask for the permission, or copy it"
    return f"cannot be read ({error.strerror or error})"


def _kind_of(path: Path) -> str:
    """Return what a file is, by its first bytes: a table, npz, or the name of xarray's engine for it."""
    if not path.exists():
        raise ValueError("no such file; check the path")
    if path.is_dir():
        if is_store(path):
            return "zarr"
        raise ValueError("is a folder, expected a file (or a Zarr folder); give the path of a file in it")
    with path.open("rb") as file:
        start = file.read(8)
    if not start:
        raise ValueError("is empty (0 bytes); write or fetch it again")
    if start.startswith(b"CDF\x05"):
        raise ValueError(
            "is NetCDF-3 with 64-bit data; convert it to NetCDF-4 first, as by nccopy -k nc4 IN OUT"
        )
    for first, kind in (
        (b"CDF\x01", "scipy"),
        (b"CDF\x02", "scipy"),
        (b"\x89HDF", "h5netcdf"),
        (b"GRIB", "cfgrib"),
        (b"PAR1", "parquet"),
    ):
        if start.startswith(first):
            return kind
    if start.startswith(b"PK"):
        return _kind_of_archive(path)
    name = path.name.lower()
    for packed in (".gz", ".bz2", ".xz"):
        name = name.removesuffix(packed)
    if name.endswith((".csv", ".txt", ".tsv")):
        return "csv"
    expected = "a NetCDF, Zarr, GRIB, CSV, Parquet or npz file"
    raise ValueError(f"not a readable file: expected {expected}, by its content (name a table .csv)")


def _kind_of_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise ValueError("is a damaged npz or zip file; write or fetch it again") from error
    if any(name.endswith(".npy") for name in names):
        return "npz"
    if any(name.rsplit("/", 1)[-1] in ZARR_ROOTS for name in names):
        return "zarr"
    raise ValueError("is a zip archive of neither arrays (npz) nor Zarr; unpack it, and give a file in it")
