"""The projections by name. One file a projection and one line here."""

from typing import Any

import numpy as np
from jaxtyping import Float

from degmm.choices import find
from degmm.projections.autoencoder import AutoencoderProjection
from degmm.projections.base import Projection, sampled_rows
from degmm.projections.linear import LinearProjection

PROJECTIONS: dict[str, type[LinearProjection] | type[AutoencoderProjection]] = {
    "linear": LinearProjection,
    "autoencoder": AutoencoderProjection,
}


def learned(
    name: str,
    members: Float[np.ndarray, "n M D"],
    weights: Float[np.ndarray, "n"],
    latent_dim: int,
    hidden: tuple[int, ...],
    rng: np.random.Generator,
    dtype: Any,
) -> Projection:
    """Learn the projection registered as ``name`` from the members of ensembles, to compute in ``dtype``.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    kind = find("projection", name, PROJECTIONS)
    rows = sampled_rows(members, weights, rng, dtype)
    return kind.learned(rows, latent_dim, rng, hidden)


def restored(name: str, arrays: dict[str, np.ndarray]) -> Projection:
    """Return the projection of that name which its arrays describe."""
    return find("projection", name, PROJECTIONS).restored(arrays)
