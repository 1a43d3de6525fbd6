"""Tables on the terminal, and plain text where the output is no terminal."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from degmm.cli.terminal import printed
from degmm.wording import in_one_line, visible


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column is left-aligned text, the others are numbers."""
    table = Table(box=None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(_cell(column), justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(_cell, row))
    # Units in brackets are no markup.
    console = Console(highlight=False, markup=False)
    # A redirected table is never folded to the width of a terminal that is not there.
    console = console if console.is_terminal else Console(width=1000, highlight=False, markup=False)

    def shown() -> None:
        console.print(Text(in_one_line(title), style="bold"))  # a table would fold it to its own width
        console.print(table)

    printed(shown)


def _cell(text: str) -> Text:
    return Text(visible(text))


def with_spreads(values: Sequence[float], spreads: Sequence[float]) -> list[str]:
    """Return ``value ± spread`` for the rows of a column, all with the same number of decimals.

    The smallest spread has three significant digits.
    """
    positive = [s for s in spreads if s > 0]
    place = int(np.floor(np.log10(min(positive)))) if positive else 0
    largest = max(abs(float(v)) for v in (*values, *spreads))
    if place < -5 or largest >= 1e7:
        return [f"{v:.3e} ± {s:.2e}" for v, s in zip(values, spreads, strict=True)]
    decimals = max(2 - place, 0)
    # Adding 0 turns -0 into 0.
    return [
        f"{round(v, decimals) + 0.0:.{decimals}f} ± {s:.{decimals}f}"
        for v, s in zip(values, spreads, strict=True)
    ]


def in_seconds(seconds: dict[str, float]) -> str:
    """Return where the time went, in one line."""
    parts = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    return f"seconds: {parts}"
