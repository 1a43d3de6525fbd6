"""Tables of what is no series of fits: many variables, whole commands, families, and many fits in one process."""

import math
from typing import Any

from benchmarks.side_by_side.tables import markdown, shown
from benchmarks.side_by_side.wide_cases import PROGRAMS, SLOWEST, Wide

Row = dict[str, Any]


def held(value: float | None, wanted: float | None, sign: str = "≤") -> str:
    """Return a figure with what is wanted of it beside it, bold where it is not reached."""
    text = shown(value)
    if wanted is None or text == "–" or value is None:
        return text
    reached = value <= wanted if sign == "≤" else value >= wanted
    text = text if reached else f"**{text}**"
    return f"{text} ({sign} {wanted:g})"


def milliseconds(row: Row, key: str) -> str:
    """Return a time in ms, or that it was not found before the limit."""
    if key in row:
        return shown(1e3 * row[key])
    return "–" if row["status"] == "done" else str(row["status"])


def ratio(row: Row, over: str, under: str) -> float | None:
    """Return one figure divided by another; None where either is absent."""
    return row[over] / row[under] if over in row and under in row else None


def wide_table(cases: list[Wide], rows: list[Row]) -> str:
    """Return iterations of EM, default fits and predictions of many variables."""
    heads = ["D, M", "iteration, ms", "scikit-learn", "times as fast"]
    heads += ["default fit, s", "its final EM (iterations)", "fit / final"]
    heads += ["predict, ms", "scikit-learn", "degmm / scikit-learn"]
    lines = []
    for case, row in zip(cases, rows, strict=False):
        final = shown(row.get("final")) + (f" ({row['iterations']})" if "iterations" in row else "")
        asked = None if case.faster is None else SLOWEST
        lines.append(
            [
                _label(case),
                milliseconds(row, "iteration"),
                milliseconds(row, "peer_iteration"),
                held(ratio(row, "peer_iteration", "iteration"), case.faster, "≥"),
                held(row.get("fit"), case.seconds),
                final,
                held(ratio(row, "fit", "final"), asked),
                milliseconds(row, "predict"),
                milliseconds(row, "peer_predict"),
                held(ratio(row, "predict", "peer_predict"), None if case.faster is None else 1.0),
            ]
        )
    note = (
        "All compiled, in one process a line, without a store. Iterations of both are from the same responsibilities "
        "(scikit-learn's on the members laid flat, each with those of its ensemble). The default fit has 64 starts; its final "
        "EM is the run on all ensembles from the start that the search hands it. In brackets, what is wanted; bold, where it "
        "is not reached."
    )
    return markdown(
        f"Many variables, K = {cases[0].size.K}, n = 10 000 where nothing else is said", heads, lines, note
    )


def wide_memory_table(cases: list[Wide], rows: list[Row]) -> str:
    """Return the memory of default fits of many variables."""
    lines = []
    for case, row in zip(cases, rows, strict=False):
        if "memory" in row:
            times = row["memory"] / case.megabytes
            lines.append(
                [_label(case), shown(case.megabytes), held(row["memory"], case.memory), f"{times:.1f}"]
            )
    heads = ["D, M", "members, MB", "default fit beyond them, MB", "times the members"]
    note = (
        "Greatest memory in the first default fit of a process, compilation counted, beyond imports and members. Wanted where "
        f"M = 1 or M ≥ D/2: twice the members, and {PROGRAMS:.0f} MB for programs."
    )
    return markdown("Memory of many variables", heads, lines, note)


def _label(case: Wide) -> str:
    size = case.size
    more = "" if case.covariance == "full" else f", {case.covariance}"
    return f"D = {size.D}, M = {size.M}{more}" + ("" if size.n == 10_000 else f", n = {size.n}")


def commands_table(rows: list[Row]) -> str:
    """Return seconds and memory of whole commands."""
    lines = []
    for row in rows:
        if row["status"] == "no data":
            lines.append([row["what"], "no data", "", "", ""])
            continue
        cells = [row["what"]]
        for store, wanted in (("filled", "wanted"), ("empty", "wanted_empty")):
            found = row[store]
            done = found["status"] == "done"
            cells.append(held(found["seconds"], row[wanted]) if done else found["status"])
        for store in ("filled", "empty"):
            found = row[store].get("memory", math.nan)
            cells.append("–" if math.isnan(found) else held(round(found), row["wanted_memory"]))
        lines.append(cells)
    heads = ["command", "seconds", "empty store", "memory, MB", "empty store"]
    note = (
        "From start to end, with a store of compiled programs that the same command has filled before, and with "
        "DEGMM_CACHE=off; the greatest memory of a process, imports and all. “no data”: the file is not in the folder that DEGMM_DATA names."
    )
    return markdown("Whole commands", heads, lines, note)


def families_table(row: Row, cases: int) -> str:
    """Return seconds of EMOS by family."""
    lines = [[f"`{name}`", shown(first), held(again, 2.0)] for name, first, again in row.get("families", [])]
    lines += [] if row["status"] == "done" else [[row["status"], "", ""]]
    return markdown(
        f"A fit of EMOS to {cases} cases of 10 members",
        ["family", "first fit, s, empty store", "compiled"],
        lines,
    )


def levels_table(row: Row, fits: int) -> str:
    """Return the memory of one process over many fits."""
    found = row.get("levels", [])
    note = "Resident memory after so many fits, no two of one size: n from 200 to 2000, K from 2 to 6, D from 1 to 8, M = 5."
    note += "" if row["status"] == "done" else f" The process ended before: {row['status']}."
    heads = ["fits", *(str(count) for count, _ in found)]
    lines = [["MB", *(f"{megabytes:.0f}" for _, megabytes in found)]]
    return markdown(f"Memory over {fits} fits in one process", heads, lines, note)
