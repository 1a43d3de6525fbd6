"""Run all: ``python -m benchmarks.side_by_side [--quick] [--out FOLDER] [--limit SECONDS]``."""

import argparse
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import cases, machine, start_up, tables
from benchmarks.side_by_side.cases import Series
from benchmarks.side_by_side.jobs import JOBS, Job
from benchmarks.side_by_side.launch import LONG, ROOT, Runner


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.side_by_side", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, once each: a minute or two")
    parser.add_argument(
        "--out", type=Path, default=Path("out/side_by_side"), help="where results are written"
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=45,
        help=f"seconds after which a fit is ended; whole commands and jobs of many fits have {LONG} times that",
    )
    parser.add_argument(
        "--repeats", type=int, default=3, help="measurements of what is short; the median counts"
    )
    parser.add_argument(
        "--publish", action="store_true", help="put the tables and pictures into docs/benchmarks.md"
    )
    parser.add_argument("--series", nargs="*", help="only these series and jobs, by name")
    return parser.parse_args()


@dataclass
class Results:
    """What has been measured so far, and the tables of it."""

    given: argparse.Namespace
    described: str
    absent: list[str]
    passes: dict[str, Any]
    waits: list[dict[str, Any]]
    series: list[Series] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[tuple[Job, list[dict[str, Any]]]] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    @property
    def told(self) -> str:
        """The machine, and how long all of it took."""
        return f"{self.described}. {(time.perf_counter() - self.started) / 60:.1f} minutes in all."

    def report(self) -> str:
        """Return all tables in Markdown: what a newcomer feels comes first."""
        limit, quick = self.given.limit, self.given.quick
        parts = [self.told, tables.LEGEND.format(limit=limit)]
        if self.absent:
            parts.append(f"Not installed, and so not measured: {', '.join(self.absent)}.")
        parts += [
            tables.series_table(one, [row for row in self.rows if row["series"] == one.name], limit)
            for one in self.series
        ]
        if self.series:
            parts.append(tables.memory_table(self.rows))
        for job, rows in self.jobs:
            parts += job.tables(rows, quick)
        parts += [
            tables.start_up_table(self.waits, self.rows),
            tables.passes_table(str(size_of_passes(quick)), self.passes),
        ]
        return "\n\n".join(parts)

    def write(self) -> str:
        """Write tables and pictures of what is measured, and return the tables."""
        from benchmarks.side_by_side import pictures

        text, out = self.report(), self.given.out
        figures = {"machine": self.told, "passes": self.passes, "start_up": self.waits, "fits": self.rows}
        tables.write(out, text, self.rows, figures | {job.name: rows for job, rows in self.jobs})
        pictures.times(out / "time.png", self.series, self.rows, self.given.limit)
        pictures.peaks(out / "memory.png", self.rows)
        if self.given.publish:
            tables.publish(ROOT / "docs" / "benchmarks.md", out, text)
        return text


def size_of_passes(quick: bool) -> cases.Size:
    """Return the size at which passes are timed alone."""
    return cases.QUICK_PASSES if quick else cases.PASSES


def chosen(given: argparse.Namespace) -> tuple[list[Series], list[Job]]:
    """Return the series and jobs that were asked for: all, if none is named."""
    series = list(cases.QUICK if given.quick else cases.FULL)
    known = [one.name for one in series] + [job.name for job in JOBS]
    if unknown := set(given.series or []) - set(known):
        raise SystemExit(f"--series: no {', '.join(sorted(unknown))}; choose of {', '.join(known)}")
    named = given.series or known
    return [one for one in series if one.name in named], [job for job in JOBS if job.name in named]


def main() -> None:
    """Measure, printing each figure as it comes, and write tables and pictures after each series."""
    given = arguments()
    series, jobs = chosen(given)
    described = machine.described()
    print(described, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(Path(folder), given.limit, 1 if given.quick else given.repeats)
        for peer in runner.absent:
            print(f"{peer} is not installed: pip install '.[bench]'", flush=True)
        started = time.perf_counter()
        size = size_of_passes(given.quick)
        passes = runner.once({"job": "passes", "path": str(runner.data(size)), "K": size.K})
        if passes["status"] != "done":
            raise SystemExit(f"passes: {passes['status']}")
        waits = start_up.measured(given.quick)
        results = Results(given, described, runner.absent, passes, waits, started=started)
        for one in series:
            for row in runner.rows(one):
                results.rows.append(row)
                figures = tables.cell(row, given.limit)
                print(f"{one.name:8} {row['members']:>9} {row['library']:24} {figures}", flush=True)
            results.series.append(one)
            results.write()
        for job in jobs:
            results.jobs.append((job, job.measured(runner, given.quick)))
            results.write()
    print(f"\n{results.write()}\n\nWritten to {given.out}", flush=True)


if __name__ == "__main__":
    main()
