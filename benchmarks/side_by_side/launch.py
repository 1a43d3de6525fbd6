"""Measurements in processes of their own, one at a time, with a limit on their time."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.side_by_side.cases import CACHED, PEERS, Series, Size
from benchmarks.side_by_side.libraries import MODULES
from benchmarks.side_by_side.worker import OVER_THE_LIMIT

ROOT = Path(__file__).resolve().parents[2]
CHEAP_MEMBERS = 200_000
"""Up to this many members a first fit is measured several times, each in a new process"""


def absent_peers() -> list[str]:
    """Return the peers that are not installed."""
    return [peer for peer in PEERS if importlib.util.find_spec(MODULES[peer]) is None]


class Runner:
    """Runs measurements, keeping their data in a folder.

    Parameters
    ----------
    folder : Path
        For the data, and for JAX's cache.
    limit : float
        Seconds of its fits after which a process is ended.
    repeats : int
        Processes for each first fit of few members; the shortest time counts.
    """

    def __init__(self, folder: Path, limit: float, repeats: int) -> None:
        self.folder, self.limit, self.repeats = folder, limit, repeats
        self.absent = absent_peers()
        self._slow: dict[tuple[str, str], int] = {}
        self._known: dict[str, dict[str, Any]] = {}

    def data(self, size: Size) -> Path:
        """Return the file of members (n, M, D) in float32, drawn if it is not there."""
        import numpy as np

        from degmm.datasets import make_exchangeable_mixture

        path = self.folder / f"{size.n}_{size.M}_{size.D}_{size.K}.npy"
        if not path.exists():
            file = np.lib.format.open_memmap(path, "w+", np.float32, (size.n, size.M, size.D))
            file[:] = make_exchangeable_mixture(size.n, size.M, size.D, size.K, seed=0)[0]
            file.flush()
        return path

    def rows(self, series: Series) -> Iterator[dict[str, Any]]:
        """Return one row of figures for each size and library of a series."""
        for size, library, told in series.specifications():
            row = {"series": series.name, "library": library, "starts": series.starts}
            row |= {"n": size.n, "M": size.M, "D": size.D, "K": size.K, "members": size.members}
            if library in self.absent:
                yield row | {"status": "not installed"}
                continue
            slow = self._slow.get((series.name, library))
            if slow is not None and size.members > slow:
                yield row | {"status": "not run"}
                continue
            row |= self.measured(told | {"path": str(self.data(size))}, size)
            if row["status"] != "done":
                self._slow[series.name, library] = size.members
            yield row

    def measured(self, told: dict[str, Any], size: Size) -> dict[str, Any]:
        """Return the figures of one measurement, the best of a few processes if it is short."""
        key = json.dumps(told, sort_keys=True)
        if key not in self._known:  # some sizes are in several series
            self._known[key] = self._best(told, size)
        return self._known[key]

    def _best(self, told: dict[str, Any], size: Size) -> dict[str, Any]:
        cached = told.get("library") == CACHED
        if cached:
            self._once(told, cached)  # fills the cache
        repeats = self.repeats if size.members <= CHEAP_MEMBERS else 1
        found: dict[str, Any] = {}
        for _ in range(repeats):
            new = self._once(told, cached)
            if new["status"] != "done":
                return new
            least = {key: min(new[key], found[key]) for key in ("start_up", "first", "warm") if key in found}
            found = new | least
        return found

    def _once(self, told: dict[str, Any], cached: bool) -> dict[str, Any]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
        if cached:
            environment["JAX_COMPILATION_CACHE_DIR"] = str(self.folder / "cache")
            environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        told = told | {"limit": self.limit, "launched": time.monotonic()}  # a clock that processes share
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.side_by_side.worker", json.dumps(told)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
        found: dict[str, Any] = {}
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                found |= json.loads(line)
        if done.returncode == 0:
            return found | {"status": "done"}
        if done.returncode == OVER_THE_LIMIT and "first" in found:  # ended in the second fit
            return found | {"status": "done", "warm": float("nan")}
        if done.returncode == OVER_THE_LIMIT:
            return found | {"status": "over the limit"}
        if done.returncode == -signal.SIGKILL:
            return found | {"status": "out of memory"}
        return found | {"status": "failed: " + (done.stderr.strip().splitlines() or ["no message"])[-1]}
