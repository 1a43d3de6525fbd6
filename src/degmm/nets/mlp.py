"""The original encoder: the members laid end to end. Their order matters and their number is bounded."""

from typing import ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Float

from degmm.arrays import Array
from degmm.nets.base import DenseStack, Encoder, EncoderInputs, EncoderSizes


class MLPEncoder(Encoder):
    """A multi-layer perceptron on the M·D numbers of an ensemble.

    An absent member counts as the mean of those present.
    """

    needs_members: ClassVar[bool] = True
    fixed_members: ClassVar[bool] = True

    def __init__(self, sizes: EncoderSizes, *, rngs: nnx.Rngs) -> None:
        super().__init__(sizes, rngs=rngs)
        width = sizes.n_members * sizes.n_features + sizes.n_context
        self.stack = DenseStack((width, *sizes.hidden, sizes.n_components), rngs=rngs)

    def __call__(self, inputs: EncoderInputs) -> Float[Array, "n K"]:
        """Return the scores."""
        assert inputs.members is not None
        assert inputs.present is not None
        members = jnp.where(inputs.present[..., None], inputs.members, inputs.mean[:, None, :])
        flat = members.reshape(members.shape[0], -1)
        return self.stack(flat if inputs.context is None else jnp.concatenate([flat, inputs.context], axis=1))
