"""Whether a fit fits in memory: told before it is begun, in place of a process that the system ends."""

import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from degmm.families import CovarianceStructure
from degmm.scatter import form_for, rows_of

COPIES_OF_COVARIANCES = 16
"""K covariance matrices with their factors and sums, those of the step before, and the results, take about so
many times the matrices' own memory."""
COPIES_OF_MOMENTS = 2
"""Moments, and their blocks."""
CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says how much memory a container has, and has in use"""


def memory_of_machine() -> int | None:
    """Return how many bytes of memory this process may use at most; None where that cannot be told."""
    limits = [_number_in("memory.max"), _limit_of_process()]
    with suppress(OSError, RuntimeError, NotImplementedError):
        limits.append(int(psutil.virtual_memory().total))
    return min((limit for limit in limits if limit is not None), default=None)


def free_memory() -> int | None:
    """Return how many bytes are free, or of use to nobody; None where that cannot be told."""
    limit, used = _number_in("memory.max"), _number_in("memory.current")
    try:
        free = int(psutil.virtual_memory().available)
    except (OSError, RuntimeError, NotImplementedError):
        return None
    if limit is None or used is None:
        return free
    return min(free, max(limit - used + _cached(), 0))


def _limit_of_process() -> int | None:
    """Return how much memory this process may ask for, as ``ulimit -v`` sets it; None for any."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _number_in(name: str) -> int | None:
    """Return what the container's file says; None where there is no container, or one without a limit."""
    try:
        return int((CGROUP / name).read_text())
    except (OSError, ValueError):
        return None


def _cached() -> int:
    """Return the bytes of files that the container holds in memory and has not used lately."""
    try:
        lines = (CGROUP / "memory.stat").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    except (OSError, ValueError, IndexError):
        return 0


def check_capacity(
    n_samples: int,
    n_members: int,
    n_features: int,
    n_components: int,
    structure: CovarianceStructure,
    dtype: Any,
) -> None:
    """Raise a ValueError if a fit to an array takes more memory than there is; warn if more than is free.

    Parameters
    ----------
    n_samples, n_members, n_features, n_components : int
    structure : CovarianceStructure
    dtype : float32 or float64
    """
    D, K = n_features, n_components
    held = D if structure.diagonal else D * D
    of_moments = 2 + D + rows_of(form_for(n_members, D, diagonal=structure.diagonal), n_members, D)
    numbers = COPIES_OF_COVARIANCES * K * held + COPIES_OF_MOMENTS * n_samples * of_moments
    needed, there = numbers * np.dtype(dtype).itemsize, memory_of_machine()
    if there is None:
        return
    if needed <= there:
        free = free_memory()
        if free is not None and needed > free:
            warnings.warn(
                f"X: the fit takes about {needed / 1e9:.3g} GB, and {free / 1e9:.3g} GB of this machine's "
                f"{there / 1e9:.3g} GB of memory are free: it may take very long, or be ended by the system; "
                f"end other programs, or take {_less(structure)}",
                stacklevel=5,
            )
        return
    raise ValueError(
        f"X: {structure.name} covariances of {D} variables in {K} clusters, and the moments of {n_samples} "
        f"ensembles, would take about {needed / 1e9:.3g} GB, and this machine has {there / 1e9:.3g} GB; "
        f"take {_less(structure)}"
    )


def _less(structure: CovarianceStructure) -> str:
    if structure.diagonal:
        return "fewer ensembles at a time (docs/scaling.md)"
    return "covariance_type='diag', fewer variables, or a deep model with a projection"
