"""From the numbers that a file holds to values and dates, where xarray alone would lose some of them."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from degmm.ensembles.missing import with_marks

if TYPE_CHECKING:
    import xarray as xr

UNDATED = "unable to decode time"
"""How xarray begins to say that it cannot read dates"""
CALENDARS = {"360": "360_day", "365": "365_day", "366": "366_day", "no_leap": "noleap", "allleap": "all_leap"}
"""Other names of calendars, as older archives have them"""
OF_CFTIME = (
    "standard",
    "gregorian",
    "proleptic_gregorian",
    "noleap",
    "365_day",
    "all_leap",
    "366_day",
    "360_day",
    "julian",
)
"""Calendars of the CF conventions, all of which cftime reads"""
OF_FIXED_LENGTH = re.compile(
    r"\s*(?:days?|d|hours?|hrs?|hr|h|minutes?|mins?|min|seconds?|secs?|sec|s|milliseconds?|microseconds?)"
    r"\s+since\s+[+-]?\d{1,4}-\d{1,2}(?:-\d{1,2})?",
    re.IGNORECASE,
)
"""Units of dates that can be read in every calendar; a month is of fixed length in that of 360 days alone"""

DURATIONS = {
    "day": np.timedelta64(1, "D"),
    "hour": np.timedelta64(1, "h"),
    "minute": np.timedelta64(1, "m"),
    "second": np.timedelta64(1, "s"),
}


def decoded(
    open_file: Callable[..., "xr.Dataset"], filled: Mapping[str, Any] | None = None
) -> tuple["xr.Dataset", list[str]]:
    """Return what a file holds, and what is to be said of it.

    Numbers in hours or days are numbers, not durations, unless they were written as durations. Dates that
    cannot be read are left as numbers.

    Parameters
    ----------
    open_file : callable
        ``xarray.open_dataset`` but for the options of its decoding.
    filled : mapping, optional
        Variables whose attribute ``_FillValue`` is to be another one; None for no missing value.
    """
    import xarray as xr

    options: dict[str, Any] = {"decode_timedelta": xr.coders.CFTimedeltaCoder(decode_via_units=False)}
    if not filled:
        try:
            return with_marks(open_file(**options)), []
        except ValueError as error:
            if UNDATED not in str(error):
                raise
    raw = open_file(decode_cf=False)
    for name, fill in (filled or {}).items():
        raw[name].attrs.pop("_FillValue", None)
        if fill is not None:
            raw[name].attrs["_FillValue"] = fill
    undated = _undated(raw)
    options |= {"decode_times": dict.fromkeys(undated, False)} if undated else {}
    notes = list(dict.fromkeys(filter(None, undated.values())))
    return with_marks(xr.decode_cf(raw, **options)), notes


def _undated(raw: "xr.Dataset") -> dict[str, str]:
    """Return the variables whose dates cannot be read, and what is to be said of each."""
    import xarray as xr

    undated: dict[str, str] = {}
    for name, variable in raw.variables.items():
        units, calendar = (variable.attrs.get(key) for key in ("units", "calendar"))
        if isinstance(calendar, str):
            variable.attrs["calendar"] = CALENDARS.get(calendar.lower(), calendar)
        if not isinstance(units, str) or "since" not in units:
            continue
        alone = xr.Variable(variable.dims, variable.data, variable.attrs)
        try:
            xr.decode_cf(xr.Dataset({str(name): alone}))
        except ValueError as error:
            if UNDATED not in str(error):
                raise
            undated[str(name)] = _why_not(str(name), units, calendar)
            if variable.attrs.get("bounds") in raw.variables:  # they have the units of what they bound
                undated.setdefault(str(variable.attrs["bounds"]), "")
    return undated


def _why_not(name: str, units: str, calendar: Any) -> str:
    """Return why dates cannot be read, and what helps."""
    known = CALENDARS.get(str(calendar).lower(), str(calendar).lower())
    known = "standard" if calendar is None else known
    sound = bool(OF_FIXED_LENGTH.match(units)) or (known == "360_day" and units.strip().startswith("month"))
    if known not in OF_CFTIME:
        fix = f"correct the calendar, as to {'360_day' if '360' in known else 'standard'!r}"
    elif sound and not _has_cftime():
        fix = "install cftime (pip install cftime), which reads them"
    else:
        fix = "correct the units, as to 'days since 2000-01-01'"
    where = "" if calendar is None else f" in the calendar {calendar!r}"
    return f"dates of {name!r} left as numbers, since {units!r}{where} cannot be read: {fix}"


def _has_cftime() -> bool:
    try:
        import cftime  # noqa: F401
    except ImportError:
        return False
    return True


def durations_as_numbers(dataset: "xr.Dataset") -> "xr.Dataset":
    """Return a Dataset whose data variables of durations are numbers, in the unit of the file or in hours."""
    numbers: dict[Any, Any] = {}
    for name, array in dataset.data_vars.items():
        if array.dtype.kind == "m":
            unit = str(array.encoding.get("units", "hours")).lower().removesuffix("s")
            unit = unit if unit in DURATIONS else "hour"
            numbers[name] = (array / DURATIONS[unit]).assign_attrs({**array.attrs, "units": f"{unit}s"})
    return dataset.assign(numbers) if numbers else dataset
