"""The interface of an encoder, and the parts that encoders are made of."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Bool, Float

from degmm.arrays import Array


class EncoderInputs(NamedTuple):
    """What an encoder may read of n ensembles, in standard units."""

    counts: Float[Array, "n"]
    """M_i"""
    mean: Float[Array, "n D"]
    """x̄_i"""
    variance: Float[Array, "n P"]
    """S_i / M_i, packed"""
    members: Float[Array, "n M D"] | None = None
    """The members themselves, 0 where absent, for encoders that need them"""
    present: Bool[Array, "n M"] | None = None
    """Which of ``members`` are present"""
    context: Float[Array, "n C"] | None = None
    """u_i, each column with mean 0 and variance 1 in training"""


@dataclass(frozen=True)
class EncoderSizes:
    """Sizes that fix an encoder's parameters."""

    n_features: int
    n_components: int
    n_members: int
    """The largest M in training"""
    hidden: tuple[int, ...]
    n_context: int = 0


class Encoder(nnx.Module):
    """Reads ensembles and gives each cluster a score.

    The scores stand for the log densities log f_k(x_i), up to a constant of the ensemble: the
    responsibilities are softmax(log π_k + score_ik). The constants of the clusters are so tied to
    their weights, and what depends on the members' number is left to the score (docs/architecture.md).

    To write another encoder, subclass this, make layers from the sizes, and score ``inputs`` in
    ``__call__``; pass the class as ``DEGMM(encoder=…)``.
    """

    needs_members: ClassVar[bool] = False
    """Whether ``inputs.members`` is read"""
    fixed_members: ClassVar[bool] = False
    """Whether no ensemble may have more members than those in training"""

    def __init__(self, sizes: EncoderSizes, *, rngs: nnx.Rngs) -> None:
        del sizes, rngs  # a subclass makes its layers from these

    def adapt(self, inputs: EncoderInputs, weights: Float[Array, "n"]) -> None:
        """Take from the training ensembles what is not learned, such as scales; once, before training."""
        del inputs, weights

    def __call__(self, inputs: EncoderInputs) -> Float[Array, "n K"]:
        """Return the scores."""
        raise TypeError(f"{type(self).__name__} gives no scores")


class DenseStack(nnx.Module):
    """Dense layers with a non-linearity between them and a linear last one, which may start at zero.

    With ``dropout``, hidden units are left out at random, at that rate, wherever a key is given.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        *,
        zero_last: bool = False,
        activation: Callable[[Array], Array] = nnx.relu,
        dropout: float = 0.0,
        initialiser: Any = None,
        rngs: nnx.Rngs,
    ) -> None:
        pairs = list(pairwise(widths))
        initial = [initialiser or nnx.initializers.lecun_normal()] * len(pairs)
        if zero_last:
            initial[-1] = nnx.initializers.zeros_init()
        self.layers = nnx.List(
            [nnx.Linear(a, b, kernel_init=k, rngs=rngs) for (a, b), k in zip(pairs, initial, strict=True)]
        )
        self._activation, self._dropout = activation, nnx.Dropout(dropout)

    def __call__(self, x: Float[Array, "... F"], key: Array | None = None) -> Float[Array, "... G"]:
        """Return the output of the last layer."""
        rngs = None if key is None else nnx.Rngs(dropout=key)
        for layer in self.layers[:-1]:
            x = self._activation(layer(x))
            x = x if rngs is None else self._dropout(x, deterministic=False, rngs=rngs)
        return self.layers[-1](x)


class Standardised(nnx.Module):
    """Features in units in which each has mean 0 and variance 1 over the training ensembles.

    One that is constant there is left out (it becomes 0): nothing can be learned of it.
    """

    def __init__(self, width: int) -> None:
        self.centre = nnx.Variable(jnp.zeros(width))
        self.inverse_scale = nnx.Variable(jnp.zeros(width))

    def adapt(self, features: Float[Array, "n F"], weights: Float[Array, "n"]) -> None:
        """Take the mean and the spread of the features."""
        share = (weights / weights.sum())[:, None]
        centre = (share * features).sum(axis=0)
        spread = jnp.sqrt((share * (features - centre) ** 2).sum(axis=0))
        rounding = 64 * jnp.finfo(features.dtype).eps
        varies = spread > rounding * jnp.maximum(jnp.abs(centre), jnp.finfo(features.dtype).tiny)
        self.centre[...] = centre
        self.inverse_scale[...] = jnp.where(varies, 1 / jnp.where(varies, spread, 1), 0)

    def __call__(self, features: Float[Array, "... F"]) -> Float[Array, "... F"]:
        """Return the standardised features."""
        centre, inverse_scale = lax.stop_gradient((self.centre[...], self.inverse_scale[...]))
        return (features - centre) * inverse_scale
