"""Units of variables: which two are the same, however they are written."""

import re
from collections import Counter
from collections.abc import Sequence

UNKNOWN = ("", "unknown", "undefined", "undef", "unspecified", "missing", "none", "n/a", "na", "nan", "~")
"""What stands where a unit is not known"""
WHOLE = {
    "degC": (
        *("degc", "degreec", "degreesc", "degcelsius", "degreecelsius", "degreescelsius", "celsius"),
        *("°c", "ºc", "°celsius", "℃", "c", "centigrade", "degreescentigrade"),
    ),
    "degF": (
        *("degf", "degreef", "degreesf", "degfahrenheit", "degreefahrenheit", "degreesfahrenheit"),
        *("fahrenheit", "°f", "ºf", "℉", "f"),
    ),
    "K": ("k", "degk", "degreek", "degreesk", "degreekelvin", "degreeskelvin", "°k", "kelvin", "kelvins"),
    "1": ("1", "-", "0-1", "0to1", "fraction", "proportion", "dimensionless", "unitless", "numeric"),
    "%": ("%", "percent", "pct", "percentage"),
    "deg": ("deg", "degree", "degrees", "°", "degreestrue", "degreetrue", "degtrue"),
    "m s-1": ("mps", "ms-1"),
    "km h-1": ("kph", "kmph", "kmh-1"),
    "kg m-2": ("kgm-2",),
    "W m-2": ("wm-2",),
    "J m-2": ("jm-2",),
}
"""Units that are not told by their parts, and other names of them, in small letters without blanks"""
SYMBOLS = {
    "m": ("meter", "meters", "metre", "metres", "gpm", "geopotentialmeter", "geopotentialmetre"),
    "km": ("kilometer", "kilometers", "kilometre", "kilometres"),
    "cm": ("centimeter", "centimeters", "centimetre", "centimetres"),
    "ft": ("foot", "feet"),
    "inch": ("in", "inches"),
    "s": ("sec", "secs", "second", "seconds"),
    "min": ("mins", "minute", "minutes"),
    "h": ("hr", "hrs", "hour", "hours"),
    "d": ("day", "days"),
    "kg": ("kilogram", "kilograms", "kgs"),
    "g": ("gram", "grams", "gr"),
    "K": ("kelvin", "kelvins"),
    "Pa": ("pascal", "pascals"),
    "hPa": ("mb", "mbar", "mbars", "millibar", "millibars", "hectopascal", "hectopascals"),
    "kPa": ("kilopascal", "kilopascals"),
    "J": ("joule", "joules"),
    "W": ("watt", "watts"),
    "kt": ("kts", "kn", "knot", "knots"),
    "mol": ("mole", "moles"),
    "mm": ("millimeter", "millimeters", "millimetre", "millimetres"),
    "%": ("percent", "pct"),
}
"""Parts of units, and other names of them"""
KNOWN = {other: name for name, others in SYMBOLS.items() for other in (name.lower(), *others)}
WATER = {"mm": {"kg": 1, "m": -2}}
"""A millimetre of water is a kilogram on a square metre"""
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺−µ", "0123456789-+-u")
PART = re.compile(r"(?P<over>/)|(?P<symbol>[^\W\d_]+|%|°)(?P<power>[+-]?\d+)?|(?P<number>\d[\d.e+-]*)")


def known_unit(unit: str) -> str:
    """Return a unit, ``""`` where it says that it is not known."""
    return "" if unit.strip().lower() in UNKNOWN else unit


def same_unit(one: str, other: str) -> bool:
    """Return whether two units are the same, as ``m s**-1`` of GRIB and ``m s-1`` of NetCDF are."""
    return plain_unit(one) == plain_unit(other)


def unlike_unit(known: Sequence[str], given: Sequence[str]) -> int | None:
    """Return the place of the first of two that are not the same unit, if both are known."""
    pairs = [tuple(map(known_unit, pair)) for pair in zip(known, given, strict=True)]
    unlike = (bool(one and other) and not same_unit(one, other) for one, other in pairs)
    return next((d for d, found in enumerate(unlike) if found), None)


def check_units(name: str, variables: Sequence[str], known: Sequence[str], given: Sequence[str]) -> None:
    """Raise an error where observations are known to be in another unit than the members are.

    Parameters
    ----------
    name : str
        What the observations are called.
    variables, known, given : sequence of str
        Names of the variables, their units and those of the observations, ``""`` where unknown.
    """
    d = unlike_unit(known, given)
    if d is not None:
        raise ValueError(
            f"{name}: in {given[d]!r}, and the members of {variables[d]} in {known[d]!r}; convert one "
            "of them, or correct its 'units'"
        )


def plain_unit(unit: str) -> str:
    """Return a unit in one spelling: its parts in alphabetical order, each with its power."""
    unit = unit.strip().translate(SUPERSCRIPTS)
    small = re.sub(r"[\s_()^]|\*\*", "", unit.lower())
    whole = next((name for name, others in WHOLE.items() if small == name.lower() or small in others), None)
    if whole is not None and " " not in whole:
        return whole
    powers = _powers(whole or unit)
    if powers is None:
        return unit
    return " ".join(f"{name}{power if power != 1 else ''}" for name, power in sorted(powers.items())) or "1"


def _powers(unit: str) -> dict[str, int] | None:
    """Return the parts of a unit with their powers; None where it has no parts."""
    written = re.sub(r"\bper\b", "/", unit, flags=re.IGNORECASE)
    written = re.sub(r"\*\*|\^", "", written)
    written = re.sub(r"[·⋅×*_()]|\.(?!\d)|(?<!\d)\.", " ", written)
    powers: Counter[str] = Counter()
    sign, at = 1, 0
    while at < len(written):
        if written[at].isspace():
            at += 1
            continue
        part = PART.match(written, at)
        if part is None:
            return None
        at = part.end()
        if part["over"]:
            sign = -1
            continue
        if part["number"]:
            powers[part["number"]] += sign if part["number"] != "1" else 0
        else:
            power = sign * int(part["power"] or 1)
            for name, times in WATER.get(symbol := _symbol(part["symbol"]), {symbol: 1}).items():
                powers[name] += times * power
        sign = 1
    return {name: power for name, power in powers.items() if power} if powers or sign < 0 else None


def _symbol(written: str) -> str:
    """Return a symbol by its usual name; others are told by their case: mPa and MPa are two."""
    return written if written in SYMBOLS else KNOWN.get(written.lower(), written)
