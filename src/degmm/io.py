"""Models on disk: arrays in safetensors, the rest in JSON. Loading a file never runs code of its own."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from degmm import __version__

FORMAT = 1
"""Version of the layout of a saved model; raised whenever an older program could not read it."""
HEAD = "model.json"


def save(model: Any, path: str | Path) -> Path:
    """Write a fitted model to a folder, as ``model.json`` and one safetensors file that it names.

    The files are written beside and renamed, the head last: a save that is cut off leaves the model
    that was there before.

    Parameters
    ----------
    model : estimator
        A fitted GMM, EGMM, DGMM or DEGMM.
    path : str or Path
        The folder; made if it is not there.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        If the model is not fitted, or the folder cannot be written.
    """
    from safetensors.numpy import save as to_bytes

    arrays, facts = model._get_state()
    folder = Path(path)
    content = to_bytes({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    digest = hashlib.sha256(content).hexdigest()
    tensors = f"model-{digest[:12]}.safetensors"
    head = {
        "format": FORMAT,
        "degmm": __version__,
        "estimator": type(model).__name__,
        "parameters": _plain_parameters(model),
        "facts": facts,
        "arrays": tensors,
        "sha256": digest,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / tensors, content)
        write_bytes(folder / HEAD, json.dumps(head, indent=2).encode())
        for old in folder.glob("model-*.safetensors"):
            if old.name != tensors:
                old.unlink()
    except OSError as error:
        raise ValueError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return folder


def load(path: str | Path) -> Any:
    """Read a model that :func:`save` wrote.

    Parameters
    ----------
    path : str or Path
        The folder.

    Returns
    -------
    estimator
        It predicts exactly as the saved one.

    Raises
    ------
    ValueError
        If there is no model, or it is damaged or of a newer version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    from degmm import estimators

    folder = Path(path)
    if not (folder / HEAD).is_file():
        raise ValueError(f"{folder}: no saved model there ({HEAD} is missing)")
    try:
        head = json.loads((folder / HEAD).read_text())
        version = int(head["format"])
        if version > FORMAT:
            raise ValueError(
                f"{folder}: the model was saved by degmm {head.get('degmm', '?')} in a newer format "
                f"({version}, this version reads up to {FORMAT}); upgrade degmm"
            )
        content = (folder / Path(head["arrays"]).name).read_bytes()
        if hashlib.sha256(content).hexdigest() != head["sha256"]:
            raise ValueError(f"{folder}: {head['arrays']} is damaged or not of this model; save it again")
        name = head["estimator"]
        if name not in estimators.__all__:
            raise ValueError(f"{folder}: {HEAD} names an unknown estimator {name!r}")
        model = getattr(estimators, name)(**{k: _restored(v) for k, v in head["parameters"].items()})
        model._set_state(from_bytes(content), head["facts"])
    except ValueError as error:
        if str(error).startswith(str(folder)):
            raise
        raise ValueError(f"{folder}: {HEAD} is damaged ({error})") from error
    except (KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise ValueError(f"{folder}: the saved model is damaged ({type(error).__name__}: {error})") from error
    except OSError as error:
        raise ValueError(f"{folder}: cannot be read ({error.strerror or error})") from error
    return model


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside and rename it, so that ``path`` is never half-written."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp gives 0600; a result should have the permissions that the user's umask asks for.
        mask = os.umask(0)
        os.umask(mask)
        beside.chmod(0o666 & ~mask)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _plain_parameters(model: Any) -> dict[str, Any]:
    """Return the constructor's arguments as JSON; a start or generator that was passed is not kept."""
    plain: dict[str, Any] = {}
    for name, value in model.get_params(deep=False).items():
        if name == "dtype" and value is not None:
            value = np.dtype(value).name
        elif isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, tuple | list):
            plain[name] = [int(item) for item in value]
        elif value is None or isinstance(value, bool | int | float | str):
            plain[name] = value
    return plain


def _restored(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
