"""Ensembles in npz files of NumPy's."""

import re
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from degmm.ensembles.ensemble import Ensemble, for_all
from degmm.ensembles.names import first_line
from degmm.ensembles.times import undated
from degmm.memory import check_amount

ARRAY_NAMES = ("X", "values", "forecast", "arr_0")
HEAD = re.compile(
    rb"\s*\{\s*'descr'\s*:\s*'[^'\\]{1,40}'\s*,\s*'fortran_order'\s*:\s*(True|False)\s*,"
    rb"\s*'shape'\s*:\s*\(\s*(\d+L?\s*,\s*)*(\d+L?\s*)?\)\s*,?\s*\}\s*"
)
"""What is said of a plain array in its head; other programs write it as NumPy does"""
LONGEST_HEAD = 4096
OBSERVATIONS = ("observations", "observation", "obs")


def read_npz(
    path: Path,
    *,
    variables: Sequence[str] | None = None,
    feature_dims: Sequence[str] | None = None,
    member_dim: str | None = None,
    control: Any = None,
    observation: str | None = None,
) -> Ensemble:
    """Read arrays; nothing in the file is run.

    ``X`` is (n, M, D), or (n, D) for single members; beside it there may be ``variables``, ``units``,
    ``members``, ``observations``, ``weights`` and ``context``; any other array of n labels, or of one for all
    cases, is a coordinate.
    """
    for name, value in (("feature_dims", feature_dims), ("member_dim", member_dim)):
        if value:
            raise ValueError(f"{name}: arrays in an npz file have no names of dimensions; leave it out")
    _check_size(path)
    try:
        odd = _of_other_heads(path)
        with np.load(path, allow_pickle=False) as file:
            arrays, unread = _arrays(file, odd)
    except Exception as error:  # of the archive, of its compression, of the heads of arrays; memory, too
        what = f"{type(error).__name__}: {first_line(error)}"
        raise ValueError(f"not a readable npz file; write or fetch it again ({what})") from error
    name = next((n for n in ARRAY_NAMES if n in arrays or n in unread), "")
    if not name:
        known = ", ".join(arrays) or "none"
        raise ValueError(f"no array X of members (n, M, D); there are {known}: save them as X=…")
    if name in unread:
        raise ValueError(f"array {name!r} {unread[name]}; save numbers, as by X.astype(float)")
    X = arrays.pop(name)
    if X.dtype.kind not in "fiu" or X.ndim not in (2, 3):
        raise ValueError(
            f"array {name!r}: expected numbers (n, M, D), or (n, D) for single members; got {X.dtype} of "
            f"shape {X.shape}"
        )
    n, M = X.shape[0], X.shape[1] if X.ndim == 3 else 1
    notes = [f"members in {name!r}" + (", one per case" if X.ndim == 2 else "")]
    labels: dict[str, Any] = {key: arrays.pop(key) for key in ("weights", "context") if key in arrays}
    notes += [f"{key} in {key!r}" for key in labels]
    observed = observation or next((o for o in OBSERVATIONS if o in arrays), None)
    if observed:
        if observed not in arrays:
            raise ValueError(f"observation: no array {observed!r}; there are {', '.join(arrays) or 'none'}")
        labels["observations"] = arrays.pop(observed)
        notes.append(f"observations in {observed!r}")
    names, units = arrays.pop("variables", None), arrays.pop("units", None)
    if "members" in arrays and arrays["members"].shape == (M,):
        labels["members"] = arrays.pop("members")
    coords = {key: for_all(part, n) for key, part in arrays.items() if part.shape in ((n,), (), (1,))}
    data = Ensemble.from_numpy(
        X,
        None if names is None else [str(v) for v in np.atleast_1d(names)],
        units=() if units is None else [str(u) for u in np.atleast_1d(units)],
        coords=coords,
        notes=(*notes, *_left(arrays, coords, unread), *undated(coords)),
        **labels,
    )
    if variables is not None:
        data = data.take_variables(_places(variables, data.variables))
    return data if control is None else data.drop_control(control)


def _check_size(path: Path) -> None:
    """See that the arrays of an archive fit in memory before one is read."""
    with zipfile.ZipFile(path) as archive:  # it could be opened before, to tell what it is
        expanded = sum(part.file_size for part in archive.infolist())
    check_amount(
        "its arrays", expanded, path.stat().st_size, "write fewer to a file, or write it anew by numpy.savez"
    )


def _of_other_heads(path: Path) -> dict[str, str]:
    """Return the arrays whose heads are not those of plain arrays: NumPy parses them as code of Python."""
    odd: dict[str, str] = {}
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            with archive.open(part) as file:
                magic, size = file.read(8), b""
                if magic[:6] == b"\x93NUMPY":
                    size = file.read(2 if magic[6] == 1 else 4)
                if size and not HEAD.fullmatch(file.read(min(int.from_bytes(size, "little"), LONGEST_HEAD))):
                    odd[part.filename.removesuffix(".npy")] = "is of no plain type"
    return odd


def _arrays(file: Any, odd: Mapping[str, str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays of a file, and why others, the odd ones among them, are not read."""
    arrays: dict[str, np.ndarray] = {}
    unread = dict(odd)
    for name in file.files:
        if name in odd:
            continue
        try:
            array = file[name]
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise
            unread[name] = "holds Python objects, which are not read since they may run code"
            continue
        if not isinstance(array, np.ndarray):  # the bytes of another file
            unread[name] = "is no array"
        elif array.dtype.kind == "U" and not _is_text(array):
            unread[name] = "holds letters that are none"
        else:
            arrays[name] = array
    return arrays, unread


def _is_text(array: np.ndarray) -> bool:
    """Return whether the letters of texts are such; Python fails on others with an error of its own."""
    order = ">" if array.dtype.byteorder == ">" else "<" if array.dtype.byteorder == "<" else "="
    codes = np.frombuffer(np.ascontiguousarray(array).tobytes(), f"{order}u4")
    return bool((codes <= sys.maxunicode).all())


def _left(arrays: Mapping[str, Any], coords: Mapping[str, Any], unread: Mapping[str, str]) -> list[str]:
    left = [name for name in (*arrays, *unread) if name not in coords]
    return [f"left out: {', '.join(left)}"] if left else []


def _places(wanted: Sequence[str], known: Sequence[str]) -> list[int]:
    wanted = [wanted] if isinstance(wanted, str) else wanted
    for name in wanted:
        if name not in known:
            raise ValueError(f"variables: no variable {name!r}; there are {', '.join(known)}")
    return [known.index(name) for name in dict.fromkeys(wanted)]
