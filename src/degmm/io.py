"""Models on disk: arrays in safetensors, the rest in JSON. Loading a file never runs code of its own."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from degmm import __version__
from degmm.files import read_inside, write_bytes
from degmm.folders import READINGS, alone_in, holds, read_located
from degmm.leftovers import HEAD

FORMAT = 1
"""Version of the layout of a saved model; raised whenever an older program could not read it."""


def save(model: Any, path: str | Path) -> Path:
    """Write a fitted model to a folder, as ``model.json`` and one safetensors file that it names.

    The files are written beside and renamed, the head last: a save that is cut off leaves the model
    that was there before. Of the files in the folder only those of the model saved there before are
    replaced.

    Not kept are ``snapshots_``, and arguments that are no plain values: a generator passed as
    ``random_state``, and responsibilities or a model passed as ``init_params``; the loaded model has
    the defaults in their place. A ``hidden`` given as a list comes back as a tuple.

    Parameters
    ----------
    model : estimator
        A fitted GMM, EGMM, DGMM, DEGMM, DAGMM, EMOS or RegimeEMOS.
    path : str or Path
        The folder; made if it is not there.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    TypeError
        If the model is no estimator of this package, or the path is no path.
    ValueError
        If the model is not fitted, its fit broke down (parameters that are not finite), or the
        folder cannot be written.
    """
    from safetensors.numpy import save as to_bytes

    from degmm.saved_state import described

    if isinstance(model, type) or not hasattr(model, "_get_state"):
        raise TypeError(
            f"model: expected a fitted mixture or calibration, got {_kind(model)}; the model comes "
            "first, as in save(model, 'folder')"
        )
    folder = _path(path)
    arrays, facts = model._get_state()
    try:
        model._check_state(arrays, facts)
    except ValueError as error:
        raise ValueError(f"model: cannot be saved ({error}); fit it again") from error
    content = to_bytes({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    digest = hashlib.sha256(content).hexdigest()
    tensors = _arrays_name(digest)
    head = {
        "format": FORMAT,
        "degmm": __version__,
        **described(model),
        "facts": facts,
        "arrays": tensors,
        "sha256": digest,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone_in(folder):  # what is complete there, which would hide the model, is in its place first
            old = _arrays_of_head(folder)
            write_bytes(folder / tensors, content, follow=False)
            write_bytes(folder / HEAD, json.dumps(head, indent=2).encode(), follow=False)
            if old is not None and old.name != tensors:
                old.unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return folder


def load(path: str | Path, *, encoder: Any = None) -> Any:
    """Read a model that :func:`save` wrote.

    Parameters
    ----------
    path : str or Path
        The folder, or the ``model.json`` in it.
    encoder : class, optional
        That of a deep model which was fitted with an encoder of one's own; files hold no code.

    Returns
    -------
    estimator
        It predicts exactly as the saved one.

    Raises
    ------
    TypeError
        If the path is no path.
    ValueError
        If there is no model, or it is damaged or of a newer version.
    """
    from safetensors.numpy import load as from_bytes

    from degmm.saved_state import MODULES, rebuilt

    folder = _path(path)
    folder = folder.parent if folder.name == HEAD and folder.is_file() else folder
    if not holds(folder, HEAD):
        raise ValueError(f"{folder}: no saved model there ({HEAD} is missing)")
    try:
        head, content = _read(folder)
        version = int(head["format"])
        if version > FORMAT:
            raise ValueError(
                f"{folder}: the model was saved by degmm {head.get('degmm', '?')} in a newer format "
                f"({version}, this version reads up to {FORMAT}); upgrade degmm"
            )
        if hashlib.sha256(content).hexdigest() != head["sha256"]:
            raise ValueError(f"{folder}: {head['arrays']} is damaged or not of this model; save it again")
        name = head["estimator"]
        if name not in MODULES:
            raise ValueError(f"{folder}: {HEAD} names an unknown estimator {name!r}")
        own = head["facts"].get("own_encoder")
        if own is not None and getattr(encoder, "__qualname__", None) != own:
            raise ValueError(
                f"{folder}: the model has its own encoder, {own}; pass that class, encoder={own}"
            )
        model = rebuilt(head, from_bytes(content), encoder)
    except OSError as error:
        raise ValueError(f"{folder}: cannot be read ({error.strerror or error})") from error
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # a damaged file may break anything that is made of it
        if isinstance(error, ValueError) and str(error).startswith(str(folder)):
            raise
        raise ValueError(f"{folder}: the saved model is damaged ({type(error).__name__}: {error})") from error
    return model


def _read(folder: Path) -> tuple[dict[str, Any], bytes]:
    """Return the head of a saved model and the content of its arrays.

    Between the two readings another model may have been saved there, whose head is then read.
    """
    for attempt in range(READINGS):
        try:
            head = json.loads(read_located(folder, HEAD))
            return head, read_located(folder, Path(head["arrays"]).name)
        except FileNotFoundError:
            if attempt == READINGS - 1:
                raise
    raise AssertionError  # unreachable


def _path(path: Any) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path: expected the path of a folder, got {_kind(path)}")
    return Path(path)


def _kind(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _arrays_name(digest: str) -> str:
    return f"model-{digest[:12]}.safetensors"


def _arrays_of_head(folder: Path) -> Path | None:
    """Return the file of arrays that a model saved in the folder before names as its own, if any."""
    try:
        head = json.loads(read_inside(folder, folder / HEAD))
        name = head["arrays"]
        # Only a name that save gave; any other file is the user's.
        own = name == _arrays_name(head["sha256"]) and name == Path(name).name
        return folder / name if own else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
