"""Encoders: networks that read an ensemble and score the clusters. Nothing else imports flax.

One file an encoder and one line here.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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


def to_arrays(state: nnx.State, prefix: str) -> dict[str, np.ndarray]:
    """Return a network's parameters by name."""
    return {prefix + _name(path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(state)}


def from_arrays(template: nnx.State, arrays: dict[str, np.ndarray], prefix: str) -> nnx.State:
    """Return the parameters that :func:`to_arrays` named, in the form of ``template``.

    Raises
    ------
    ValueError
        If an array is missing or has another shape.
    """

    def find(path: Any, leaf: Array) -> np.ndarray:
        array = arrays.get(prefix + _name(path))
        if array is None or array.shape != leaf.shape:
            raise ValueError(f"the network's parameter {_name(path)} is missing or has another shape")
        return array

    return jax.tree.map_with_path(find, template)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


__all__ = [
    "ENCODERS",
    "Encoder",
    "EncoderInputs",
    "EncoderSizes",
    "apply",
    "build",
    "find_encoder",
    "from_arrays",
    "to_arrays",
]
