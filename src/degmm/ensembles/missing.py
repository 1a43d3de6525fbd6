"""Values that stand for what is missing, as a file, a user or the values themselves say."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from degmm.ensembles.ensemble import Ensemble

if TYPE_CHECKING:
    import xarray as xr

CODES = (
    99.0,
    999.0,
    9999.0,
    99999.0,
    999999.0,
    99.9,
    999.9,
    9999.9,
    99.99,
    999.99,
    888.0,
    8888.0,
    777.0,
    7777.0,
    255.0,
    32767.0,
    32768.0,
    65535.0,
    2147483647.0,
    2147483648.0,
    1e10,
    1e15,
    1e20,
    1e30,
    1e34,
    1e35,
    1e36,
)
"""What archives write for what is missing, with either sign, save for the fill values of NetCDF"""
FILLS = (9.969209968386869e36,)
FREQUENT = 3
"""A number that is there as often, far from all others, is told of"""
FAR = 3.0
"""Ranges of the other values that lie between them and such a number"""
SAMPLE = 4096
"""Values of a variable by which it is judged whether its least or largest is to be looked at"""
MOST = 64
"""Variables that are looked at, of many such as those of a grid"""
MOST_CODES = 3
"""Numbers at either end that may all stand for what is missing"""
PACKING = {"scale_factor": 1.0, "add_offset": 0.0}
LIMITS, UNSEEN = "degmm_limits", "degmm_missing"
"""In the encoding of a variable of a file: its valid range, and codes that are not masked by xarray"""


def with_marks(dataset: "xr.Dataset") -> "xr.Dataset":
    """Note in the encoding of the variables of a file what its attributes say of values that are none."""
    for variable in dataset.variables.values():
        if variable.dtype.kind not in "fiu":
            continue
        attributes = {**variable.encoding, **variable.attrs}
        scale, offset = (float(np.ravel(attributes.get(k, v))[0]) for k, v in PACKING.items())
        packed = bool(PACKING.keys() & attributes.keys())
        limits = _valid(variable.attrs, (scale, offset) if packed else None)
        if limits is not None:
            variable.encoding[LIMITS] = limits
        seen = None if packed else variable.dtype
        codes = [c for name in ("missing_value", "_FillValue") for c in _codes(attributes.get(name), seen)]
        if codes:
            variable.encoding[UNSEEN] = [code * scale + offset for code in codes]
    return dataset


def _valid(attributes: Mapping[str, Any], packing: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return the least and the largest valid value of a variable, unpacked; None if there is no limit."""
    both = _plain(attributes.get("valid_range"))
    low, high = _plain(attributes.get("valid_min")), _plain(attributes.get("valid_max"))
    if both is not None and both.size == 2:
        low, high = both[:1], both[1:]
    found = []
    for limit, default in ((low, -np.inf), (high, np.inf)):
        if limit is None or limit.size != 1:
            found.append(default)
        else:  # they are packed as the values are where they are integers, too
            scale, offset = packing if packing is not None and limit.dtype.kind in "iu" else (1, 0)
            found.append(float(limit[0]) * scale + offset)
    least, largest = min(found), max(found)
    return (least, largest) if np.isfinite([least, largest]).any() and found[0] < found[1] else None


def _plain(value: Any) -> np.ndarray | None:
    """Return an attribute as an array of numbers, if it is any, also as text."""
    array = np.atleast_1d(np.asarray(value)) if value is not None else np.empty(0, object)
    if array.dtype.kind in "US":
        parts = " ".join(map(str, array.astype(np.str_).ravel())).replace(",", " ").split()
        try:
            array = np.array([int(part) if part.lstrip("+-").isdigit() else float(part) for part in parts])
        except ValueError:
            return None
    return array if array.dtype.kind in "iuf" and array.ndim == 1 and array.size else None


def _codes(value: Any, dtype: np.dtype[Any] | None) -> list[float]:
    """Return the codes of missing values that xarray does not see: text, and those of another precision.

    ``dtype`` is that of the values, None for packed ones.
    """
    array = np.atleast_1d(np.asarray(value)) if value is not None else np.empty(0)
    found = []
    for code in array.ravel().tolist():
        if isinstance(code, bytes | str):
            try:
                found.append(float(code))
            except ValueError:
                continue
        elif isinstance(code, float) and dtype == np.float32 and float(np.float32(code)) != code:
            found.append(code)
    return [code for code in found if np.isfinite(code)]


def without_marked(values: np.ndarray, encoding: Mapping[str, Any]) -> tuple[np.ndarray, int]:
    """Return the values of a variable with NaN for those that its file says are none, and their number."""
    low, high = encoding.get(LIMITS, (-np.inf, np.inf))
    codes = encoding.get(UNSEEN, ())
    if not codes and np.isinf([low, high]).all():
        return values, 0
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    slack = 4 * float(np.finfo(values.dtype).eps)
    gone = (values < low - slack * abs(low) if np.isfinite(low) else np.zeros(values.shape, bool)) | (
        values > high + slack * abs(high) if np.isfinite(high) else False
    )
    for code in codes:
        gone |= np.isclose(values, code, rtol=slack, atol=0)
    return (np.where(gone, values.dtype.type(np.nan), values), int(gone.sum())) if gone.any() else (values, 0)


def without_codes(values: np.ndarray, codes: Sequence[float]) -> tuple[np.ndarray, int]:
    """Return values with NaN for some numbers, in the precision of the values, and how many these are."""
    gone = np.isin(values, np.asarray(codes, values.dtype))
    return (np.where(gone, values.dtype.type(np.nan), values), int(gone.sum())) if gone.any() else (values, 0)


def as_codes(missing: Any) -> list[float]:
    """Return what a user says stands for missing values, as numbers.

    Raises
    ------
    ValueError
        If it is no number.
    """
    if missing is None:
        return []
    listed = [missing] if isinstance(missing, str | bytes) or np.ndim(missing) == 0 else list(missing)
    try:
        return [float(code) for code in listed]
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"missing: expected numbers such as -999; got {missing!r}") from error


def of_missing(data: Ensemble, codes: Sequence[float]) -> Ensemble:
    """Return ensembles with NaN for the codes of missing values, of members and observations."""
    if not codes:
        return data
    values, count = without_codes(data.values, codes)
    observed, unseen = data.observations, 0
    if observed is not None:
        observed, unseen = without_codes(observed, codes)
    notes = (*data.notes, told_of(codes, count, unseen))
    return replace(data, values=values, observations=observed, notes=notes)


def told_of(codes: Sequence[float], members: int, observations: int) -> str:
    """Return what is said of codes of missing values."""
    numbers = ", ".join(f"{code:g}" for code in codes)
    return f"missing, since {numbers}: {members} values of members, {observations} of observations"


def suspects(data: Ensemble) -> list[str]:
    """Return what is to be said of numbers that may stand for what is missing.

    Such are the least or the largest values of a variable, or of its observations, if they lie far from all
    others, and are there several times or are what archives write.
    """
    notes = []
    for d, name in enumerate(data.variables[:MOST]):
        notes += [_suspected(name, data.values[..., d], number) for number in _apart(data.values[..., d])]
        if data.observations is not None:
            observed = data.observations[:, d]
            notes += [_suspected(f"observations of {name}", observed, number) for number in _apart(observed)]
    return notes


def _suspected(name: str, values: np.ndarray, number: float) -> str:
    count = int((values == number).sum())
    return (
        f"{name}: {number:g}, far from all other values, is there "
        f"{'once' if count == 1 else f'{count} times'}; if it stands for what is missing, "
        f"missing={number:g} leaves it out"
    )


def _apart(values: np.ndarray) -> list[float]:
    """Return the least and the largest numbers that lie far from all others, of several codes all."""
    flat = values.reshape(-1)
    sample = flat[:: max(1, flat.size // SAMPLE)].astype(np.float64)
    sample = sample[~np.isnan(sample)]
    if not sample.size:
        return []
    low, high = np.quantile(sample, (0.25, 0.75))
    middle, reach = (low + high) / 2, FAR * (high - low)
    found: list[float] = []
    for least in (True, False, True):  # again without what is found at the other end
        others, seen = flat[~np.isin(flat, found)] if found else flat, []
        for _ in range(MOST_CODES):
            number = float(np.nanmin(others) if least else np.nanmax(others))
            if abs(number - middle) <= reach or not (_is_code(number) or _is_frequent(flat, number)):
                break
            seen.append(number)
            others = others[~np.isnan(others) & (others != number)]
            if not others.size:
                break
            if _stands_alone(flat, others, number):
                found += seen
                break
    return found


def _is_code(number: float) -> bool:
    return any(np.isclose(abs(number), code, rtol=1e-6) for code in (*CODES, *FILLS))


def _is_frequent(values: np.ndarray, number: float) -> bool:
    return int((values == number).sum()) >= FREQUENT


def _stands_alone(values: np.ndarray, others: np.ndarray, number: float) -> bool:
    """Return whether a number, the least or the largest but for other codes, lies far from all others."""
    gap = min(abs(float(others.min()) - number), abs(float(others.max()) - number))
    span = float(np.ptp(others.astype(np.float64)))
    # rain is often 0, and a level is often the same
    usual, frequent = _is_code(number), _is_frequent(values, number)
    return (
        number != 0 and gap > 0 and ((usual and gap > span) or (frequent and gap > FAR * span and span > 0))
    )
