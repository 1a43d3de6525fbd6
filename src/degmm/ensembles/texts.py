"""Labels as text, the same however a file stores them."""

import datetime
import re
from typing import Any

import numpy as np

WHOLE = re.compile(r"-?\d+\.0+")
"""A whole number as text that was a float"""


def texts_of(labels: Any, purpose: str, name: str) -> np.ndarray:
    """Return labels as an array of text.

    Station 10361 is the same label as an integer, as the float 10361.0 that a table with a gap makes of
    it, and as text; a lead of 24 hours is the same in any unit of time, and so is a date.

    Raises
    ------
    ValueError
        If a label is missing; ``purpose`` and ``name`` say in the message what wants it.
    """
    texts = plain_texts(labels)
    empty = texts == ""
    if empty.any():
        raise ValueError(f"{purpose}: case {int(np.argmax(empty))} has no {name}")
    return texts


def plain_texts(labels: Any) -> np.ndarray:
    """Return labels as an array of text, ``""`` where there is none."""
    labels = np.asarray(labels)
    if labels.dtype.kind == "O":
        labels = _of_one_kind(labels)
    if labels.dtype.kind == "m":
        labels = labels / np.timedelta64(1, "h")
    if labels.dtype.kind == "M":
        days = labels.astype("datetime64[D]")
        labels = days if (days == labels)[~np.isnat(labels)].all() else labels.astype("datetime64[s]")
        return np.where(np.isnat(labels), "", np.datetime_as_string(labels))
    single = labels.dtype.kind == "f" and labels.dtype.itemsize < 8
    # 47.1 of single precision is 47.1 as text, where Python would make it 47.099998474121094
    listed = list(labels) if single and labels.ndim == 1 else labels.tolist()
    return np.array([text_of(label) for label in listed], dtype=np.str_)


DATES = (datetime.date, np.datetime64)
DURATIONS = (datetime.timedelta, np.timedelta64)


def _of_one_kind(labels: np.ndarray) -> np.ndarray:
    """Return objects as datetime64 or timedelta64 if all that are there are dates or durations."""
    listed = [None if is_missing(label) else label for label in labels.ravel().tolist()]
    known = [label for label in listed if label is not None]
    for kinds, dtype in ((DATES, "datetime64[us]"), (DURATIONS, "timedelta64[us]")):
        if known and all(isinstance(label, kinds) for label in known):
            return np.array([_in_utc(label) for label in listed], dtype).reshape(labels.shape)
    return labels


def _in_utc(label: Any) -> Any:
    zoned = getattr(label, "tzinfo", None) is not None
    return label.astimezone(datetime.UTC).replace(tzinfo=None) if zoned else label


def text_of(label: Any) -> str:
    """Return one label as text, ``""`` where there is none."""
    if is_missing(label):
        return ""
    if isinstance(label, bytes):
        return label.decode("utf-8", "replace").strip()
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return str(int(label))
    text = str(label).strip()
    return text.partition(".")[0] if WHOLE.fullmatch(text) else text


def is_missing(label: Any) -> bool:
    """Return whether a label or a number stands for none, as None, NaN, NaT and the NA of pandas do."""
    if label is None or type(label).__name__ in ("NAType", "NaTType", "MaskedConstant"):
        return True  # by their names first: NA is neither equal to anything nor unequal
    try:
        return bool(label != label)
    except (TypeError, ValueError):  # of an array, say
        return False
