"""Tables in files: CSV and Parquet."""

import bz2
import csv
import gzip
import lzma
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from degmm.ensembles.cells import unmarked
from degmm.ensembles.names import first_line, named_members
from degmm.memory import check_amount

if TYPE_CHECKING:
    import pandas as pd

LONGEST_LINE = 8 * 1024**2
"""Letters of a row: those of some 400 000 numbers"""
BYTES_OF_A_CELL = 8
SEPARATORS = ",;\t|"
LEADING_ZERO = re.compile(r"\s*0\d{3,}\s*")
"""Such as the number of a station, 06610: text, which as a number would be another label"""
DIGITS = re.compile(r"\s*\d*\s*")
OPENERS: dict[str, Callable[..., IO[Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def read_csv(path: Path) -> "pd.DataFrame":
    """Read a CSV file, also a compressed one; the separator is that of its first line.

    Raises
    ------
    ValueError
        If it is no text, or its rows are no table: pandas would fill up short rows, take surplus
        columns for an index, and rename columns of the same name.
    """
    import pandas as pd

    try:
        separator, text = _checked(path)
        table = pd.read_csv(
            path,
            sep=separator,
            dtype=dict.fromkeys(text, str),
            index_col=False,
            encoding="utf-8-sig",
            low_memory=False,
            skipinitialspace=True,
        )
        return unmarked(table)
    except UnicodeDecodeError as error:
        raise ValueError(f"not a readable CSV file: no text in UTF-8 ({error}); save it as such") from error
    except ValueError as error:  # also of pandas
        said = first_line(error)
        raise ValueError(said if said.startswith(("the table", "row ")) else _unreadable(error)) from error
    except Exception as error:  # of the compression
        raise ValueError(_unreadable(error)) from error


def _unreadable(error: Exception) -> str:
    what = f"{type(error).__name__}: {first_line(error)}"
    return f"not a readable CSV file; write or fetch it again ({what})"


def _checked(path: Path) -> tuple[str, list[str]]:
    """Return the separator of a table, and which of its columns are text that looks like numbers.

    Its columns and rows are checked.
    """
    opener: Callable[..., IO[Any]] = OPENERS.get(path.suffix.lower(), open)
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        head = file.readline(LONGEST_LINE)
        if "\0" in head:
            raise ValueError("the table is no text; save it as CSV")
        separator = max(SEPARATORS, key=head.count)
        file.seek(0)
        rows = csv.reader(_lines(file, path), delimiter=separator, skipinitialspace=True)
        written = next(rows, [])
        names = [name.strip() for name in written]
        twice = next((n for n in names if n and names.count(n) > 1), None)
        if twice is not None:
            raise ValueError(f"the table has two columns named {twice!r}; rename one")
        zeros: set[int] = set()
        digits = {j for j, name in enumerate(names) if name and not named_members([name])}
        for k, row in enumerate(filter(None, rows)):
            if len(row) != len(names):
                raise ValueError(
                    f"row {k} of the table (line {rows.line_num}) has {len(row)} cells for {len(names)} "
                    "columns; correct it"
                )
            digits = {j for j in digits if DIGITS.fullmatch(row[j])}
            zeros |= {j for j in digits - zeros if LEADING_ZERO.fullmatch(row[j])}
    return separator, [written[j] for j in sorted(zeros & digits)]


def _lines(file: IO[str], path: Path) -> Iterator[str]:
    """Yield the lines of a file, and end where they would fill the memory."""
    stored, read = path.stat().st_size, 0
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise ValueError(
                f"the table has a line of more than {LONGEST_LINE:,} letters; write it in several"
            )
        read += len(line)
        check_amount("the table", read, stored, "unpack it, and give the file that comes of that, or a part")
        yield line


def read_parquet(path: Path) -> "pd.DataFrame":
    """Read a Parquet file."""
    import pandas as pd

    try:
        from pyarrow.parquet import read_metadata

        head = read_metadata(path)
        needed = head.num_rows * head.num_columns * BYTES_OF_A_CELL
        check_amount("the table", needed, None, "take fewer of its rows or columns")
        table = pd.read_parquet(path)
        for _, column in table.items():
            if column.dtype.kind == "O":  # text, which pyarrow only checks when it is asked for
                column.astype(object)
        return table
    except ImportError as error:
        raise ImportError(f"{path}: reading it needs pyarrow: pip install 'degmm[files]'") from error
    except Exception as error:
        if str(error).startswith("the table"):
            raise  # pyarrow's own types
        raise ValueError(
            f"not a readable Parquet file; write or fetch it again ({first_line(error)})"
        ) from error
