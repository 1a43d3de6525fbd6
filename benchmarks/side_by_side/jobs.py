"""What is measured beside the series of fits: each job's rows, and its tables."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.side_by_side import commands, more_tables, wide_cases
from benchmarks.side_by_side.launch import Runner

Row = dict[str, Any]
FITS, EVERY = 80, 10
CASES = 1_000


@dataclass(frozen=True)
class Job:
    """A kind of measurement that has tables of its own."""

    name: str
    measured: Callable[[Runner, bool], list[Row]]
    """Rows, of a runner and of whether all is to be small and quick"""
    tables: Callable[[list[Row], bool], list[str]]
    """Tables in Markdown, of the rows and of the same"""


def _commands(runner: Runner, quick: bool) -> list[Row]:
    rows = []
    for row in commands.measured(runner, quick):
        rows.append(row)
        print("commands", row["what"], row.get("filled", row), row.get("empty", ""), flush=True)
    return rows


def _wide(runner: Runner, quick: bool) -> list[Row]:
    rows = []
    for case in _wide_cases(quick):
        told = case.told(runner.repeats, runner.limit)
        rows.append({"case": str(case.size), "covariance": case.covariance} | runner.once(told))
        print("wide", rows[-1], flush=True)
    return rows


def _wide_cases(quick: bool) -> list[wide_cases.Wide]:
    return list(wide_cases.QUICK if quick else wide_cases.FULL)


def _wide_tables(rows: list[Row], quick: bool) -> list[str]:
    cases = _wide_cases(quick)
    return [more_tables.wide_table(cases, rows), more_tables.wide_memory_table(cases, rows)]


def _emos(runner: Runner, quick: bool) -> list[Row]:
    row = runner.once({"job": "emos", "cases": _cases(quick)})
    print("emos", row, flush=True)
    return [row]


def _cases(quick: bool) -> int:
    return 100 if quick else CASES


def _levels(runner: Runner, quick: bool) -> list[Row]:
    store = runner.folder / "levels"  # empty at first, as for a new user
    row = runner.once({"job": "levels", "fits": _fits(quick), "every": 1 if quick else EVERY}, store)
    print("levels", row, flush=True)
    return [row]


def _fits(quick: bool) -> int:
    return 3 if quick else FITS


JOBS = (
    Job("commands", _commands, lambda rows, quick: [more_tables.commands_table(rows)]),
    Job("wide", _wide, _wide_tables),
    Job("emos", _emos, lambda rows, quick: [more_tables.families_table(rows[0], _cases(quick))]),
    Job("levels", _levels, lambda rows, quick: [more_tables.levels_table(rows[0], _fits(quick))]),
)
