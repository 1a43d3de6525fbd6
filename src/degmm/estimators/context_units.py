"""The context of ensembles in standard units."""

from typing import Any

import numpy as np
from jaxtyping import Float

from degmm.processes import total
from degmm.scaling import Scaling


def scaled_context(context: Any, scaling: Scaling, dtype: Any) -> Float[np.ndarray, "n C"]:
    """Return a context in the units of the fit."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = ((context - scaling.centre) / scaling.scale).astype(dtype)
    bad = ~np.isfinite(scaled)
    if bad.any():
        i, c = np.argwhere(bad)[0]
        raise ValueError(f"context: {context[i, c]:g} at ensemble {i}, column {c}, is too large")
    return scaled


def context_scaling(context: Float[np.ndarray, "n C"], weights: Float[np.ndarray, "n"]) -> Scaling:
    """Return the units in which each column has mean 0 and variance 1.

    Raises
    ------
    ValueError
        If a column does not vary, so that nothing can be learned of it, or is too large to be squared.
    """
    share = np.asarray(weights, np.float64) / total(np.sum(weights, dtype=np.float64))
    centre = total(share @ context)
    with np.errstate(over="ignore", invalid="ignore"):
        scale = np.sqrt(total(share @ (context - centre) ** 2))
    huge = ~np.isfinite(scale)
    constant = scale <= 64 * np.finfo(np.float64).eps * np.abs(centre)
    for bad, fault in ((huge, "is too large; give it in another unit"), (constant, "does not vary; drop it")):
        if bad.any():
            raise ValueError(f"context: column {int(np.argmax(bad))} {fault}")
    return Scaling(centre, scale)
