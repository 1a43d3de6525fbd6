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
        if sizes.n_members is None:
            raise ValueError("encoder: 'mlp' needs a fixed number of members")
        width = sizes.n_members * sizes.n_features
        self.stack = DenseStack((width, *sizes.hidden, sizes.n_components), rngs=rngs)

    def __call__(self, inputs: EncoderInputs) -> Float[Array, "n K"]:
        """Return the scores."""
        if inputs.members is None:
            raise ValueError("encoder: 'mlp' needs the members themselves")
        return self.stack(inputs.members.reshape(inputs.members.shape[0], -1))
