"""What a deep model makes of its data: the members its encoder reads, context in standard units, a split."""

from typing import Any

import numpy as np
from jaxtyping import Float

from degmm import nets
from degmm.moments import Scaling


def members_seen(
    members: Float[np.ndarray, "n M D"], make: nets.MakeEncoder, sizes: nets.EncoderSizes
) -> Float[np.ndarray, "n M D"] | None:
    """Return the members as an encoder reads them: none, all, or filled up to those of the fit."""
    if not nets.reads_members(make, sizes):
        return None
    missing = sizes.n_members - members.shape[1]
    if missing <= 0 or not nets.fixes_members(make, sizes):
        return members
    return np.pad(members, [(0, 0), (0, missing), (0, 0)], constant_values=np.nan)


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
    share = np.asarray(weights, np.float64) / np.sum(weights, dtype=np.float64)
    centre = share @ context
    with np.errstate(over="ignore", invalid="ignore"):
        scale = np.sqrt(share @ (context - centre) ** 2)
    huge = ~np.isfinite(scale)
    constant = scale <= 64 * np.finfo(np.float64).eps * np.abs(centre)
    for bad, fault in ((huge, "is too large; give it in another unit"), (constant, "does not vary; drop it")):
        if bad.any():
            raise ValueError(f"context: column {int(np.argmax(bad))} {fault}")
    return Scaling(centre, scale)


def split_off(
    used: np.ndarray, held_out: float, n_components: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ensembles to train on and those to validate with, each in their order."""
    count = round(held_out * used.size)
    if not count:
        return used, used[:0]
    if used.size - count < n_components:
        raise ValueError(
            f"validation_fraction: {held_out:g} of {used.size} ensembles leaves {used.size - count} for "
            f"{n_components} components; lower it"
        )
    order = rng.permutation(used)
    return np.sort(order[count:]), np.sort(order[:count])
