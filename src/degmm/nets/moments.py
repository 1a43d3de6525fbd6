"""The default encoder: it reads the moments, so the order of the members cannot matter."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Float

from degmm.arrays import Array
from degmm.moments import triangle
from degmm.nets.base import DenseStack, Encoder, EncoderInputs, EncoderSizes


class MomentsEncoder(Encoder):
    """M × (a linear map of x̄, x̄x̄ᵀ and S/M) + a small ReLU network of the same.

    For independent members the exact log densities are M times such a linear map (the natural
    parameters of the Gaussian), so the exact E-step is within reach for every M. The ReLU part
    serves what is not Gaussian. The linear part starts at zero, since M multiplies it.
    """

    def __init__(self, sizes: EncoderSizes, *, rngs: nnx.Rngs) -> None:
        super().__init__(sizes, rngs=rngs)
        D, K = sizes.n_features, sizes.n_components
        width = D + D * (D + 1)
        self.linear = nnx.Linear(width, K, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)
        self.stack = DenseStack((width, *sizes.hidden, K), rngs=rngs)

    def __call__(self, inputs: EncoderInputs) -> Float[Array, "n K"]:
        """Return the scores."""
        rows, columns = triangle(inputs.mean.shape[1])
        squares = inputs.mean[:, rows] * inputs.mean[:, columns]
        features = jnp.concatenate([inputs.mean, squares, inputs.variance], axis=1)
        return inputs.counts[:, None] * self.linear(features) + self.stack(features)
