"""The time of each case."""

import datetime
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from degmm.ensembles.ensemble import Ensemble
from degmm.ensembles.texts import is_missing, text_of

YEAR = 365.25
"""Days"""
TIME_NAMES = ("valid_time", "valid_date", "time", "date")
NAMED_AS_TIME = re.compile(
    r"time|date|datum|zeit|yyyymm|aaaamm|dtg|init|valid|cycle|^(?:run|issued?|base)$", re.IGNORECASE
)
"""What the name of a coordinate contains whose whole numbers may be dates"""
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)|\d{8}[T_ ]\d{2}|\d{4}-(?:0[1-9]|1[0-2])$")
"""Text that begins so is a date"""
OTHER_CLOCK = re.compile(
    r"(?P<day>\d{4}-?\d{2}-?\d{2})[T_ ]+(?P<clock>\d{2}(?::?\d{2}){0,2}(?:\.\d+)?) *(?P<zone>Z|UTC|GMT)?",
    re.IGNORECASE,
)
"""A date with a time of the day as weather services write them too: 2020-01-31_06:00:00, 2020-01-31 06 UTC"""
NAMES_OF_DATES = (*TIME_NAMES, "datetime", "timestamp", "datum", "init", "valid", "forecast_reference_time")
"""Coordinates whose numbers are told of if they are no dates"""
COMPACT_DATE = re.compile(r"\d{8}(?:\d\d){0,3}(?:\.0*)?")
COMPACT_DAYS = (1800_01_01, 2299_12_31)
"""Whole numbers between these may be dates such as 20200131; times of the day have two digits more each"""
CALENDAR_DATE = ("year", "month", "day", "hour", "minute", "second")
"""What dates of Python's and of cftime's calendars have"""


def as_times(labels: Any) -> np.ndarray | None:
    """Return labels as datetime64 if they are dates, and None if they are none.

    Dates are datetime64, objects of Python's or cftime's calendars, or text such as 2020-01-31 06:00, also
    as bytes. Of a calendar with other months, 30 February is read as the last day of February. A missing date
    is NaT.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind == "M":
        return labels
    if labels.dtype.kind not in "OSUT":
        return None
    listed = [_plain(label) for label in labels.ravel().tolist()]
    first = next((label for label in listed if label is not None), None)
    if isinstance(first, str):
        if not all(label is None or (isinstance(label, str) and ISO_DATE.match(label)) for label in listed):
            return None
        times = _of_text(listed)
        return None if times is None else times.reshape(labels.shape)
    if not isinstance(first, np.datetime64) and not all(hasattr(first, part) for part in CALENDAR_DATE[:3]):
        return None
    try:
        return np.array([_of_calendar(label) for label in listed], "datetime64[us]").reshape(labels.shape)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None


def as_nanoseconds(times: np.ndarray) -> np.ndarray:
    """Return dates in nanoseconds, as pandas long had them, if these hold them: from 1678 to 2261."""
    years = times[~np.isnat(times)].astype("datetime64[Y]").astype(int) + 1970
    return (
        times.astype("datetime64[ns]")
        if years.size == 0 or 1678 <= years.min() <= years.max() <= 2261
        else times
    )


def compact_times(labels: Any) -> np.ndarray | None:
    """Return whole numbers such as 20200131 as datetime64 if all of them are dates so written, or None.

    They may have two digits more for the hour, four for hour and minute, and six with the second, and be
    integers, floats in double precision (which a missing one makes of them) or text. Whether the numbers
    are meant as dates only the name of a coordinate can tell.
    """
    labels = np.asarray(labels)
    kind = labels.dtype.kind
    if kind in "OSUT":
        listed = [_plain(label) for label in labels.ravel().tolist()]
        texts = ["" if label is None else text_of(label) for label in listed]
        if not all(not text or COMPACT_DATE.fullmatch(text) for text in texts):
            return None
        labels = np.array([float(text or "nan") for text in texts]).reshape(labels.shape)
    elif kind not in "iuf" or (kind == "f" and labels.dtype.itemsize < 8):
        return None  # single precision holds seven digits
    known = np.isfinite(labels)
    numbers = labels[known]
    if not numbers.size or (numbers % 1 != 0).any() or np.isinf(labels).any() or numbers.max() >= 10**14:
        return None
    numbers = numbers.astype(np.int64)
    for digits in (0, 2, 4, 6):
        days, rest = np.divmod(numbers, 10**digits)
        if days.min() >= COMPACT_DAYS[0] and days.max() <= COMPACT_DAYS[1]:
            clock = rest * 10 ** (6 - digits)  # HHMMSS
            return _of_digits(days, clock, known)
    return None


def _of_digits(days: np.ndarray, clock: np.ndarray, known: np.ndarray) -> np.ndarray | None:
    """Return dates of YYYYMMDD and HHMMSS, NaT where none is known; None if one is no date."""
    year, month, day = days // 10000, days // 100 % 100, days % 100
    hour, minute, second = clock // 10000, clock // 100 % 100, clock % 100
    if month.min() < 1 or month.max() > 12 or hour.max() > 23 or minute.max() > 59 or second.max() > 59:
        return None
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    start = months.astype("datetime64[D]")
    lengths = ((months + 1).astype("datetime64[D]") - start).astype(np.int64)
    if day.min() < 1 or (day > lengths).any():
        return None
    seconds = (day - 1) * 86400 + hour * 3600 + minute * 60 + second
    times = np.full(known.shape, np.datetime64("NaT"), "datetime64[us]")
    times[known] = start.astype("datetime64[s]") + seconds.astype("timedelta64[s]")
    return times


def dates_in(name: str, labels: Any) -> np.ndarray | None:
    """Return the labels of a coordinate as datetime64 if they are dates, and None if they are none.

    Numbers such as 20200131 are dates where the name of the coordinate says so.
    """
    times = as_times(labels)
    return compact_times(labels) if times is None and NAMED_AS_TIME.search(name) else times


def undated(coords: Mapping[str, Any]) -> list[str]:
    """Return notes on coordinates that are named as those of dates, and whose numbers are none."""
    return [
        f"{name!r} holds numbers that are no dates, such as 20200131 or 2020013106, and is a label"
        for name, labels in coords.items()
        if name.lower() in NAMES_OF_DATES
        and np.asarray(labels).dtype.kind in "iuf"
        and dates_in(name, labels) is None
    ]


def _plain(label: Any) -> Any:
    """Return a label without blanks about it, bytes as text, and None where there is none."""
    label = label.decode("utf-8", "replace") if isinstance(label, bytes) else label
    label = label.strip() if isinstance(label, str) else label
    return None if is_missing(label) or (isinstance(label, str) and label in ("", "NaT")) else label


def _of_text(texts: list[str | None]) -> np.ndarray | None:
    import pandas as pd

    try:
        plain = [text if text is None else _in_iso(text) for text in texts]
        dates = pd.to_datetime(pd.Series(plain, dtype=object), format="ISO8601", utc=True)
        return dates.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    except (ValueError, TypeError, OverflowError):
        return None


def _in_iso(text: str) -> str:
    """Return a date with a time of the day as ISO 8601 has them, in the zone that it says or none."""
    found = OTHER_CLOCK.fullmatch(text)
    return text if found is None else f"{found['day']}T{found['clock']}{'Z' if found['zone'] else ''}"


def _of_calendar(date: Any) -> np.datetime64:
    if date is None:
        return np.datetime64("NaT")
    if isinstance(date, np.datetime64):
        return date
    date = getattr(date, "start_time", date)  # of a month or a year of pandas
    if isinstance(date, datetime.datetime) and date.tzinfo is not None:
        date = date.astimezone(datetime.UTC)
    year, month, day, hour, minute, second = (int(getattr(date, part, 0)) for part in CALENDAR_DATE)
    start = np.datetime64(f"{year:04d}-{month:02d}", "M")
    length = ((start + 1).astype("datetime64[D]") - start.astype("datetime64[D]")).astype(int)
    seconds = (min(day, int(length)) - 1) * 86400 + hour * 3600 + minute * 60 + second
    return start.astype("datetime64[us]") + np.timedelta64(seconds, "s")


def find_times(data: Ensemble) -> tuple[str, np.ndarray] | None:
    """Return the coordinate that holds the times of the cases, by name and as datetime64, if there is one.

    The first of valid_time, valid_date, time, date; else one whose name begins so, or tells of validity;
    else the only one of dates, or the only one of several dates. A missing date is NaT.
    """
    dates = {
        name: times for name, labels in data.coords.items() if (times := dates_in(name, labels)) is not None
    }
    small = {name: str(name).lower() for name in dates}
    name = next((name for wanted in TIME_NAMES for name in dates if small[name] == wanted), None)
    for tells in (lambda text: text.startswith(TIME_NAMES), lambda text: "valid" in text):
        name = next((name for name in dates if tells(small[name])), None) if name is None else name
    if name is None:
        varying = [name for name, times in dates.items() if (times != times[0]).any()]
        single = varying if len(dates) > 1 else list(dates)
        name = single[0] if len(single) == 1 else None
    return None if name is None else (name, dates[name])


def times_of(data: Ensemble, purpose: str) -> np.ndarray:
    """Return the times of the cases, datetime64 (n,); ``purpose`` says in an error what wants them."""
    found = find_times(data)
    if found is None:
        known = ", ".join(data.coords) or "none"
        raise ValueError(
            f"{purpose}: the cases have no coordinate of dates (coordinates: {known}); add one named 'time', "
            "with dates such as 2020-01-31"
        )
    name, times = found
    if np.isnat(times).any():
        raise ValueError(f"{purpose}: case {int(np.argmax(np.isnat(times)))} has no date in {name!r}")
    return times


def complete_times(data: Ensemble) -> np.ndarray | None:
    """Return the times of the cases, datetime64 (n,), if they all have one."""
    found = find_times(data)
    return None if found is None or np.isnat(found[1]).any() else found[1]


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
        found = find_times(data)
        if found is None or (found[1] == found[1][0]).all():  # one date of all cases gives no order
            first = np.arange(n) < count
        else:
            times = times_of(data, "at")
            starts = np.unique(times)[1:]
            # cases of one time stay together: of the times to part at, that nearest to the share
            before = np.searchsorted(np.sort(times), starts)
            at_time = starts[np.argmin(np.abs(before - count))] if starts.size else times[0]
            first = times < at_time
    else:
        first = times_of(data, "at") < _moment(at)
    if first.all() or not first.any():
        raise ValueError(f"at: {at!r} leaves all {n} cases on one side")
    return first


def _moment(at: Any) -> np.datetime64:
    """Return a time that a user gives, which may be a year or a month alone."""
    given = np.empty(1, object)
    given[0] = at
    times = dates_in("time", given)
    try:
        return np.datetime64(at) if times is None else times[0]
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"at: expected a share or a time such as '2010-01-01', got {at!r}") from error
