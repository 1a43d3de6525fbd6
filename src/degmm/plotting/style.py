"""The look of the pictures: one colour-blind-safe palette, thin axes, no global settings."""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text

from degmm.files import write_bytes
from degmm.wording import visible

# Paul Tol's "muted" scheme without its grey, in an order that keeps neighbours far apart; the last
# colour is added to reach ten. Distinguishable with the common forms of colour blindness.
PALETTE = (
    "#332288",
    "#CC6677",
    "#117733",
    "#E0B000",
    "#56A8DC",
    "#882255",
    "#44AA99",
    "#8C6D1F",
    "#AA4499",
    "#5A5A5A",
)
MARKERS = ("o", "^", "D", "v", "P", "X")
# Dashes alone are kept for clusters without an ensemble.
LINES: Any = ("-", "-.", ":", (0, (7, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 3)), (0, (9, 2)))
FORMULA = re.compile(r"[\^_][{\w-]|\\[A-Za-z]")
"""What shows that the text between two dollars is a formula"""
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "axes.labelcolor": "#333333",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "legend.frameon": False,
}


def colour_of(cluster: int) -> str:
    """Return the colour of a cluster; beyond ten they repeat with another marker and line."""
    return PALETTE[cluster % len(PALETTE)]


def marker_of(cluster: int) -> str:
    """Return the marker of a cluster."""
    return MARKERS[cluster // len(PALETTE) % len(MARKERS)]


def line_of(cluster: int) -> Any:
    """Return the line style of a cluster."""
    return LINES[cluster // len(PALETTE) % len(LINES)]


class LiteralFigure(Figure):
    """A figure whose texts are read as mathematics only where they are such.

    Units and names come from files: a dollar in one, such as ``$/MWh``, is no mistake of its reader, and
    control characters, which no font has and no SVG may hold, are written out.
    """

    def draw(self, renderer: Any) -> None:
        """Draw the figure."""
        for axes in self.axes:
            for axis in (axes.xaxis, axes.yaxis):
                labels = [label.get_text() for label in axis.get_ticklabels()]
                if labels != (shown := [visible(label, keep="\n") for label in labels]):
                    axis.set_ticks(axis.get_ticklocs(), shown)
                axis.get_ticklabels()  # gives the labels their texts
        for text in self.findobj(Text):
            assert isinstance(text, Text)
            if text.get_text() != visible(text.get_text(), keep="\n"):
                text.set_text(visible(text.get_text(), keep="\n"))
            if "$" in text.get_text() and not _is_mathematics(text.get_text()):
                text.set_parse_math(False)
        super().draw(renderer)


def _is_mathematics(text: str) -> bool:
    """Return whether the parts of a text between dollars look like formulas, and all of them parse."""
    parts = text.replace(r"\$", "").split("$")
    if len(parts) % 2 == 0 or not all(map(FORMULA.search, parts[1::2])):
        return False
    try:
        MathTextParser("path").parse(text)
    except Exception:  # what its grammar raises is of no public type
        return False
    return True


def new_figure(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float], dpi: int = 200, **grid: Any
) -> tuple[Figure, Sequence[Any]]:
    """Return a figure of its own, outside pyplot's state, and its axes in reading order."""
    with mpl.rc_context(STYLE):
        figure = LiteralFigure(figsize=size, dpi=dpi, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False, **grid)
    return figure, list(axes.flat)


def across(panels: Sequence[Any]) -> Axes:
    """Return one panel in place of several that are beside each other."""
    spec: Any = panels[0].get_gridspec()
    figure, first, last = panels[0].figure, panels[0].get_subplotspec(), panels[-1].get_subplotspec()
    place = spec[first.rowspan.start, first.colspan.start : last.colspan.stop]
    for panel in panels:
        panel.remove()
    with mpl.rc_context(STYLE):
        whole: Axes = figure.add_subplot(place)
    return whole


def entitle(axes: Axes, title: str | None) -> None:
    """Write a title, if there is one, in the size that axes were made with."""
    if title is not None:
        # Without a size, Matplotlib takes that of the settings at the time of the call.
        axes.set_title(title, fontsize=axes.title.get_fontsize())


def save_figure(figure: Figure, path: Path | str) -> Path:
    """Write a figure in the format that the suffix of ``path`` names, beside and then renamed."""
    path = Path(path)
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format=path.suffix[1:] or "png")
    write_bytes(path, buffer.getvalue())
    return path
