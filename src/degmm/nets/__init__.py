"""Encoders: networks that read an ensemble and score the clusters. Nothing else imports flax.

One file an encoder and one line here.
"""

from functools import cache, partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float

from degmm.arrays import Array
from degmm.choices import find
from degmm.compilation import jit
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
    return find("encoder", name, ENCODERS)


def structure(name: str, sizes: EncoderSizes) -> nnx.GraphDef[Any]:
    """Return a network's structure, the static part of it."""
    return nnx.graphdef(_abstract(name, sizes))


def template(name: str, sizes: EncoderSizes) -> nnx.State:
    """Return the shapes of a network's parameters, in their tree."""
    return nnx.state(_abstract(name, sizes))


def initial_parameters(name: str, sizes: EncoderSizes, seed: int, dtype: Any) -> nnx.State:
    """Return a network's initial parameters in the precision ``dtype``."""
    return _initialise(name, sizes, np.dtype(dtype).name, jax.random.key(seed))


@cache
def _abstract(name: str, sizes: EncoderSizes) -> Encoder:
    return nnx.eval_shape(lambda: find_encoder(name)(sizes, rngs=nnx.Rngs(0)))


# One compilation for the whole network, not one for each kind of its arrays.
@partial(jit, static_argnums=(0, 1, 2))
def _initialise(name: str, sizes: EncoderSizes, dtype: str, key: Array) -> nnx.State:
    state = nnx.state(find_encoder(name)(sizes, rngs=nnx.Rngs(key)))
    return jax.tree.map(lambda leaf: leaf.astype(dtype), state)


def apply(graph: nnx.GraphDef[Any], state: nnx.State, inputs: EncoderInputs) -> Float[Array, "n K"]:
    """Return the network's scores of the clusters."""
    return nnx.merge(graph, state)(inputs)


def to_arrays(state: nnx.State, prefix: str) -> dict[str, np.ndarray]:
    """Return a network's parameters by name."""
    return {prefix + _name(path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(state)}


def from_arrays(shapes: nnx.State, arrays: dict[str, np.ndarray], prefix: str) -> nnx.State:
    """Return the parameters that :func:`to_arrays` named, in the form of ``shapes``.

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

    return jax.tree.map_with_path(find, shapes)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


__all__ = [
    "ENCODERS",
    "Encoder",
    "EncoderInputs",
    "EncoderSizes",
    "apply",
    "find_encoder",
    "from_arrays",
    "initial_parameters",
    "structure",
    "template",
    "to_arrays",
]
