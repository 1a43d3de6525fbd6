"""Tables in files: CSV and Parquet."""

import bz2
import csv
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from degmm.ensembles.cells import unmarked
from degmm.ensembles.names import first_line

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = ",;\t|"
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
        separator = _checked(path)
        table = pd.read_csv(
            path,
            sep=separator,
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


def _checked(path: Path) -> str:
    """Return the separator of a table, having checked its columns and rows."""
    opener: Callable[..., IO[Any]] = OPENERS.get(path.suffix.lower(), open)
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        if "\0" in head:
            raise ValueError("the table is no text; save it as CSV")
        separator = max(SEPARATORS, key=head.count)
        file.seek(0)
        rows = csv.reader(file, delimiter=separator, skipinitialspace=True)
        names = [name.strip() for name in next(rows, [])]
        twice = next((n for n in names if n and names.count(n) > 1), None)
        if twice is not None:
            raise ValueError(f"the table has two columns named {twice!r}; rename one")
        for k, row in enumerate(filter(None, rows)):
            if len(row) != len(names):
                raise ValueError(
                    f"row {k} of the table (line {rows.line_num}) has {len(row)} cells for {len(names)} "
                    "columns; correct it"
                )
    return separator


def read_parquet(path: Path) -> "pd.DataFrame":
    """Read a Parquet file."""
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except ImportError as error:
        raise ImportError(f"{path}: reading it needs pyarrow: pip install 'degmm[files]'") from error
    except Exception as error:  # pyarrow's own types
        raise ValueError(
            f"not a readable Parquet file; write or fetch it again ({first_line(error)})"
        ) from error
