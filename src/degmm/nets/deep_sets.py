"""Deep sets: a network reads each member by itself, and what it finds is averaged over them."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Float

from degmm.arrays import Array
from degmm.nets.base import DenseStack, EncoderInputs, EncoderSizes
from degmm.nets.pooled import PooledEncoder


class DeepSetsEncoder(PooledEncoder):
    """Learned features of the members, averaged over them, beside the moments (Zaheer et al. 2017).

    Any function of a set can be written so. The log density of independent members of any
    distribution, a sum over the members, is M times such an average. What follows the average
    begins with a linear map, so that none is needed before it.
    """

    def __init__(self, sizes: EncoderSizes, *, rngs: nnx.Rngs) -> None:
        super().__init__(sizes, rngs=rngs)
        self.member = DenseStack((sizes.n_features, *sizes.hidden), rngs=rngs)

    def pooled(self, inputs: EncoderInputs) -> Float[Array, "n G"]:
        """Return the mean of the members' features."""
        assert inputs.members is not None
        assert inputs.present is not None
        features = jnp.where(inputs.present[..., None], nnx.relu(self.member(inputs.members)), 0)
        return features.sum(axis=1) / inputs.counts[:, None]
