"""Figures as a table in Markdown, as CSV and as JSON."""

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

from benchmarks.side_by_side.cases import PEERS, Series

Row = dict[str, Any]
COLUMNS = [
    "series",
    "library",
    "n",
    "M",
    "D",
    "K",
    "members",
    "starts",
    "status",
    "start_up",
    "first",
    "warm",
    "memory",
    "iterations",
    "log_likelihood",
]

LEGEND = (
    "What a newcomer feels first is the first fit, then the second: seconds of the first fit in a new process, and "
    "in brackets of the same fit again; imports are apart, below. An earlier process has filled the store of "
    "compiled programs, as it is on a user's machine from the second process on; “empty store”: DEGMM_CACHE=off, "
    "and all is compiled. The last column has how many times longer than degmm's (with its store) the fastest "
    "peer's first fit takes, bold where the peer is ahead. “> {limit:.0f}”: not done in that many seconds; "
    "“not run”: larger than such a one. Where several processes measure the same, their median."
)
"""What the tables say"""

MARKS = ("<!-- side_by_side -->", "<!-- /side_by_side -->")
"""Where the documentation has the tables"""


def shown(seconds: float | None) -> str:
    """Return seconds, or megabytes, to two digits."""
    if seconds is None or math.isnan(seconds):
        return "–"
    digits = max(0, 1 - math.floor(math.log10(seconds))) if seconds > 0 else 0
    return f"{seconds:.{digits}f}"


def cell(row: Row | None, limit: float) -> str:
    """Return a library's first fit and its second, or why there is none."""
    if row is None:
        return ""
    if row["status"] == "over the limit":
        return f"> {limit:.0f}"
    if row["status"] != "done":
        return str(row["status"])
    return f"{shown(row['first'])} ({shown(row['warm'])})" if "warm" in row else shown(row["first"])


def ahead(rows: list[Row]) -> str:
    """Return how many times longer the fastest peer's first fit takes than ours."""
    ours = [row for row in rows if row["library"] == "degmm" and row["status"] == "done"]
    peers = [row for row in rows if row["library"] in PEERS and row["status"] == "done"]
    over = [row for row in rows if row["library"] in PEERS and row["status"] == "over the limit"]
    if not ours or not (peers or over):
        return "–"
    if not peers:
        return "all over the limit"
    fastest = min(peers, key=lambda row: row["first"])
    ratio = fastest["first"] / ours[0]["first"]
    return (
        f"{shown(ratio)} ({fastest['library']})"
        if ratio >= 1
        else f"**{shown(ratio)} ({fastest['library']})**"
    )


def behind(rows: list[Row], peer: str) -> str:
    """Return how many times as long as a peer we take, bold where that is longer."""
    times = {row["library"]: row["first"] for row in rows if row["status"] == "done"}
    if not {"degmm", peer} <= times.keys():
        return "–"
    ratio = shown(times["degmm"] / times[peer])
    return ratio if times["degmm"] <= times[peer] else f"**{ratio}**"


def markdown(title: str, heads: list[str], lines: list[list[str]], note: str = "") -> str:
    """Return a table in Markdown."""
    written = [f"**{title}**", "", *([note, ""] if note else [])]
    written += [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    return "\n".join([*written, *(f"| {' | '.join(cells)} |" for cells in lines)])


def series_table(series: Series, rows: list[Row], limit: float) -> str:
    """Return a series in Markdown: a line for each size, a column for each library."""
    peers = [name for name in series.libraries if name in PEERS]
    ratios = (
        [f"degmm / {peer}" for peer in peers] if series.whole else ["fastest peer / degmm"] if peers else []
    )
    lines = []
    for size in series.sizes:
        here = [r for r in rows if (r["n"], r["M"], r["D"], r["K"]) == (size.n, size.M, size.D, size.K)]
        cells = [
            cell(next((r for r in here if r["library"] == name), None), limit) for name in series.libraries
        ]
        compared = [behind(here, peer) for peer in peers] if series.whole else [ahead(here)] if peers else []
        label = f"{series.varied} = {getattr(size, series.varied)}".replace("members", "n·M")
        lines.append([label, *cells, *compared])
    return markdown(series.title, ["size", *series.libraries, *ratios], lines, series.wanted)


def memory_table(rows: list[Row]) -> str:
    """Return the greatest memory of the first fits beyond imports and data, of two series."""
    chosen = [r for r in rows if r["series"] in ("members", "file") and r.get("memory") is not None]
    names = sorted({r["library"] for r in chosen})
    lines = []
    for key in dict.fromkeys((r["series"], r["n"], r["M"]) for r in chosen):
        here = {r["library"]: r for r in chosen if (r["series"], r["n"], r["M"]) == key}
        cells = []
        for name in names:
            more = "> " if name in here and here[name]["status"] != "done" else ""
            cells.append(more + f"{here[name]['memory']:.0f}" if name in here else "")
        label = f"n = {key[1]}, M = {key[2]}" + (", from a file" if key[0] == "file" else "")
        lines.append([label, *cells])
    title = "Greatest memory in the first fit, beyond imports and data, MB"
    return markdown(title, ["size", *names], lines)


def start_up_table(start: list[Row], rows: list[Row]) -> str:
    """Return what is waited for before a fit."""
    imports: dict[str, float] = {}
    for row in rows:
        if row["status"] == "done" and not math.isnan(row.get("start_up", math.nan)):
            name = row["library"].split(",")[0]
            imports[name] = min(row["start_up"], imports.get(name, math.inf))
    lines = [[row["what"], shown(row["seconds"])] for row in start]
    lines += [[f"Python and the imports of a fit: {name}", shown(s)] for name, s in imports.items()]
    return markdown("Start-up, seconds of a whole process", ["what", "seconds"], lines)


def passes_table(size: str, found: Row) -> str:
    """Return the passes beside the least that they need."""
    ratio_moments = found["moments"] / found["copy"]
    ratio_em = found["iteration"] / (found["read"] + found["exponentials"])
    lines = [
        ["copy of the members", f"{1e3 * found['copy']:.1f}", ""],
        ["their moments", f"{1e3 * found['moments']:.1f}", f"{ratio_moments:.1f} copies"],
        ["one read of the moments", f"{1e3 * found['read']:.2f}", ""],
        ["n·K exponentials", f"{1e3 * found['exponentials']:.2f}", ""],
        [
            "an iteration of EM",
            f"{1e3 * found['iteration']:.1f}",
            f"{ratio_em:.1f} times that read and those exponentials",
        ],
    ]
    return markdown(f"Passes alone, {size}, float32", ["what", "ms", "of"], lines)


def publish(page: Path, folder: Path, markdown: str) -> None:
    """Put the tables into a page of the documentation, between its marks, and the pictures beside it."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    page.write_text(f"{before}{MARKS[0]}\n{markdown}\n{MARKS[1]}{after}", encoding="utf-8")
    for picture in ("time", "memory"):
        if (drawn := folder / f"{picture}.png").exists():
            shutil.copy(drawn, page.parent / "images" / f"benchmark_{picture}.png")


def write(folder: Path, markdown: str, rows: list[Row], all_figures: dict[str, Any]) -> None:
    """Write ``table.md``, ``results.csv`` and ``results.json``, each beside and then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("table.md", markdown), ("results.json", json.dumps(all_figures, indent=1))):
        (folder / f".{name}").write_text(text + "\n", encoding="utf-8")
        (folder / f".{name}").replace(folder / name)
    with open(folder / ".results.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    (folder / ".results.csv").replace(folder / "results.csv")
