"""The machine and the versions, as figures need them: no names, no paths."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("degmm", "jax", "numpy", "scikit-learn", "gmmx", "torch", "pomegranate")


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Return the name of the processor, or of its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def memory() -> float:
    """Return the memory in GB."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError):
        return float("nan")


def versions() -> dict[str, str]:
    """Return the version of each package that is installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def described() -> str:
    """Return a sentence that says what the figures were measured on."""
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    packages = ", ".join(f"{name} {number}" for name, number in versions().items())
    return (
        f"{processor()}, {cores()} cores, {memory():.0f} GB of memory{load}; {platform.system()}, "
        f"Python {platform.python_version()}, {packages}"
    )
