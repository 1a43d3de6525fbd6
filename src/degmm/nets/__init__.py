"""Encoders: networks that read an ensemble and score the clusters. Nothing else imports flax.

One file an encoder and one line here.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from degmm.nets.base import Encoder, EncoderInputs, EncoderSizes
from degmm.nets.mlp import MLPEncoder
from degmm.nets.moments import MomentsEncoder

ENCODERS: dict[str, type[Encoder]] = {"moments": MomentsEncoder, "mlp": MLPEncoder}


def find_encoder(name: str) -> type[Encoder]:
    """Return the encoder registered as ``name``.

    Raises
    ------
    ValueError
        If there is none.
    """
    if not isinstance(name, str) or name not in ENCODERS:
        raise ValueError(f"encoder: expected one of {', '.join(map(repr, ENCODERS))}; got {name!r}")
    return ENCODERS[name]


def build(name: str, sizes: EncoderSizes, seed: int, dtype: Any) -> tuple[nnx.GraphDef[Any], nnx.State]:
    """Return a network's structure (static) and its initial parameters, in the precision ``dtype``."""
    graph, state = nnx.split(find_encoder(name)(sizes, rngs=nnx.Rngs(seed)))
    return graph, jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), state)


def apply(graph: nnx.GraphDef[Any], state: nnx.State, inputs: EncoderInputs) -> Float[Array, "n K"]:
    """Return the network's scores of the clusters."""
    return nnx.merge(graph, state)(inputs)


__all__ = ["ENCODERS", "Encoder", "EncoderInputs", "EncoderSizes", "apply", "build", "find_encoder"]
