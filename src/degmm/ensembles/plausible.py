"""Numbers that cannot be of the same quantity in the same unit, as temperatures in °C and in K."""

from typing import NamedTuple

import numpy as np

from degmm.ensembles.ensemble import Ensemble

FAR_APART = 150.0
"""Degrees between typical temperatures, beyond which these cannot be in the same unit"""
KELVIN, CELSIUS = (150.0, 350.0), (-100.0, 65.0)
"""Between which temperatures of the air and the sea lie"""
ALIKE = 40.0
"""Degrees by which typical temperatures of forecasts and observations differ, at most"""
STEADY = 0.1
"""Spread relative to the middle of quantities such as pressure, whose middles tell their units"""
LEAST = 5
"""Numbers on either side, below which nothing is said"""


class Factor(NamedTuple):
    """Units of one quantity, of which one is a multiple of the other."""

    larger: str
    smaller: str
    """The numbers in it are larger"""
    times: float
    steady: bool
    """Whether only quantities of little spread are told by it"""


FACTORS = (
    Factor("hPa", "Pa", 100.0, True),
    Factor("m", "m2 s-2", 9.80665, True),
    Factor("dam", "m", 10.0, True),
    Factor("m", "mm", 1000.0, False),
)
MOST = 64
"""Variables that are looked at, of many such as those of a grid"""


def told_apart(one: np.ndarray, other: np.ndarray) -> tuple[str, str] | None:
    """Return the units that two sets of numbers of one quantity seem to be in, if they cannot be in the same.

    Parameters
    ----------
    one, other : ndarray
        Of the same quantity, such as members and observations; NaN for what is missing.

    Returns
    -------
    tuple of str, or None
        Units of the one and of the other.
    """
    one, other = (np.asarray(part, np.float64).ravel() for part in (one, other))
    one, other = (part[np.isfinite(part)] for part in (one, other))
    if min(one.size, other.size) < LEAST:
        return None
    middles = float(np.median(one)), float(np.median(other))
    for kelvin, celsius, units in ((*middles, ("K", "degC")), (*middles[::-1], ("degC", "K"))):
        told = KELVIN[0] < kelvin < KELVIN[1] and CELSIUS[0] < celsius < CELSIUS[1]
        if told and kelvin - celsius > FAR_APART and abs(kelvin - 273.15 - celsius) < ALIKE:
            return units
    return _by_factor(one, other)


def _by_factor(one: np.ndarray, other: np.ndarray) -> tuple[str, str] | None:
    low = min(float(one.min()), float(other.min()))
    if low < 0:
        return None
    means = float(one.mean()), float(other.mean())
    if not min(means) > 0:
        return None
    steady = all(np.std(part) < STEADY * part.mean() for part in (one, other))
    ratio = max(means) / min(means)
    for factor in FACTORS:
        slack = 1.15 if factor.steady else 3.0
        if factor.steady == steady and factor.times / slack < ratio < factor.times * slack:
            small, large = factor.larger, factor.smaller
            return (large, small) if means[0] > means[1] else (small, large)
    return None


def unlike_observations(data: Ensemble) -> list[str]:
    """Return what is to be said of observations that seem to be in another unit than their members."""
    notes: list[str] = []
    if data.observations is None:
        return notes
    for d, name in enumerate(data.variables[:MOST]):
        units = told_apart(data.values[..., d], data.observations[:, d])
        if units is not None:
            mean, seen = (float(np.nanmean(part[..., d])) for part in (data.values, data.observations))
            notes.append(
                f"{name}: members about {mean:.4g} and observations about {seen:.4g}, as in {units[0]} and "
                f"in {units[1]}: convert one of them"
            )
    return notes
