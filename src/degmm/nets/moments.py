"""The default encoder: it reads the moments, so the order of the members cannot matter."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Float

from degmm.arrays import Array
from degmm.nets.base import DenseStack, Encoder, EncoderInputs, EncoderSizes, Standardised
from degmm.scatter import triangle


class MomentsEncoder(Encoder):
    """M × (a linear map of x̄, x̄x̄ᵀ and S/M) + a small ReLU network of the same.

    For independent members the exact log densities are M times such a linear map (the natural
    parameters of the Gaussian), so the exact E-step is within reach for every M. For shared centres
    the part in x̄ does not grow with M, and the ReLU network, which also reads log M and the context,
    serves that and what is not Gaussian. Both start at zero: M multiplies the linear part, and the
    network then only adds what that cannot say, which serves ensembles it has not seen.

    Subclasses add features that they pool over the members, by :meth:`pooled`.
    """

    def __init__(self, sizes: EncoderSizes, *, rngs: nnx.Rngs) -> None:
        super().__init__(sizes, rngs=rngs)
        D, K = sizes.n_features, sizes.n_components
        width = D + D * (D + 1)
        self.scales = Standardised(width + 1)
        whole = width + self.pooled_width(sizes)
        self.linear = nnx.Linear(whole, K, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)
        self.stack = DenseStack((whole + 1 + sizes.n_context, *sizes.hidden, K), zero_last=True, rngs=rngs)

    @staticmethod
    def pooled_width(sizes: EncoderSizes) -> int:
        """Return the number of features that :meth:`pooled` adds."""
        del sizes
        return 0

    def pooled(self, inputs: EncoderInputs) -> Float[Array, "n G"] | None:
        """Return learned features of the members, pooled over them, as a mean or what acts as one."""
        del inputs
        return None

    def adapt(self, inputs: EncoderInputs, weights: Float[Array, "n"]) -> None:
        """Take the scales of the features."""
        self.scales.adapt(_features(inputs), weights)

    def __call__(self, inputs: EncoderInputs) -> Float[Array, "n K"]:
        """Return the scores."""
        scaled = self.scales(_features(inputs))
        read, log_counts = scaled[:, :-1], scaled[:, -1:]
        pooled = self.pooled(inputs)
        if pooled is not None:
            read = jnp.concatenate([read, pooled], axis=1)
        seen = [read, log_counts] if inputs.context is None else [read, log_counts, inputs.context]
        return inputs.counts[:, None] * self.linear(read) + self.stack(jnp.concatenate(seen, axis=1))


def _features(inputs: EncoderInputs) -> Float[Array, "n F"]:
    rows, columns = triangle(inputs.mean.shape[1])
    squares = inputs.mean[:, rows] * inputs.mean[:, columns]
    return jnp.concatenate([inputs.mean, squares, inputs.variance, jnp.log(inputs.counts)[:, None]], axis=1)
