"""Pictures: seconds of a fit against n·M, M, D and K, and memory, on logarithmic axes."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.side_by_side.cases import Series

COLOURS = {
    "degmm": "#0072B2",
    "degmm, empty store": "#56B4E9",
    "degmm, deep": "#E69F00",
    "degmm, deep, empty store": "#F0E442",
    "scikit-learn": "#D55E00",
    "gmmx": "#009E73",
    "pomegranate": "#CC79A7",
}
AXES = {"members": "members n·M", "n": "ensembles n", "M": "members M", "D": "variables D", "K": "clusters K"}


def times(path: Path, series: list[Series], rows: list[dict[str, Any]], limit: float) -> None:
    """Draw each series: full lines are first fits, with compilation, dashed ones second fits."""
    drawn = [one for one in series if len(one.sizes) > 1] or series
    if not drawn:
        return
    columns = min(3, len(drawn))
    height = -(-len(drawn) // columns)
    figure, axes = plt.subplots(height, columns, figsize=(3.6 * columns, 2.9 * height), squeeze=False)
    for ax, one in zip(axes.flat, drawn, strict=False):
        here = [row for row in rows if row["series"] == one.name]
        for library in one.libraries:
            _line(ax, [row for row in here if row["library"] == library], one.varied, "first", "-", limit)
            if not one.whole:
                _line(ax, [row for row in here if row["library"] == library], one.varied, "warm", ":", limit)
        start = f", {one.starts} starts" if one.starts > 1 else ""
        fixed = {"single": ", M = 1", "deep": ", deep", "whole": ", whole processes"}.get(one.name, "")
        ax.set(xscale="log", yscale="log", xlabel=AXES[one.varied] + start + fixed, ylabel="seconds")
        if one.varied in "MDK":  # too few decades for ticks at powers of ten
            values = [getattr(size, one.varied) for size in one.sizes]
            ax.set_xticks(values, [str(value) for value in values])
            ax.set_xticks([], minor=True)
        ax.grid(alpha=0.3)
    for ax in axes.flat[len(drawn) :]:
        ax.axis("off")
    _legend(figure, axes)
    figure.savefig(path, dpi=90, bbox_inches="tight")
    plt.close(figure)


def peaks(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draw the memory of first fits beyond imports and data, beside that of the data."""
    here = [row for row in rows if row["series"] == "members" and row["status"] == "done"]
    if not here:
        return
    figure, ax = plt.subplots(figsize=(4.6, 3.4))
    for library in dict.fromkeys(row["library"] for row in here):
        of = [row for row in here if row["library"] == library]
        ax.plot(
            [r["members"] for r in of],
            [r["memory"] for r in of],
            "o-",
            color=COLOURS[library],
            label=library,
            ms=4,
        )
    sizes = sorted({row["members"] for row in here})
    dimensions = here[0]["D"]
    ax.plot(sizes, [4e-6 * dimensions * size for size in sizes], "k--", lw=1, label="the data themselves")
    ax.set(xscale="log", yscale="log", xlabel=AXES["members"], ylabel="MB beyond imports and data")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=90, bbox_inches="tight")
    plt.close(figure)


def _line(ax: Axes, rows: list[dict[str, Any]], varied: str, what: str, style: str, limit: float) -> None:
    done = [row for row in rows if row["status"] == "done"]
    if not rows:
        return
    colour = COLOURS.get(rows[0]["library"], "grey")
    label = rows[0]["library"] if what == "first" else None
    ax.plot([r[varied] for r in done], [r[what] for r in done], "o" + style, color=colour, ms=4, label=label)
    over = [row[varied] for row in rows if row["status"] == "over the limit"]
    if what == "first":
        ax.plot(over, [limit] * len(over), "^", color=colour, ms=7, mfc="none")


def _legend(figure: Any, axes: Any) -> None:
    found = {}
    for ax in axes.flat:
        found |= {label: line for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.tight_layout()
    figure.legend(
        found.values(),
        found.keys(),
        ncol=len(found),
        loc="lower center",
        bbox_to_anchor=(0.5, -0.08),
        frameon=False,
    )
