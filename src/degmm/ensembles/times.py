"""The time of each case."""

import datetime
import re
from typing import Any

import numpy as np

from degmm.ensembles.ensemble import Ensemble

YEAR = 365.25
"""Days"""
TIME_NAMES = ("valid_time", "valid_date", "time", "date")
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)")
"""Text that begins so is a date"""
CALENDAR_DATE = ("year", "month", "day", "hour", "minute", "second")
"""What dates of Python's and of cftime's calendars have"""


def as_times(labels: Any) -> np.ndarray | None:
    """Return labels as datetime64 if they are dates, and None if they are none.

    Dates are datetime64, objects of Python's or cftime's calendars, or text such as 2020-01-31 06:00. Of
    a calendar with other months, 30 February is read as the last day of February. A missing date is NaT.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind == "M":
        return labels
    if labels.dtype.kind not in "OUT":
        return None
    listed = [None if _missing(label) else label for label in labels.tolist()]
    first = next((label for label in listed if label is not None), None)
    if isinstance(first, str):
        if not all(label is None or (isinstance(label, str) and ISO_DATE.match(label)) for label in listed):
            return None
        return _of_text(listed)
    if not all(hasattr(first, part) for part in CALENDAR_DATE[:3]):
        return None
    try:
        return np.array([_of_calendar(label) for label in listed], "datetime64[us]")
    except (AttributeError, TypeError, ValueError):
        return None


def _missing(label: Any) -> bool:
    return label is None or label == "" or label != label or type(label).__name__ in ("NAType", "NaTType")


def _of_text(texts: list[str | None]) -> np.ndarray | None:
    import pandas as pd

    try:
        dates = pd.to_datetime(pd.Series(texts, dtype=object), format="ISO8601", utc=True)
        return dates.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    except (ValueError, TypeError, OverflowError):
        return None


def _of_calendar(date: Any) -> np.datetime64:
    if date is None:
        return np.datetime64("NaT")
    if isinstance(date, datetime.datetime) and date.tzinfo is not None:
        date = date.astimezone(datetime.UTC)
    year, month, day, hour, minute, second = (int(getattr(date, part, 0)) for part in CALENDAR_DATE)
    start = np.datetime64(f"{year:04d}-{month:02d}", "M")
    length = ((start + 1).astype("datetime64[D]") - start.astype("datetime64[D]")).astype(int)
    seconds = (min(day, int(length)) - 1) * 86400 + hour * 3600 + minute * 60 + second
    return start.astype("datetime64[us]") + np.timedelta64(seconds, "s")


def time_name(data: Ensemble) -> str | None:
    """Return the name of the coordinate that holds the times of the cases, if there is one.

    The first of valid_time, valid_date, time, date; else one whose name begins so; else the only one
    of dates, or the only one of several dates.
    """
    dates = [name for name, labels in data.coords.items() if as_times(labels) is not None]
    for start in TIME_NAMES:
        for name in dates:
            if name == start:
                return name
    begun = [name for name in dates if name.startswith(TIME_NAMES)]
    if begun:
        return begun[0]
    varying = [name for name in dates if (data.coords[name] != data.coords[name][0]).any()]
    single = varying if len(dates) > 1 else dates
    return single[0] if len(single) == 1 else None


def times_of(data: Ensemble, purpose: str) -> np.ndarray:
    """Return the times of the cases, datetime64 (n,); ``purpose`` says in an error what wants them."""
    name = time_name(data)
    times = None if name is None else as_times(data.coords[name])
    if times is None:
        known = ", ".join(data.coords) or "none"
        raise ValueError(
            f"{purpose}: the cases have no coordinate of dates (coordinates: {known}); add one named 'time', "
            "with dates such as 2020-01-31"
        )
    if np.isnat(times).any():
        raise ValueError(f"{purpose}: case {int(np.argmax(np.isnat(times)))} has no date in {name!r}")
    return times


def day_of_year(times: np.ndarray) -> np.ndarray:
    """Return the day of the year, 0 on 1 January, with its fraction."""
    year = times.astype("datetime64[Y]")
    return (times - year) / np.timedelta64(1, "D")


def month_of(times: np.ndarray) -> np.ndarray:
    """Return the month, 0 for January."""
    return times.astype("datetime64[M]").astype(int) % 12


def decimal_year(times: np.ndarray) -> np.ndarray:
    """Return the year with its fraction, NaN where there is no date."""
    year = times.astype("datetime64[Y]")
    length = (year + 1).astype("datetime64[D]") - year.astype("datetime64[D]")
    return 1970 + year.astype(int) + (times - year) / length


def split(data: Ensemble, at: Any) -> np.ndarray:
    """Return which cases come first, a boolean array with at least one of each kind."""
    n = len(data)
    if isinstance(at, int | float | np.integer | np.floating) and not isinstance(at, bool):
        if not 0 < at < 1:
            raise ValueError(f"at: expected a share between 0 and 1 or a time, got {at!r}")
        count = round(at * n)
        if time_name(data) is None:
            first = np.arange(n) < count
        else:
            times = times_of(data, "at")
            starts = np.unique(times)[1:]
            # cases of one time stay together: of the times to part at, that nearest to the share
            before = np.searchsorted(np.sort(times), starts)
            at_time = starts[np.argmin(np.abs(before - count))] if starts.size else times[0]
            first = times < at_time
    else:
        try:
            moment = np.datetime64(at)
        except (ValueError, TypeError) as error:
            raise ValueError(f"at: expected a share or a time such as '2010-01-01', got {at!r}") from error
        first = times_of(data, "at") < moment
    if first.all() or not first.any():
        raise ValueError(f"at: {at!r} leaves all {n} cases on one side")
    return first
