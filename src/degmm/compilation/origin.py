"""What all programs of a process depend on: versions, the package's source, the machine, settings."""

import hashlib
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np

import degmm
from degmm.compilation.fingerprints import fingerprint
from degmm.threads import cores

IMPORTED = time.time()
"""When this was imported: a source file changed later may not be what runs here"""
PACKAGES = ("flax", "optax", "scipy", "opt_einsum")
"""Whose code, or numbers that it computed, comes into the programs, beside that of jax and NumPy; most fits
import few of them"""
PROCESSOR = ("vendor_id", "cpu", "model", "stepping", "flags", "CPU ", "Features", "features", "isa", "uarch")
"""Beginnings of lines of /proc/cpuinfo that tell what a processor can do"""
PASSING = ("cpu MHz",)
"""And of lines that tell how it is doing"""
VARIABLES = ("JAX_", "XLA_", "TF_", "NPROC")
"""Beginnings of names of environment variables that compilers read"""
IRRELEVANT = (
    "jax_compilation_cache",
    "jax_persistent_cache",
    "jax_log",
    "jax_debug_log",
    "jax_explain",
    "jax_dump",
)
"""Beginnings of names of settings that are no part of a program; as variables, in capitals"""


@cache
def origin() -> str | None:
    """Return a text for this process, or None where it cannot be told what its programs come from."""
    source = digest_of_source(Path(degmm.__file__).parent)
    if source is None:
        return None
    try:
        versions = [(name, version(name)) for name in PACKAGES]
    except PackageNotFoundError:
        return None
    versions += [(module.__name__, module.__version__) for module in (degmm, jax, jaxlib, np)]
    return repr((source, versions, platform.python_version(), _machine(), _variables()))


def settings() -> str:
    """Return a text for jax's settings at this moment.

    Raises
    ------
    UnknownError
        If one of them has no fingerprint.
    """
    values = jax.config.values
    return fingerprint({name: values[name] for name in sorted(values) if not name.startswith(IRRELEVANT)})


def digest_of_source(folder: Path, until: float = IMPORTED) -> str | None:
    """Return a SHA-256 of all Python files in a folder, or None where one was changed after ``until``."""
    digest = hashlib.sha256()
    try:
        names = sorted(_sources(str(folder), ""))
        for name in names:
            with open(folder / name, "rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_mtime > until:
                    return None
                content = file.read()
            digest.update(f"{name}:{len(content)}\n".encode())
            digest.update(content)
    except OSError:
        return None
    return digest.hexdigest() if names else None


def _sources(folder: str, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:  # of pathlib's ways, each takes three times as long
        for entry in entries:
            if entry.name.endswith(".py"):
                yield prefix + entry.name
            elif entry.is_dir() and entry.name != "__pycache__":
                yield from _sources(entry.path, f"{prefix}{entry.name}/")


def _machine() -> tuple[Any, ...]:
    facts = (platform.system(), platform.machine(), platform.processor(), platform.libc_ver(), cores())
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return *facts, _first_processor(file)
    except OSError:
        return *facts, _named_processor()


def _named_processor() -> str:
    """Return the processor's own name where the system has no list of what it can do, as on a Mac."""
    if platform.system() != "Darwin":
        return ""
    try:
        done = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _first_processor(lines: Iterable[str]) -> tuple[str, ...]:
    """Return what the first processor is; on a machine of many, reading of all would take a while."""
    first = takewhile(str.strip, lines)
    return tuple(
        line.strip() for line in first if line.startswith(PROCESSOR) and not line.startswith(PASSING)
    )


def _variables() -> list[tuple[str, str]]:
    left_out = tuple(name.upper() for name in IRRELEVANT)
    names = [name for name in os.environ if name.startswith(VARIABLES) and not name.startswith(left_out)]
    return [(name, os.environ[name]) for name in sorted(names)]
