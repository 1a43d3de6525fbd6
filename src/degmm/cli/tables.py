"""Tables on the terminal, and plain text where the output is no terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column is left-aligned text, the others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    # Units in brackets are no markup.
    console = Console(highlight=False, markup=False)
    # A redirected table is never folded to the width of a terminal that is not there.
    console = console if console.is_terminal else Console(width=1000, highlight=False, markup=False)
    console.print(table)


def print_seconds(seconds: dict[str, float]) -> None:
    """Print where the time went, in one line."""
    parts = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    print(f"seconds: {parts}")
