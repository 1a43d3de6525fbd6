"""What a deep model makes of its data: the members its encoder reads, and a split."""

import numpy as np
from jaxtyping import Float

from degmm import nets
from degmm.processes import Places


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


def split_off(
    used: np.ndarray, held_out: float, n_components: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the ensembles to train on and those to validate with, if any, each in their order."""
    places = Places.of(used.size)
    count = round(held_out * places.total)
    if not count:
        return used, None
    left = places.total - count
    if left < n_components:
        raise ValueError(
            f"validation_fraction: {held_out:g} of {places.total} ensembles leaves {left} for "
            f"{n_components} components; lower it"
        )
    order = rng.permutation(places.total)
    training, validation = (used[np.sort(places.own(part))] for part in (order[count:], order[:count]))
    if not training.size:
        raise ValueError("validation_fraction: leaves a process no ensemble to train on; lower it")
    return training, validation
