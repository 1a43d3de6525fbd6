"""Columns of a table by their types: dates, numbers, labels."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from degmm.ensembles.times import (
    ISO_DATE,
    NAMED_AS_TIME,
    TIME_NAMES,
    as_nanoseconds,
    as_times,
    compact_times,
)

if TYPE_CHECKING:
    import pandas as pd

OBSERVED = re.compile(r"(?:obs|observation)_(?P<first>.+)|(?P<last>.+)_(?:obs|observation)")
UNNAMED = re.compile(r"Unnamed: \d+|__index_level_\d+__|")
"""Columns that an index without a name became in a file"""
NOTHING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "<NA>")
"""What pandas reads as missing where no blanks are about it"""
COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
"""A number with a decimal comma"""
OTHER_DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(?!\d)|\d{4}[./]\d{1,2}[./]\d{1,2}(?!\d)")
"""Dates in which the day and the month cannot be told apart, or that are not as ISO 8601 has them"""


def as_table(table: Any) -> "pd.DataFrame":
    """Return a table of another library's, such as polars or pyarrow, as one of pandas.

    Raises
    ------
    ValueError
        If it is no table.
    """
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        return table
    library, kind = type(table).__module__.split(".")[0], type(table).__name__
    convert = None if library == "xarray" else getattr(table, "to_pandas", None)
    found = convert() if callable(convert) else None
    if isinstance(found, pd.DataFrame):
        return found
    fix = {
        "xarray": "Ensemble.from_xarray reads it",
        "numpy": "Ensemble.from_numpy reads it",
        "Series": "to_frame() makes it one",
        "dict": "pandas.DataFrame(…) makes it one",
        "LazyFrame": "collect() it first",
    }
    raise ValueError(
        f"table: expected a pandas DataFrame, or a table of polars or pyarrow, got a {library}.{kind}; "
        + (fix.get(kind) or fix.get(library) or "convert it, as by its to_pandas() if it has that")
    )


def with_labels(table: "pd.DataFrame") -> "tuple[pd.DataFrame, list[str]]":
    """Return a table with its index as columns, if it says something, and dates as dates.

    Also return the columns made of an index without a name. Blanks about names and text are taken off.
    """
    if table.columns.nlevels > 1:
        raise ValueError("the table has columns of several levels; join them, as to t2m_m01")
    table = table.rename(columns=lambda name: str(name).strip())
    table, nameless = _with_index(_with_written_index(table))
    names = list(table.columns)
    if len({*names}) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise ValueError(f"the table has two columns named {twice!r}; rename one")
    table = table.assign(**{n: cells for n in names if (cells := _stripped(table[n])) is not None})
    dates = {n: found for n in names if (found := _dates(table[n])) is not None}
    return table.assign(**dates), nameless


def _with_index(table: "pd.DataFrame") -> "tuple[pd.DataFrame, list[str]]":
    """Return a table with its index as columns unless it only numbers the rows, and those without a name."""
    import pandas as pd

    index = table.index
    if index.nlevels == 1 and index.name is None and _is_range(index):
        return table, []
    names: list[str] = []
    nameless: list[str] = []
    for k, given in enumerate(index.names):
        if given is not None:
            names.append(str(given).strip())
            continue
        usual = f"level_{k}" if index.nlevels > 1 else "index"
        dated = index.nlevels == 1 and as_times(index.to_numpy()) is not None
        name = "time" if dated and "time" not in table.columns else usual
        while name in table.columns or name in names:
            name = f"{name}_"
        names.append(name)
        nameless.append(name)
    twice = next((name for name in names if name in table.columns), None)
    if twice is not None:
        raise ValueError(f"the table has an index and a column named {twice!r}; rename one")
    table = table.set_axis(index.set_names(names if isinstance(index, pd.MultiIndex) else names[0]), axis=0)
    return table.reset_index(), nameless


def _with_written_index(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table with the index that a column without a name was in a file, where it has no other."""
    first = str(table.columns[0]) if len(table.columns) > 1 else "-"
    if UNNAMED.fullmatch(first) is None or not _is_range(table.index) or table.index.name is not None:
        return table
    return table.set_index(first).rename_axis(None)


def _is_range(index: "pd.Index") -> bool:
    import pandas as pd

    return isinstance(index, pd.RangeIndex) or (
        index.dtype.kind in "iu" and np.array_equal(index.to_numpy(), np.arange(len(index)))
    )


def row_numbers(table: "pd.DataFrame", nameless: Sequence[str]) -> list[str]:
    """Return the columns of an index without a name that only tell the rows of a long table apart."""
    labels = [name for name in nameless if table[name].dtype.kind not in "iuf"]
    dated = [name for name in labels if table[name].dtype.kind == "M"]
    if labels and not dated and not table[labels].duplicated().any():
        labels = []
    return [name for name in nameless if name not in labels]


def _stripped(column: "pd.Series") -> np.ndarray | None:
    """Return a column of text without blanks about it, None for what is blank; None if there are none."""
    import pandas as pd

    if column.dtype.kind != "O" or isinstance(column.dtype, pd.CategoricalDtype):
        return None
    cells = column.to_numpy(object)
    plain = [cell.strip() if isinstance(cell, str) else cell for cell in cells]
    changed = [k for k, (cell, old) in enumerate(zip(plain, cells, strict=True)) if cell is not old]
    if not changed:
        return None
    stripped = cells.copy()
    for k in changed:
        stripped[k] = None if plain[k] in NOTHING else plain[k]
    return stripped


def _dates(column: "pd.Series") -> np.ndarray | None:
    """Return the dates in a column, if it is one of dates."""
    name, kind = str(column.name), column.dtype.kind
    if kind == "M" and isinstance(column.dtype, np.dtype):
        return as_nanoseconds(column.to_numpy())
    if kind in "iufO" and NAMED_AS_TIME.search(name):
        single = kind == "f" and getattr(column.dtype, "itemsize", 8) < 8
        numbers = column.to_numpy(np.float64, na_value=np.nan) if kind != "O" else column.to_numpy(object)
        times = None if single else compact_times(numbers)
        if times is not None:
            return as_nanoseconds(times)
    if kind in "fiubcm":
        return None
    known = column.notna().to_numpy()
    cells = column.to_numpy(object)[known]
    if not len(cells):
        return None
    dated = np.array([not isinstance(c, str) or bool(ISO_DATE.match(c)) for c in cells])
    if not dated.any() and all(OTHER_DATE.match(cell) for cell in cells):
        raise ValueError(
            f"column {name!r}, row {int(np.argmax(known))}: {cells[0]!r} could be read as several dates; "
            "write dates as 2020-01-31"
        )
    if not dated.all():
        if dated.mean() > 0.5 and name.startswith(TIME_NAMES):
            row = int(np.flatnonzero(known)[np.argmin(dated)])
            raise ValueError(
                f"column {name!r}, row {row}: {column.iloc[row]!r} is no date such as 2020-01-31"
            )
        return None
    listed = np.empty(len(column), object)
    listed[known] = cells
    times = as_times(listed)
    if times is not None:
        return as_nanoseconds(times)
    for row in np.flatnonzero(known).tolist():
        if isinstance(column.iloc[row], str) and as_times(np.array([column.iloc[row]], object)) is None:
            if len(column.iloc[row].strip()) > len("2020-01-31T00:00:00.000000000+00:00"):
                return None  # some text that begins with a date
            raise ValueError(f"column {name!r}, row {row}: {column.iloc[row]!r} is no date; correct it")
    return None


def numbers_in(table: "pd.DataFrame", name: str) -> np.ndarray:
    """Return a column as numbers; a cell that is none is named."""
    column = table[name]
    if column.dtype.kind in "fiub":
        numbers = column.to_numpy(np.float64, na_value=np.nan)
    elif column.dtype.kind == "c":
        raise ValueError(f"column {name!r}: complex numbers; make their parts two variables")
    else:
        numbers = _as_numbers(column)
        bad = np.isnan(numbers) & column.notna().to_numpy()
        if bad.any() or column.dtype.kind in "mM":
            row = int(np.argmax(bad))
            cell = column.iloc[row]
            comma = isinstance(cell, str) and COMMA.fullmatch(cell)
            fix = (
                "write decimals with a point"
                if comma
                else "correct it, or leave the cell empty if it is missing"
            )
            raise ValueError(f"column {name!r}, row {row}: {cell!r} is no number; {fix}")
    if np.isinf(numbers).any():
        row = int(np.argmax(np.isinf(numbers)))
        raise ValueError(
            f"column {name!r}, row {row}: an infinite value; leave the cell empty if it is missing"
        )
    return numbers


def labels_in(table: "pd.DataFrame", name: str) -> np.ndarray:
    """Return a column as the labels of the rows."""
    column = table[name]
    if column.dtype.kind in "fiubM":
        plain = np.dtype(column.to_numpy().dtype)
        return column.to_numpy() if plain.kind != "O" else column.to_numpy(np.float64, na_value=np.nan)
    labels = column.to_numpy(object)
    labels = np.where(column.notna().to_numpy(), labels, "") if column.notna().any() else labels
    return labels.astype(np.str_) if all(isinstance(label, str) for label in labels) else labels


def check_no_stray_text(table: "pd.DataFrame", names: Sequence[str]) -> None:
    """Raise an error where a column of text holds mostly numbers, some with a fraction.

    In a long table such a column would be taken for labels of cases.
    """
    for name in names:
        column = table[name]
        if column.dtype.kind in "fiubcmM":
            continue
        numbers = _as_numbers(column)
        known = column.notna().to_numpy()
        bad = np.isnan(numbers) & known
        commas = bad.any() and all(isinstance(c, str) and COMMA.fullmatch(c) for c in column[known])
        if commas or (bad.any() and bad.mean() < 0.5 and (numbers[~np.isnan(numbers)] % 1 != 0).any()):
            numbers_in(table, name)


def _as_numbers(column: "pd.Series") -> np.ndarray:
    """Return cells as numbers: NaN where they are none, infinite where no float holds them."""
    import pandas as pd

    try:
        return pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    except OverflowError:  # of an integer of more than 308 digits
        return pd.to_numeric(column.map(_of_any_size), errors="coerce").to_numpy(np.float64, na_value=np.nan)


def _of_any_size(cell: Any) -> Any:
    """Return a cell, infinite where it is an integer that no float holds."""
    try:
        float(cell)
    except OverflowError:
        return math.inf if cell > 0 else -math.inf
    except (TypeError, ValueError):
        return cell
    return float(cell)


def observed(name: str) -> str | None:
    """Return the variable that a column of observations is of, by its name."""
    match = OBSERVED.fullmatch(name)
    return (match["first"] or match["last"]) if match else None


def as_short(values: np.ndarray) -> bool:
    """Return whether all values have six digits at most, which single precision holds.

    Files of forecasts mostly hold single precision, and a table made of one should give the same fit.
    """
    v = values[np.isfinite(values) & (values != 0)]
    if np.abs(v).max(initial=0) > 1e30 or np.abs(v).min(initial=1) < 1e-30:
        return False
    scale = 10.0 ** (6 - np.ceil(np.log10(np.abs(v))))
    return bool(np.allclose(np.round(v * scale) / scale, v, rtol=1e-14, atol=0))


def is_single(table: "pd.DataFrame", names: Sequence[str]) -> bool:
    """Return whether all of some columns are of single precision."""
    kinds: set[Any] = {table[name].dtype for name in names}
    return all(getattr(k, "itemsize", 8) <= 4 and k.kind == "f" for k in kinds)
