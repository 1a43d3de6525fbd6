"""What a run is repeated with: the versions of the packages, and the content of its file."""

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from degmm import __version__

PACKAGES = ("jax", "flax", "optax", "numpy", "scipy", "scikit-learn", "xarray", "pandas")
LARGEST = 4 * 1024**3
"""Bytes beyond which a file is not hashed, which takes seconds a gigabyte"""


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of those that its figures depend on."""
    found = {"degmm": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def input_facts(path: Path) -> dict[str, Any]:
    """Return name, size and SHA-256 of a file; of a folder the name alone."""
    if path.is_dir():
        return {"file": str(path), "bytes": None, "sha256": None}
    size = path.stat().st_size
    if size > LARGEST:
        return {"file": str(path), "bytes": size, "sha256": None}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": str(path), "bytes": size, "sha256": digest}
