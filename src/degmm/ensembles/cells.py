"""Cells of CSV: written so that no spreadsheet runs a name as a formula, and read back as they were.

A spreadsheet takes a cell of text that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, which can
start programs and send what the sheet holds elsewhere; names of stations, members and variables come from
files of others. Such a text is written with an apostrophe before it, which tells spreadsheets what it is.
Reading takes one off again, so that labels stay what they were. Numbers are no text and stay numbers.
"""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FORMULA = re.compile(r"'*[\s\0]*[=+\-@＝＋－＠]")
"""How a text begins that a spreadsheet would run, or that looks as if it had been marked"""
MARKED = re.compile(r"'+[\s\0]*[=+\-@＝＋－＠]")
"""How a text begins that was marked when it was written"""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
"""Text that is read as the number that it is"""


def csv_bytes(table: "pd.DataFrame", *, index: bool = True) -> bytes:
    """Return the content of a CSV file. All CSV that is written passes here.

    Parameters
    ----------
    table : pandas.DataFrame
    index : bool
        Whether the labels of its rows, which have names, are its first columns.
    """
    table = table.reset_index() if index else table
    safe = table.copy(deep=False)
    for k, dtype in enumerate(table.dtypes):
        if dtype.kind not in "biufcmM":  # numbers and times are no text
            safe.isetitem(k, table.iloc[:, k].astype(object).map(as_cell).to_numpy())
    safe.columns = [as_cell(name) for name in table.columns]
    return safe.to_csv(index=False).encode("utf-8", "replace")


def as_cell(value: Any) -> Any:
    """Return a value as a cell holds it: a text that would be a formula with an apostrophe before it."""
    if not isinstance(value, str):
        return value
    # Alone, a carriage return ends a row for some readers.
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def of_cell(value: Any) -> Any:
    """Return what :func:`as_cell` was given."""
    return value[1:] if isinstance(value, str) and MARKED.match(value) else value


def unmarked(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table that was read from CSV with its texts as they were before it was written."""
    names = [of_cell(name) for name in table.columns]
    if len({*names}) == len(names):
        table.columns = names
    for k, dtype in enumerate(table.dtypes):
        if dtype.kind not in "biufcmM":
            column = table.iloc[:, k]
            if column.astype(object).map(lambda value: isinstance(value, str) and value[:1] == "'").any():
                table.isetitem(k, column.astype(object).map(of_cell).to_numpy())
    return table
