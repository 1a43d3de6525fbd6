"""Labels as text, the same however a file stores them."""

from typing import Any

import numpy as np


def texts_of(labels: Any, purpose: str, name: str) -> np.ndarray:
    """Return labels as an array of text.

    Station 10361 is the same label as an integer, as the float 10361.0 that a table with a gap makes of
    it, and as text; a lead of 24 hours is the same in any unit of time.

    Raises
    ------
    ValueError
        If a label is missing; ``purpose`` and ``name`` say in the message what wants it.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind == "m":
        labels = labels / np.timedelta64(1, "h")
    texts = np.array([_text(label) for label in labels.tolist()], dtype=np.str_)
    empty = texts == ""
    if empty.any():
        raise ValueError(f"{purpose}: case {int(np.argmax(empty))} has no {name}")
    return texts


def _text(label: Any) -> str:
    """Return one label as text, ``""`` where there is none."""
    if label is None or label != label or type(label).__name__ in ("NAType", "NaTType"):
        return ""
    if isinstance(label, bytes):
        return label.decode("utf-8", "replace").strip()
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return str(int(label))
    return str(label).strip()
