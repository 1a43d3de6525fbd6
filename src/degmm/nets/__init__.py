"""Encoders: networks that read an ensemble and score the clusters. Nothing else imports flax.

One file an encoder and one line here.
"""

from collections.abc import Mapping
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
from degmm.nets.deep_sets import DeepSetsEncoder
from degmm.nets.mlp import MLPEncoder
from degmm.nets.moments import MomentsEncoder
from degmm.nets.network import MakeEncoder, Network, Scores
from degmm.nets.set_transformer import SetTransformerEncoder

ENCODERS: dict[str, MakeEncoder] = {
    "moments": MomentsEncoder,
    "mlp": MLPEncoder,
    "deep_sets": DeepSetsEncoder,
    "set_transformer": SetTransformerEncoder,
}


def find_encoder(encoder: Any) -> MakeEncoder:
    """Return the encoder registered under a name, or a user's own.

    Raises
    ------
    ValueError
        If there is none of that name, or it is no class or function that makes a module.
    """
    if isinstance(encoder, nnx.Module):
        kind = type(encoder).__name__
        raise ValueError(f"encoder: expected a class such as {kind}, not an instance of it; pass {kind}")
    return encoder if callable(encoder) else find("encoder", encoder, ENCODERS)


def reads_members(make: MakeEncoder, sizes: EncoderSizes) -> bool:
    """Return whether an encoder needs the members themselves."""
    return bool(getattr(_abstract(make, sizes).encoder, "needs_members", True))


def fixes_members(make: MakeEncoder, sizes: EncoderSizes) -> bool:
    """Return whether an encoder takes no more members than there were in training."""
    return bool(getattr(_abstract(make, sizes).encoder, "fixed_members", False))


def structure(make: MakeEncoder, sizes: EncoderSizes) -> nnx.GraphDef[Any]:
    """Return a network's structure, the static part of it."""
    return nnx.graphdef(_abstract(make, sizes))


def template(make: MakeEncoder, sizes: EncoderSizes) -> nnx.State:
    """Return the shapes of a network's parameters, in their tree."""
    return nnx.state(_abstract(make, sizes))


def gate_size(make: MakeEncoder, sizes: EncoderSizes) -> int:
    """Return the number of parameters of the gate, which are the mixture's own; 0 without context."""
    gate = _abstract(make, sizes).gate
    return 0 if gate is None else sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(nnx.state(gate)))


def check_scores(make: MakeEncoder, sizes: EncoderSizes, inputs: EncoderInputs) -> None:
    """See that an encoder of a user's own scores each ensemble and cluster.

    Raises
    ------
    ValueError
        If it does not.
    """
    n, K = inputs.mean.shape[0], sizes.n_components
    name = getattr(make, "__name__", repr(make))
    try:
        found = jax.eval_shape(lambda seen: make(sizes, rngs=nnx.Rngs(0))(seen), inputs).shape
    except Exception as error:  # what a user's own code raises is not ours to list
        raise ValueError(f"encoder: {name} cannot read these ensembles ({error})") from error
    if found != (n, K):
        raise ValueError(
            f"encoder: {name} gives scores of shape {found}; expected one for each of {n} ensembles and "
            f"{K} clusters, {(n, K)}"
        )


def initial_parameters(
    make: MakeEncoder,
    sizes: EncoderSizes,
    seed: int,
    count: int,
    inputs: EncoderInputs,
    weights: Float[np.ndarray, "n"],
) -> nnx.State:
    """Return the initial parameters of ``count`` networks, along a first axis.

    They have the precision of ``inputs`` and are adapted to their scales.
    """
    seeds = np.random.SeedSequence(seed).generate_state(count)
    networks = [_initialise(make, sizes, one, inputs, weights) for one in seeds]
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *networks)


@cache
def _abstract(make: MakeEncoder, sizes: EncoderSizes) -> Any:
    return nnx.eval_shape(lambda: Network(make, sizes, rngs=nnx.Rngs(0)))


# One compilation for the whole network, not one for each kind of its arrays.
@partial(jit, static_argnums=(0, 1))
def _initialise(
    make: MakeEncoder, sizes: EncoderSizes, seed: Array, inputs: EncoderInputs, weights: Float[Array, "n"]
) -> nnx.State:
    module = Network(make, sizes, rngs=nnx.Rngs(jax.random.key(seed)))
    module.adapt(inputs, weights)
    return jax.tree.map(lambda leaf: leaf.astype(inputs.mean.dtype), nnx.state(module))


def apply(graph: nnx.GraphDef[Any], state: nnx.State, inputs: EncoderInputs) -> Scores:
    """Return the network's scores."""
    return nnx.merge(graph, state)(inputs)


def prior(graph: nnx.GraphDef[Any], state: nnx.State, context: Float[Array, "n C"]) -> Float[Array, "n K"]:
    """Return what the gate makes of the context alone: log π_k(u_i) − log π_k, up to a constant."""
    return nnx.merge(graph, state).gate(context)


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


def stored_widths(widths: Any, arrays: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """Return the widths of hidden layers that a file names, before anything of their size is made.

    Raises
    ------
    ValueError
        If they cannot be those of a network with these arrays.
    """
    most = sum(part.size for part in arrays.values())
    found = list(widths)
    if len(found) > len(arrays) or not all(
        isinstance(width, int | float) and 1 <= width <= most and width == int(width) for width in found
    ):
        raise ValueError("the hidden widths are not those of the network's arrays")
    return tuple(map(int, found))


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


__all__ = [
    "ENCODERS",
    "Encoder",
    "EncoderInputs",
    "EncoderSizes",
    "MakeEncoder",
    "Scores",
    "apply",
    "check_scores",
    "find_encoder",
    "fixes_members",
    "from_arrays",
    "gate_size",
    "initial_parameters",
    "prior",
    "reads_members",
    "stored_widths",
    "structure",
    "template",
    "to_arrays",
]
