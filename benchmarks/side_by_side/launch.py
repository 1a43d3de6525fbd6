"""Measurements in processes of their own, one at a time, with a limit on their time."""

import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.side_by_side.cases import EMPTY, PEERS, Series, Size
from benchmarks.side_by_side.libraries import MODULES
from benchmarks.side_by_side.worker import OVER_THE_LIMIT

ROOT = Path(__file__).resolve().parents[2]
CHEAP_MEMBERS = 200_000
"""Up to this many members a first fit is measured several times, each in a new process"""
SHORT = 60.0
"""Processes of this many seconds together are enough for a median"""
LONG = 10
"""A job of several fits, or a whole command, may take so many times the limit of a single fit"""
FIGURES = ("start_up", "first", "warm", "memory", "seconds")
"""Of several processes the median of these counts"""


def absent_peers() -> list[str]:
    """Return the peers that are not installed."""
    return [peer for peer in PEERS if importlib.util.find_spec(MODULES[peer]) is None]


class Runner:
    """Runs measurements, keeping their data in a folder.

    Parameters
    ----------
    folder : Path
        For the data, and for the store of compiled programs.
    limit : float
        Seconds of its fits after which a process is ended.
    repeats : int
        Processes for each short measurement, of which the median counts.
    """

    def __init__(self, folder: Path, limit: float, repeats: int) -> None:
        self.folder, self.limit, self.repeats = folder, limit, repeats
        self.store = folder / "programs"
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
            row |= self._measured(told | {"path": str(self.data(size)), "again": True}, size)
            if row["status"] != "done":
                self._slow[series.name, library] = size.members
            yield row

    def _measured(self, told: dict[str, Any], size: Size) -> dict[str, Any]:
        key = json.dumps(told, sort_keys=True)
        if key not in self._known:  # some sizes are in several series
            store = None if told["library"].endswith(EMPTY) else self.store
            repeats = self.repeats if size.members <= CHEAP_MEMBERS or told["job"] == "process" else 1
            fill = store is not None and told["library"].startswith("degmm")
            self._known[key] = self.several(told, store, repeats, fill)
        return self._known[key]

    def several(
        self, told: dict[str, Any], store: Path | None, repeats: int | None = None, fill: bool = True
    ) -> dict[str, Any]:
        """Return the figures of one measurement, medians of a few processes if it is short.

        A process before them, which does not count, fills the store.
        """
        if fill and store is not None:
            self.once(told | {"again": False}, store)
        start = time.perf_counter()
        found: list[dict[str, Any]] = []
        repeats = self.repeats if repeats is None else repeats
        while not found or (len(found) < repeats and time.perf_counter() - start < SHORT):
            found.append(self.once(told, store))
            if found[-1]["status"] != "done":
                return found[-1]
        medians = {key: statistics.median(one[key] for one in found) for key in FIGURES if key in found[0]}
        return found[-1] | medians

    def once(self, told: dict[str, Any], store: Path | None = None) -> dict[str, Any]:
        """Return the figures that a process tells, and its status; no ``store`` is an empty one."""
        started = time.monotonic()  # a clock that processes share
        limit = self.limit * (1 if told["job"] in ("fit", "process") else LONG)
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "benchmarks.side_by_side.worker",
                json.dumps(told | {"limit": limit, "launched": started}),
            ],
            cwd=ROOT,
            env=environment(store),
            capture_output=True,
            text=True,
        )
        whole = {"first": time.monotonic() - started} if told["job"] == "process" else {}
        return _read(done) | (whole if done.returncode == 0 else {})


def environment(store: Path | None) -> dict[str, str]:
    """Return what a process is given: this package and a store of compiled programs, or none."""
    found = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "DEGMM_CACHE"))}
    given = [str(Path(part).absolute()) for part in found.get("PYTHONPATH", "").split(os.pathsep) if part]
    stored = {"DEGMM_CACHE": "off"} if store is None else {"DEGMM_CACHE_DIR": str(store)}
    return found | {"PYTHONPATH": os.pathsep.join([str(ROOT), *given])} | stored


def _read(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            found |= json.loads(line)
    if done.returncode == 0:
        return found | {"status": "done"}
    if (
        done.returncode == OVER_THE_LIMIT and "start_up" in found and "first" in found
    ):  # ended in the second fit
        return found | {"status": "done", "warm": float("nan")}
    if done.returncode == OVER_THE_LIMIT:
        return found | {"status": "over the limit"}
    if done.returncode == -signal.SIGKILL:
        return found | {"status": "out of memory"}
    return found | {"status": "failed: " + (done.stderr.strip().splitlines() or ["no message"])[-1]}
