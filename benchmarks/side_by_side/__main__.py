"""Run all: ``python -m benchmarks.side_by_side [--quick] [--out FOLDER] [--limit SECONDS]``."""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import cases, machine, start_up, tables
from benchmarks.side_by_side.cases import Series
from benchmarks.side_by_side.launch import ROOT, Runner


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.side_by_side", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, once each: under a minute")
    parser.add_argument(
        "--out", type=Path, default=Path("out/side_by_side"), help="where results are written"
    )
    parser.add_argument("--limit", type=float, default=45, help="seconds after which a fit is ended")
    parser.add_argument("--repeats", type=int, default=3, help="processes for each short first fit")
    parser.add_argument(
        "--publish", action="store_true", help="put the tables and pictures into docs/benchmarks.md"
    )
    parser.add_argument("--series", nargs="*", help="only these series, by name")
    return parser.parse_args()


def main() -> None:
    """Measure, printing each figure as it comes, and write tables and pictures."""
    given = arguments()
    started = time.perf_counter()
    described = machine.described()
    series = [
        s for s in (cases.QUICK if given.quick else cases.FULL) if not given.series or s.name in given.series
    ]
    size = cases.QUICK_PASSES if given.quick else cases.PASSES
    if not series:
        raise SystemExit(f"--series: choose of {', '.join(one.name for one in cases.FULL)}")
    print(described, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(Path(folder), given.limit, 1 if given.quick else given.repeats)
        for peer in runner.absent:
            print(f"{peer} is not installed: pip install '.[bench]'", flush=True)
        passes = runner.measured({"job": "passes", "path": str(runner.data(size)), "K": size.K}, size)
        if passes["status"] != "done":
            raise SystemExit(f"passes: {passes['status']}")
        waits = start_up.measured(given.quick)
        rows: list[dict[str, Any]] = []
        for position, one in enumerate(series):
            for row in runner.rows(one):
                rows.append(row)
                print(
                    f"{one.name:8} {row['members']:>9} {row['library']:14} {tables.cell(row, given.limit)}",
                    flush=True,
                )
            minutes = (time.perf_counter() - started) / 60
            told = f"{described}. {minutes:.1f} minutes in all."
            done = series[: position + 1]
            text = report(done, rows, passes, waits, given, told, runner.absent)
            everything = {"machine": told, "passes": passes, "start_up": waits, "fits": rows}
            written(given, done, rows, text, everything)  # after each series: what is measured is kept
    print(f"\n{text}\n\nWritten to {given.out}", flush=True)


def written(
    given: argparse.Namespace,
    series: list[Series],
    rows: list[dict[str, Any]],
    text: str,
    everything: dict[str, Any],
) -> None:
    """Write tables and pictures."""
    from benchmarks.side_by_side import pictures

    tables.write(given.out, text, rows, everything)
    pictures.times(given.out / "time.png", series, rows, given.limit)
    pictures.peaks(given.out / "memory.png", rows)
    if given.publish:
        tables.publish(ROOT / "docs" / "benchmarks.md", given.out, text)


def report(
    series: list[Series],
    rows: list[dict[str, Any]],
    passes: dict[str, Any],
    waits: list[dict[str, Any]],
    given: argparse.Namespace,
    described: str,
    absent: list[str],
) -> str:
    """Return all tables in Markdown."""
    size = cases.QUICK_PASSES if given.quick else cases.PASSES
    parts = [described, tables.LEGEND.format(limit=given.limit)]
    if absent:
        parts.append(f"Not installed, and so not measured: {', '.join(absent)}.")
    parts += [tables.series_table(s, [r for r in rows if r["series"] == s.name], given.limit) for s in series]
    parts += [
        tables.memory_table(rows),
        tables.start_up_table(waits, rows),
        tables.passes_table(str(size), passes),
    ]
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
