"""The interface of an encoder."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple

from flax import nnx
from jaxtyping import Float

from degmm.arrays import Array


class EncoderInputs(NamedTuple):
    """What an encoder may read of n ensembles, in standard units."""

    counts: Float[Array, "n"]
    """M_i"""
    mean: Float[Array, "n D"]
    """x̄_i"""
    variance: Float[Array, "n P"]
    """S_i / M_i, packed"""
    members: Float[Array, "n M D"] | None
    """The members themselves, for encoders that need them"""


@dataclass(frozen=True)
class EncoderSizes:
    """Sizes that fix an encoder's parameters."""

    n_features: int
    n_components: int
    n_members: int | None
    """M where the encoder needs the members in their order, None where any number will do"""
    hidden: tuple[int, ...]


class Encoder(nnx.Module):
    """Reads ensembles and gives each cluster a score.

    The scores stand for the log densities log f_k(x_i), up to a constant of the ensemble: the
    responsibilities are softmax(log π_k + score_ik). The constants of the clusters are so tied to
    their weights, and what depends on the members' number is left to the score (docs/architecture.md).
    """

    needs_members: ClassVar[bool] = False
    """Whether ``inputs.members`` is read"""

    def __init__(self, sizes: EncoderSizes, *, rngs: nnx.Rngs) -> None:
        del sizes, rngs  # a subclass makes its layers from these

    def __call__(self, inputs: EncoderInputs) -> Float[Array, "n K"]:
        """Return the scores."""
        raise TypeError(f"{type(self).__name__} gives no scores")


class DenseStack(nnx.Module):
    """Dense layers with ReLU between them and a linear last one."""

    def __init__(self, widths: tuple[int, ...], *, rngs: nnx.Rngs) -> None:
        pairs = pairwise(widths)
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairs])

    def __call__(self, x: Float[Array, "n F"]) -> Float[Array, "n G"]:
        """Return the output of the last layer."""
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.layers[-1](x)
