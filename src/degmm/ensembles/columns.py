"""Columns of a table by their types: dates, numbers, labels."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from degmm.ensembles.times import ISO_DATE, TIME_NAMES, as_times

if TYPE_CHECKING:
    import pandas as pd

OBSERVED = re.compile(r"(?:obs|observation)_(?P<first>.+)|(?P<last>.+)_(?:obs|observation)")
OTHER_DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(?!\d)|\d{4}[./]\d{1,2}[./]\d{1,2}(?!\d)")
"""Dates in which the day and the month cannot be told apart, or that are not as ISO 8601 has them"""
COMPACT_DATES = (1800_01_01, 2299_12_31)
"""Whole numbers between these are dates such as 20200131, in a column named as one"""


def with_labels(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the table with its index as columns, if it says something, and dates as dates."""
    import pandas as pd

    if table.columns.nlevels > 1:
        raise ValueError("the table has columns of several levels; join them, as to t2m_m01")
    if isinstance(table.index, pd.DatetimeIndex) and table.index.name is None:
        table = table.rename_axis(index="time")
    if any(name is not None for name in table.index.names):
        table = table.reset_index()
    table = table.rename(columns=str)
    names = list(table.columns)
    if len({*names}) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise ValueError(f"the table has two columns named {twice!r}; rename one")
    dates = {n: found for n in names if (found := _dates(table[n])) is not None}
    return table.assign(**dates)


def _dates(column: "pd.Series") -> np.ndarray | None:
    """Return the dates in a column, if it is one of dates."""
    import pandas as pd

    name, kind = str(column.name), column.dtype.kind
    if kind == "M":
        if getattr(column.dtype, "tz", None) is not None:
            column = column.dt.tz_convert("UTC").dt.tz_localize(None)
        return column.to_numpy().astype("datetime64[ns]")
    if kind in "iu" and name.startswith(TIME_NAMES):
        if not column.between(*COMPACT_DATES).all():
            return None
        try:
            return pd.to_datetime(column.astype(str), format="%Y%m%d").to_numpy().astype("datetime64[ns]")
        except ValueError:
            return None
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
    times = as_times([cell if there else None for cell, there in zip(column, known, strict=True)])
    if times is not None:
        return times.astype("datetime64[ns]")
    for row in np.flatnonzero(known).tolist():
        if isinstance(column.iloc[row], str) and as_times(np.array([column.iloc[row]], object)) is None:
            if len(column.iloc[row].strip()) > len("2020-01-31T00:00:00.000000000+00:00"):
                return None  # some text that begins with a date
            raise ValueError(f"column {name!r}, row {row}: {column.iloc[row]!r} is no date; correct it")
    return None


def numbers_in(table: "pd.DataFrame", name: str) -> np.ndarray:
    """Return a column as numbers; a cell that is none is named."""
    import pandas as pd

    column = table[name]
    if column.dtype.kind in "fiub":
        numbers = column.to_numpy(np.float64, na_value=np.nan)
    elif column.dtype.kind == "c":
        raise ValueError(f"column {name!r}: complex numbers; make their parts two variables")
    else:
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        bad = np.isnan(numbers) & column.notna().to_numpy()
        if bad.any() or column.dtype.kind == "M":
            row = int(np.argmax(bad))
            cell = column.iloc[row]
            comma = isinstance(cell, str) and re.fullmatch(r"\s*[+-]?\d+,\d+\s*", cell)
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
    import pandas as pd

    for name in names:
        column = table[name]
        if column.dtype.kind in "fiubcmM":
            continue
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        bad = np.isnan(numbers) & column.notna().to_numpy()
        if bad.any() and bad.mean() < 0.5 and (numbers[~np.isnan(numbers)] % 1 != 0).any():
            numbers_in(table, name)


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
