"""Set transformer: members attend to each other by way of a few inducing points."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Bool, Float

from degmm.arrays import Array
from degmm.nets.base import DenseStack, EncoderInputs, EncoderSizes
from degmm.nets.pooled import PooledEncoder

INDUCING_POINTS = 4
HEADS = 4


class AttentionBlock(nnx.Module):
    """Multi-head attention of some vectors to others, and a dense layer, each with a residual path."""

    def __init__(self, width: int, *, rngs: nnx.Rngs) -> None:
        heads = HEADS if width % HEADS == 0 else 1
        self.attention = nnx.MultiHeadAttention(heads, width, decode=False, rngs=rngs)
        self.first_norm, self.second_norm = nnx.LayerNorm(width, rngs=rngs), nnx.LayerNorm(width, rngs=rngs)
        self.dense = nnx.Linear(width, width, rngs=rngs)

    def __call__(
        self,
        queries: Float[Array, "n Q W"],
        values: Float[Array, "n V W"],
        present: Bool[Array, "n V"] | None = None,
    ) -> Float[Array, "n Q W"]:
        """Return what each query finds in the values that are present."""
        mask = None if present is None else present[:, None, None, :]
        x = self.first_norm(queries + self.attention(queries, values, mask=mask))
        return self.second_norm(x + nnx.relu(self.dense(x)))


class SetTransformerEncoder(PooledEncoder):
    """Induced self-attention of the members, pooled by attention, beside the moments (Lee et al. 2019).

    Attention to the inducing points costs M × their number, not M². Absent members are masked.
    """

    def __init__(self, sizes: EncoderSizes, *, rngs: nnx.Rngs) -> None:
        super().__init__(sizes, rngs=rngs)
        width = self.pooled_width(sizes)
        initial = nnx.initializers.normal(1.0)
        self.enter = nnx.Linear(sizes.n_features, width, rngs=rngs)
        self.inducing = nnx.Param(initial(rngs.params(), (INDUCING_POINTS, width)))
        self.seed = nnx.Param(initial(rngs.params(), (1, width)))
        self.gather, self.spread, self.pool = (AttentionBlock(width, rngs=rngs) for _ in range(3))
        self.leave = DenseStack((width, width), rngs=rngs)

    def pooled(self, inputs: EncoderInputs) -> Float[Array, "n G"]:
        """Return what one learned query finds in the members, once they have attended to each other."""
        assert inputs.members is not None
        assert inputs.present is not None
        n, present = inputs.members.shape[0], inputs.present
        x = self.enter(inputs.members)
        inducing, seed = (
            jnp.broadcast_to(part[...].astype(x.dtype), (n, *part.shape))
            for part in (self.inducing, self.seed)
        )
        x = self.spread(x, self.gather(inducing, x, present))
        return self.leave(self.pool(seed, x, present)[:, 0])
