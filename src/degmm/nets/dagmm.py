"""DAGMM's networks: compression, features of the reconstruction, estimation (Zong et al. 2018, §3)."""

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from degmm.arrays import Array
from degmm.compilation import jit
from degmm.nets.autoencoder import Autoencoder
from degmm.nets.base import DenseStack

SMALLEST_NORM = 1e-3
"""Norms count as at least this, in units of √D, so that the features of a row near 0 stay finite."""


@dataclass(frozen=True)
class DAGMMSizes:
    """Sizes that fix the networks' parameters."""

    n_features: int
    n_components: int
    latent_dim: int
    encoder_layers: tuple[int, ...]
    """Widths of the hidden layers from a row to its code; the decoder mirrors them"""
    estimation_layers: tuple[int, ...]
    dropout: float
    """Of the estimation network, in training"""
    reconstruction: str
    """Which features of the reconstruction stand beside the code"""
    initialiser: str = "lecun"
    """How the weights start"""

    @property
    def n_latent(self) -> int:
        """Numbers in z."""
        return self.latent_dim + FEATURES[self.reconstruction][1]


def relative_features(x: Float[Array, "r D"], again: Float[Array, "r D"]) -> Float[Array, "r 2"]:
    """Return the relative Euclidean distance ‖x − x'‖/‖x‖ and the cosine similarity of x and x'."""
    least = SMALLEST_NORM**2 * x.shape[-1]
    norm = jnp.sqrt((x**2).sum(axis=-1) + least)
    other = jnp.sqrt((again**2).sum(axis=-1) + least)
    cosine = (x * again).sum(axis=-1) / (norm * other)
    return jnp.stack([_distance(x, again) / norm, cosine], axis=-1)


def distance_feature(x: Float[Array, "r D"], again: Float[Array, "r D"]) -> Float[Array, "r 1"]:
    """Return the Euclidean distance ‖x − x'‖ in units of √D."""
    return _distance(x, again)[:, None] / np.sqrt(x.shape[-1])


def _distance(x: Float[Array, "r D"], again: Float[Array, "r D"]) -> Float[Array, "r"]:
    # a root whose derivative is finite at 0
    return jnp.sqrt(((x - again) ** 2).sum(axis=-1) + SMALLEST_NORM**4 * x.shape[-1])


FEATURES = {"distance": (distance_feature, 1), "relative": (relative_features, 2)}
"""Features of the reconstruction by name, with their number"""


INITIALISERS = {"lecun": nnx.initializers.lecun_normal, "glorot": nnx.initializers.glorot_uniform}
"""Random weights at the start: LeCun et al. (1998), Glorot & Bengio (2010)"""


class DAGMMNetwork(nnx.Module):
    """Compression network and estimation network."""

    def __init__(self, sizes: DAGMMSizes, *, rngs: nnx.Rngs) -> None:
        self._features = FEATURES[sizes.reconstruction][0]
        hidden = sizes.encoder_layers
        start = INITIALISERS[sizes.initialiser]()
        layers: dict[str, Any] = {"activation": jnp.tanh, "initialiser": start, "rngs": rngs}
        self.autoencoder = Autoencoder(sizes.n_features, sizes.latent_dim, hidden, linear=False, **layers)
        widths = (sizes.n_latent, *sizes.estimation_layers, sizes.n_components)
        self.estimation = DenseStack(widths, dropout=sizes.dropout, **layers)

    def latent(
        self, x: Float[Array, "r D"], noise: Float[Array, "r D"] | None = None
    ) -> tuple[Float[Array, "r L"], Float[Array, "r D"]]:
        """Return z, the code and the features of the reconstruction, and the reconstruction."""
        code = self.autoencoder.encode(x if noise is None else x + noise)
        again = self.autoencoder.decode(code)
        return jnp.concatenate([code, self._features(x, again)], axis=-1), again

    def log_gamma(self, z: Float[Array, "r L"], key: Array | None = None) -> Float[Array, "K r"]:
        """Return the logarithm of the cluster probabilities; with dropout, where a key is given."""
        return jax.nn.log_softmax(self.estimation(z, key), axis=-1).T


@cache
def _abstract(sizes: DAGMMSizes) -> Any:
    return nnx.eval_shape(lambda: DAGMMNetwork(sizes, rngs=nnx.Rngs(0)))


def structure(sizes: DAGMMSizes) -> nnx.GraphDef[Any]:
    """Return the networks' structure, the static part of them."""
    return nnx.graphdef(_abstract(sizes))


def template(sizes: DAGMMSizes) -> nnx.State:
    """Return the shapes of the networks' parameters, in their tree."""
    return nnx.state(_abstract(sizes))


def merged(graph: nnx.GraphDef[Any], state: nnx.State) -> DAGMMNetwork:
    """Return the networks of a structure and its parameters."""
    return nnx.merge(graph, state)


@partial(jit, static_argnums=(0, 2))
def initial(sizes: DAGMMSizes, seed: Array, dtype: Any) -> nnx.State:
    """Return the networks' initial parameters."""
    module = DAGMMNetwork(sizes, rngs=nnx.Rngs(jax.random.key(seed)))
    return jax.tree.map(lambda leaf: leaf.astype(dtype), nnx.state(module))


@partial(jit, static_argnums=0)
def latent(graph: nnx.GraphDef[Any], state: nnx.State, rows: Float[Array, "r D"]) -> Float[Array, "r L"]:
    """Return z."""
    return merged(graph, state).latent(rows)[0]


@partial(jit, static_argnums=0)
def decode(graph: nnx.GraphDef[Any], state: nnx.State, codes: Float[Array, "r L"]) -> Float[Array, "r D"]:
    """Return the rows that codes stand for."""
    return merged(graph, state).autoencoder.decode(codes)


@partial(jit, static_argnums=0)
def gamma(graph: nnx.GraphDef[Any], state: nnx.State, z: Float[Array, "r L"]) -> Float[Array, "r K"]:
    """Return the estimation network's cluster probabilities."""
    return jnp.exp(merged(graph, state).log_gamma(z)).T
