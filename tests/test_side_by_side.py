"""The benchmarks' command: it measures, compares and writes what it says; times themselves are not tested."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.side_by_side import cases, tables  # noqa: E402


def row(library, first, status="done", **more):
    return {"library": library, "first": first, "warm": first / 2, "status": status, **more}


def test_a_peer_that_is_ahead_is_shown():
    rows = [row("degmm", 2.0), row("scikit-learn", 1.0), row("gmmx", 8.0)]
    assert tables.ahead(rows) == "**0.50 (scikit-learn)**"
    assert tables.ahead([row("degmm", 2.0), row("gmmx", 8.0)]) == "4.0 (gmmx)"


def test_a_fit_over_the_limit_is_no_time():
    late = {"library": "gmmx", "status": "over the limit"}
    assert tables.cell(late, 45) == "> 45"
    assert tables.ahead([row("degmm", 2.0), late]) == "all over the limit"
    assert tables.ahead([late]) == "–"


def test_all_libraries_are_told_the_same():
    for series in (*cases.FULL, *cases.QUICK):
        for size in series.sizes:
            told = [t for s, _, t in series.specifications() if s == size]
            assert all({**t, "library": ""} == {**told[0], "library": ""} for t in told)


@pytest.mark.slow
def test_the_quick_suite_writes_tables_and_pictures(tmp_path):
    command = [sys.executable, "-m", "benchmarks.side_by_side", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "results.json").read_text())
    fits = written["fits"]
    expected = [(size.n, library) for s in cases.QUICK for size, library, _ in s.specifications()]
    assert [(fit["n"], fit["library"]) for fit in fits] == expected
    assert {fit["status"] for fit in fits} <= {"done", "not installed"}
    assert min(written["passes"][name] for name in ("copy", "moments", "read", "exponentials")) > 0
    with open(tmp_path / "results.csv", newline="") as file:
        assert [line["library"] for line in csv.DictReader(file)] == [fit["library"] for fit in fits]
    table = (tmp_path / "table.md").read_text()
    assert str(ROOT) not in table
    assert all(series.title in table for series in cases.QUICK)
    for name in ("time.png", "memory.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_each_library_fits_the_same_mixture_of_single_members(tmp_path):
    """At M = 1 the model is the same, and so must be the likelihood that is reached."""
    from benchmarks.side_by_side.launch import Runner

    series = cases.Series("single", "", "n", (cases.Size(2000, 1, 2, 2),), starts=4)
    rows = [r for r in Runner(tmp_path, 200, 1).rows(series) if r["status"] != "not installed"]
    found = {r["library"]: r["log_likelihood"] for r in rows}
    assert {r["status"] for r in rows} == {"done"}
    assert max(found.values()) - min(found.values()) < 0.01, found
