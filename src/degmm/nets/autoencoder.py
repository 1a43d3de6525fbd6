"""An autoencoder of single members that starts as a linear one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax
from jaxtyping import Float

from degmm.arrays import Array
from degmm.compilation import jit
from degmm.nets.base import DenseStack

BATCH = 256
LEARNING_RATE = 3e-3


class Autoencoder(nnx.Module):
    """A code is a linear map of a member plus a dense network of it, and so is its way back.

    The networks start at 0, so that training starts from the linear projection.
    """

    def __init__(
        self,
        n_features: int,
        latent_dim: int,
        hidden: tuple[int, ...],
        *,
        linear: bool = True,
        activation: Callable[[Array], Array] = nnx.relu,
        initialiser: Any = None,
        rngs: nnx.Rngs,
    ) -> None:
        dense = partial(
            DenseStack, zero_last=linear, activation=activation, initialiser=initialiser, rngs=rngs
        )
        self.inward = nnx.Param(jnp.zeros((n_features, latent_dim))) if linear else None
        self.outward = nnx.Param(jnp.zeros((latent_dim, n_features))) if linear else None
        inward, outward = (n_features, *hidden, latent_dim), (latent_dim, *hidden[::-1], n_features)
        self.encoder, self.decoder = dense(inward), dense(outward)

    def encode(self, x: Float[Array, "r D"]) -> Float[Array, "r L"]:
        """Return the codes."""
        return self.encoder(x) if self.inward is None else x @ self.inward[...] + self.encoder(x)

    def decode(self, z: Float[Array, "r L"]) -> Float[Array, "r D"]:
        """Return the members that codes stand for."""
        return self.decoder(z) if self.outward is None else z @ self.outward[...] + self.decoder(z)


def initial(
    sizes: tuple[int, int, tuple[int, ...]],
    inward: Float[np.ndarray, "D L"],
    outward: Float[np.ndarray, "L D"],
    seed: int,
    dtype: Any,
) -> tuple[nnx.GraphDef[Any], nnx.State]:
    """Return the structure and the initial parameters of an autoencoder, from a linear one."""
    module = Autoencoder(*sizes, rngs=nnx.Rngs(seed))
    module.inward, module.outward = nnx.Param(jnp.asarray(inward)), nnx.Param(jnp.asarray(outward))
    graph, state = nnx.split(module)
    return graph, jax.tree.map(lambda leaf: np.asarray(leaf, dtype), state)


@partial(jit, static_argnums=(0, 4))
def trained(
    graph: nnx.GraphDef[Any],
    state: nnx.State,
    rows: Float[Array, "r D"],
    weights: Float[Array, "r"],
    steps: int,
    seed: Array,
) -> tuple[nnx.State, Float[Array, "steps"]]:
    """Return the parameters after ``steps`` steps of Adam, and the loss of each.

    The loss is the mean squared error of a batch of rows, drawn with probabilities ``weights``.
    """
    optimiser = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))
    edges = jnp.cumsum(weights)

    def loss(state: nnx.State, batch: Array) -> Array:
        module = nnx.merge(graph, state)
        return ((module.decode(module.encode(batch)) - batch) ** 2).mean()

    def step(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], Array]:
        state, moments = carry
        drawn = jax.random.uniform(key, (BATCH,), edges.dtype, maxval=edges[-1])
        batch = rows[jnp.minimum(jnp.searchsorted(edges, drawn), len(rows) - 1)]
        value, slope = jax.value_and_grad(loss)(state, batch)
        direction, moments = optimiser.update(slope, moments)
        return (optax.apply_updates(state, direction), moments), value

    keys = jax.random.split(jax.random.key(seed), steps)
    (state, _), losses = lax.scan(step, (state, optimiser.init(state)), keys)
    return state, losses


@partial(jit, static_argnums=0)
def encode(graph: nnx.GraphDef[Any], state: nnx.State, rows: Float[Array, "r D"]) -> Float[Array, "r L"]:
    """Return the codes of rows."""
    return nnx.merge(graph, state).encode(rows)


@partial(jit, static_argnums=0)
def decode(graph: nnx.GraphDef[Any], state: nnx.State, codes: Float[Array, "r L"]) -> Float[Array, "r D"]:
    """Return the rows that codes stand for."""
    return nnx.merge(graph, state).decode(codes)
