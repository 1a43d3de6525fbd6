"""What a network makes of ensembles: responsibilities, and the prior that a context tilts."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from degmm import nets
from degmm.arrays import Array
from degmm.compilation import jit
from degmm.nets import EncoderInputs


class Response(NamedTuple):
    """What a network makes of ensembles."""

    log_gamma: Float[Array, "K n"]
    """log γ_ik"""
    tilt: Float[Array, "K n"]
    """log π_k(u_i) − log π_k, up to a constant of the ensemble"""


def response(graph: Any, network: Any, weights: Float[Array, "K"], inputs: EncoderInputs) -> Response:
    """Return γ = softmax(log π(u) + scores) and the tilt of the prior by the context."""
    scores = nets.apply(graph, network, inputs)
    logits = scores.clusters + scores.prior + jnp.log(weights)
    return Response(jax.nn.log_softmax(logits, axis=1).T, scores.prior.T)


def log_prior(weights: Float[Array, "K"], tilt: Float[Array, "K n"]) -> Float[Array, "K n"]:
    """Return log π_k(u_i)."""
    return jax.nn.log_softmax(jnp.log(weights)[:, None] + tilt, axis=0)


@partial(jit, static_argnums=0)
def respond(
    graph: Any, network: Any, weights: Float[Array, "K"], inputs: EncoderInputs
) -> Float[Array, "K n"]:
    """Return the network's responsibilities γ."""
    return jnp.exp(response(graph, network, weights, inputs).log_gamma)


@partial(jit, static_argnums=0)
def prior_of(
    graph: Any, network: Any, weights: Float[Array, "K"], context: Float[Array, "n C"]
) -> Float[Array, "K n"]:
    """Return log π_k(u_i), which the context alone determines."""
    return log_prior(weights, nets.prior(graph, network, context).T)
