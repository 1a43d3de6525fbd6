"""What a fit that went wrong warns of: one sentence on how it ended, on what data, and what to do."""

from typing import Any

from degmm.inference.solution import Result
from degmm.wording import counted


def alarm(model: Any, result: Result, data: Any) -> str:
    """Return what to say of a fit to ``data``, a ``TrainingData`` or ``StreamedData``."""
    said = f"{type(model).__name__}: {result.value}"
    if result is not Result.AT_FLOOR:
        return said
    n, M, D = data.weighted.n_samples, data.n_members, data.moments.n_features
    sizes = f"n = {counted(n, 'ensemble')} of {counted(M, 'member')}, D = {counted(D, 'variable')}"
    return f"{said} ({sizes}); {_advice(model, data, D)}"


def _advice(model: Any, data: Any, D: int) -> str:
    if model._floor_advice is not None:
        return str(model._floor_advice)
    ways = []
    if D > 1:
        ways.append("leave out variables that hardly vary or that follow from others")
    if model.n_components > 1:
        ways.append("lower n_components")
    if D > 1 and not data.family.covariance.diagonal:
        ways.append("take covariance_type='diag'")
    return ", or ".join(ways) or "check that the values vary"
