"""The whole network of a deep mixture: the encoder and, with context, the gate of the prior."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Float

from degmm.arrays import Array
from degmm.nets.base import DenseStack, EncoderInputs, EncoderSizes

MakeEncoder = Callable[..., nnx.Module]
"""Makes an encoder from its sizes, as ``make(sizes, rngs=rngs)``: the class, most often"""


class Scores(NamedTuple):
    """What a network says of n ensembles."""

    clusters: Float[Array, "n K"]
    """Stand for log f_k(x_i), up to a constant of the ensemble"""
    prior: Float[Array, "n K"]
    """log π_k(u_i) − log π_k, up to a constant of the ensemble; 0 without context"""


class Gate(nnx.Module):
    """π_k(u) ∝ π_k exp(h_k(u)): a dense network h of the context that starts at 0."""

    def __init__(self, sizes: EncoderSizes, *, rngs: nnx.Rngs) -> None:
        self.enter = DenseStack((sizes.n_context, *sizes.hidden), rngs=rngs)
        zeros = nnx.initializers.zeros_init()
        self.direct = nnx.Linear(sizes.n_context, sizes.n_components, kernel_init=zeros, rngs=rngs)
        self.leave = nnx.Linear(sizes.hidden[-1], sizes.n_components, kernel_init=zeros, rngs=rngs)

    def __call__(self, context: Float[Array, "n C"]) -> Float[Array, "n K"]:
        """Return h(u)."""
        return self.direct(context) + self.leave(nnx.relu(self.enter(context)))


class Network(nnx.Module):
    """An encoder, and a gate where there is context."""

    def __init__(self, make: MakeEncoder, sizes: EncoderSizes, *, rngs: nnx.Rngs) -> None:
        self.encoder = make(sizes, rngs=rngs)
        self.gate = Gate(sizes, rngs=rngs) if sizes.n_context else None

    def adapt(self, inputs: EncoderInputs, weights: Float[Array, "n"]) -> None:
        """Let the encoder take its scales from the training ensembles."""
        if hasattr(self.encoder, "adapt"):
            self.encoder.adapt(inputs, weights)

    def __call__(self, inputs: EncoderInputs) -> Scores:
        """Return the scores of the clusters and of their prior."""
        clusters = self.encoder(inputs)
        prior = jnp.zeros_like(clusters) if self.gate is None else self.gate(inputs.context)
        return Scores(clusters, prior)
