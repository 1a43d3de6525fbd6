"""The original encoder: the members laid end to end. Their order matters and M is fixed."""

from typing import ClassVar

from flax import nnx
from jaxtyping import Float

from degmm.arrays import Array
from degmm.nets.base import DenseStack, Encoder, EncoderInputs, EncoderSizes


class MLPEncoder(Encoder):
    """A multi-layer perceptron on the M·D numbers of an ensemble."""

    needs_members: ClassVar[bool] = True

    def __init__(self, sizes: EncoderSizes, *, rngs: nnx.Rngs) -> None:
        super().__init__(sizes, rngs=rngs)
        assert sizes.n_members is not None
        width = sizes.n_members * sizes.n_features
        self.stack = DenseStack((width, *sizes.hidden, sizes.n_components), rngs=rngs)

    def __call__(self, inputs: EncoderInputs) -> Float[Array, "n K"]:
        """Return the scores."""
        assert inputs.members is not None
        return self.stack(inputs.members.reshape(inputs.members.shape[0], -1))
