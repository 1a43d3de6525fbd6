"""Whole commands, each in a process of its own: with a store filled by an earlier one, and without any."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.side_by_side.launch import ROOT, Runner

DEGMM = ("-m", "degmm")
README = ("--n", "1000", "--M", "10", "--D", "2", "--K", "3", "--num_epochs", "1000", "--seed", "0")
SMALL = ("--n", "100", "--M", "5", "--D", "2", "--K", "2", "--num_epochs", "5", "--seed", "0")
GERMANY = "germany_ecmwf_t2m.nc"
INNSBRUCK = "innsbruck_gefs.nc"
SIMULATED = "forecast.nc"
FAMILIES = ("truncated_normal", "censored_logistic", "censored_gamma")


@dataclass(frozen=True)
class Command:
    """A command, and what is asked of it."""

    arguments: tuple[str, ...]
    seconds: float | None = None
    """Seconds that it may take with a filled store …"""
    without: float | None = None
    """… and with an empty one"""
    memory: float | None = None
    """Memory in MB that it may take"""
    file: str = ""
    """The file that it reads, of the folder of real data where it is there"""

    @property
    def shown(self) -> str:
        """The command as a user types it."""
        words = " ".join(self.arguments)
        return words.replace("-m degmm", "degmm") if words.startswith("-m") else f"python {words}"


def _degmm(job: str, file: str, flags: str = "", **asked: Any) -> Command:
    output = () if job == "describe" else ("-o", f"{job}-results")
    words = [word for word in (file, *flags.split(), *output) if word]
    return Command((*DEGMM, job, *words), file="" if file == SIMULATED else file, **asked)


FULL = (
    Command(("main.py", *README), seconds=8),
    _degmm("describe", GERMANY, seconds=2.5),
    _degmm("fit", GERMANY, "--member-model shared-centre --K 4", seconds=5),
    _degmm("calibrate", GERMANY, "--K 4 --gate deep --context season", seconds=40),
    _degmm("calibrate", "", "--demo", seconds=25),
    *(
        _degmm(
            "calibrate",
            INNSBRUCK,
            f"--variable precip --control 0 --family {family}",
            seconds=60,
            without=90,
            memory=1500,
        )
        for family in FAMILIES
    ),
)
QUICK = (
    Command(("main.py", *SMALL)),
    _degmm("describe", SIMULATED),
    _degmm("fit", SIMULATED, "--member-model shared-centre --K 2 --n-init 2"),
)
SIMULATE = (*DEGMM, "simulate", "-o", SIMULATED, "--n", "100", "--M", "5", "--D", "1", "--K", "2")


def measured(runner: Runner, quick: bool) -> Iterator[dict[str, Any]]:
    """Return a row of figures for each command; ``DEGMM_DATA`` names the folder of real data."""
    folder = runner.folder / "commands"
    folder.mkdir(exist_ok=True)
    if quick:
        runner.once({"job": "command", "arguments": SIMULATE, "folder": str(folder)})
    for command in QUICK if quick else FULL:
        row: dict[str, Any] = {"what": f"`{command.shown}`"}
        row |= {"wanted": command.seconds, "wanted_empty": command.without, "wanted_memory": command.memory}
        real = Path(os.environ.get("DEGMM_DATA", "")).absolute() / command.file
        if command.file and not ("DEGMM_DATA" in os.environ and real.exists()):
            yield row | {"status": "no data"}
            continue
        words = [_found(word, command, real) for word in command.arguments]
        told = {"job": "command", "arguments": words, "folder": str(folder)}
        filled = runner.several(told, runner.store)
        empty = runner.several(told, None)
        yield row | {"status": filled["status"], "filled": filled, "empty": empty}


def _found(word: str, command: Command, real: Path) -> str:
    if command.file and word == command.file:
        return str(real)
    return str(ROOT / word) if word == "main.py" else word
