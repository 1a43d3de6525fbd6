"""What is shown of ensembles at a prompt."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from degmm.ensembles.ensemble import Ensemble

MOST = 6
"""Names that are shown of many"""


def summary(data: "Ensemble") -> str:
    """Return a few lines: sizes, variables with units, labels of the cases, and what else is there."""
    n, M, D = data.shape
    units = data.units or ("",) * D
    names = [f"{v} [{u}]" if u else v for v, u in zip(data.variables, units, strict=True)]
    absent = 1 - data.mask.mean() if data.mask.size else 0.0
    lines = [
        f"<Ensemble: n = {n}, M = {M}, D = {D}; {data.values.dtype}; "
        f"{100 * absent:.1f} % of the members absent>",
        f"variables: {some(names)}",
    ]
    lines += [f"{name} ({data.case_dim}): {_range(np.asarray(c))}" for name, c in data.coords.items()]
    parts = ("observations", "weights", "context", "climatology")
    there = [part for part in parts if getattr(data, part) is not None]
    if there:
        lines.append(f"with {', '.join(there)}")
    return "\n".join([*lines, *(f"note: {note}" for note in data.notes)])


def some(names: list[str]) -> str:
    """Return names in a row, the first of many."""
    more = len(names) - MOST
    return ", ".join(names[:MOST]) + (f" and {more} more" if more > 0 else "")


def _range(labels: np.ndarray) -> str:
    if not labels.size:
        return "none"
    if labels.dtype.kind == "M":
        labels = labels.astype("datetime64[s]")
    shown = [str(label) for label in (labels.flat[0], labels.flat[-1])]
    return shown[0] if labels.size == 1 else f"{shown[0]} … {shown[1]}"
