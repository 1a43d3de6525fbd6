"""The benchmarks' command: it measures, compares and writes what it says; times themselves are not tested."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.side_by_side import cases, commands, jobs, launch, more_tables, tables, wide, wide_cases  # noqa: E402
from degmm import EGMM  # noqa: E402


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


def test_whole_processes_that_take_longer_are_shown():
    rows = [row("degmm", 3.0), row("scikit-learn", 2.0), row("pomegranate", 6.0)]
    assert tables.behind(rows, "scikit-learn") == "**1.5**"
    assert tables.behind(rows, "pomegranate") == "0.50"
    assert tables.behind(rows, "gmmx") == "–"


def test_what_is_not_reached_is_bold():
    assert more_tables.held(2.0, 1.5) == "**2.0** (≤ 1.5)"
    assert more_tables.held(1.0, 1.5) == "1.0 (≤ 1.5)"
    assert more_tables.held(4.0, 5.0, "≥") == "**4.0** (≥ 5)"
    assert more_tables.held(4.0, None) == "4.0"
    assert more_tables.held(None, 5.0) == "–"


def test_an_empty_store_is_none_and_a_filled_one_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("DEGMM_CACHE", "off")
    monkeypatch.setenv("DEGMM_CACHE_DIR", "elsewhere")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    filled, empty = launch.environment(tmp_path), launch.environment(None)
    assert (filled["DEGMM_CACHE_DIR"], filled.get("DEGMM_CACHE")) == (str(tmp_path), None)
    assert (empty["DEGMM_CACHE"], empty.get("DEGMM_CACHE_DIR")) == ("off", None)
    assert not any(name.startswith("JAX_") for name in (*filled, *empty))


def test_the_store_is_filled_before_it_counts(monkeypatch, tmp_path):
    seconds, told_of = iter([9.0, 3.0, 1.0, 2.0]), []

    def once(self, told, store=None):
        told_of.append((store, told.get("again")))
        return {"status": "done", "first": next(seconds)}

    monkeypatch.setattr(launch.Runner, "once", once)
    runner = launch.Runner(tmp_path, 5, 3)
    found = runner.several({"job": "fit", "again": True}, runner.store)
    assert found["first"] == 2.0  # the median of the three after the first
    assert told_of == [(runner.store, False)] + 3 * [(runner.store, True)]


def test_clusters_of_many_variables_overlap_alike():
    for n, M, D in ((800, 1, 30), (400, 20, 30)):
        told = {"n": n, "M": M, "D": D, "K": 4, "distance": wide_cases.DISTANCE}
        X, labels = wide.drawn(told)
        assert (X.shape, X.dtype) == ((n, M, D), np.float32)
        of = [X[labels == k].reshape(-1, D).astype(float) for k in range(4)]
        inverse = np.linalg.inv(np.mean([np.cov(x.T) for x in of], axis=0))
        between = [a.mean(0) - b.mean(0) for i, a in enumerate(of) for b in of[:i]]
        # Means of clusters are uncertain, which adds their variances to the square of a distance.
        chance = np.mean([D / len(a) + D / len(b) for i, a in enumerate(of) for b in of[:i]])
        found = M * (np.mean([d @ inverse @ d for d in between]) - chance)
        assert np.sqrt(found) == pytest.approx(wide_cases.DISTANCE, rel=0.25)


@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_the_peer_starts_from_the_same_responsibilities():
    told = {"n": 300, "M": 1, "D": 3, "K": 2, "distance": 2.0, "covariance": "full"}
    X, labels = wide.drawn(told)
    start = wide.starting(labels, 2)
    peer = wide.peer(start, told, float("inf")).fit(X[:, 0])
    ours = EGMM(2, init_params=start, tol=0, max_iter=wide.PEER_ITERATIONS).fit(X)
    np.testing.assert_allclose(
        np.sort(peer.means_, axis=0), np.sort(ours.means_, axis=0), rtol=1e-3, atol=1e-4
    )
    assert len(np.diff(peer.stamps)) == wide.PEER_ITERATIONS


def test_a_peer_that_takes_too_long_is_ended():
    told = {"n": 300, "M": 1, "D": 3, "K": 2, "distance": 2.0, "covariance": "full"}
    X, labels = wide.drawn(told)
    peer = wide.peer(wide.starting(labels, 2), told, 0.0)
    with pytest.raises(TimeoutError):
        peer.fit(X[:, 0])
    assert len(peer.stamps) == 2  # one iteration is measured all the same
    assert peer.predict(X[:, 0]).shape == (300,)


def test_what_is_asked_of_many_variables():
    found = {(case.size.D, case.size.M): case for case in wide_cases.FULL}
    assert {key: case.faster for key, case in found.items() if case.beside} == {
        (D, M): {1: 1.5, 10: 5, 50: 20}[M] if D < 300 else {1: 1.5, 10: 1.5, 50: 10}[M]
        for D in (32, 100, 300)
        for M in (1, 10, 50)
    }
    assert found[100, 50].memory == pytest.approx(2 * 10_000 * 50 * 100 * 4 / 1e6 + 150)
    assert found[32, 1].memory == pytest.approx(2 * 10_000 * 32 * 4 / 1e6 + 150)
    assert found[100, 10].memory is None  # members are fewer than half the variables


def test_a_command_without_its_data_is_not_run(monkeypatch, tmp_path):
    monkeypatch.delenv("DEGMM_DATA", raising=False)
    done = {"status": "done", "seconds": 1.0, "memory": 300.0}
    monkeypatch.setattr(launch.Runner, "several", lambda *given, **more: done)
    rows = list(commands.measured(launch.Runner(tmp_path, 5, 1), quick=False))
    ran = [row["what"] for row in rows if row["status"] == "done"]
    assert ran == [f"`{c.shown}`" for c in commands.FULL if not c.file]
    assert len(ran) == 2
    table = more_tables.commands_table(rows)
    assert table.count("no data |") == len(rows) - 2
    assert all(row["what"] in table for row in rows)


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
    for job in jobs.JOBS:
        assert {row["status"] for row in written[job.name]} == {"done"}
    for row in written["commands"]:
        assert {row["filled"]["status"], row["empty"]["status"]} == {"done"}
        assert row["what"] in table
    assert all(one["peer_iteration"] > 0 for one in written["wide"] if one["covariance"] == "full")
    assert [count for count, _ in written["levels"][0]["levels"]] == [0, 1, 2, 3]
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
