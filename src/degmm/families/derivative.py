"""The log density with its derivatives in the parameters, written out.

An eigendecomposition has infinite derivatives at equal eigenvalues although the density has none,
so automatic differentiation must not go through the factorisations.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from degmm.arrays import Array
from degmm.families.base import Family, MixtureParameters
from degmm.families.gaussian import congruent, diagonal_of, scatter_trace, transform
from degmm.moments import Moments


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def smooth_log_density(
    family: Family, parameters: MixtureParameters, moments: Moments
) -> Float[Array, "K n"]:
    """Return log f_k(x_i), differentiable in the parameters."""
    return family.log_density(family.factor(parameters), moments)


@smooth_log_density.defjvp
def _(family: Family, primals: Any, tangents: Any) -> tuple[Array, Array]:
    (parameters, moments), (change, _) = primals, tangents
    factors = family.factor(parameters)
    F, counts = factors.inward, moments.counts
    z = transform(F, moments.mean - parameters.means[:, :, None])
    growth = 1 + counts * factors.ratio[:, :, None] if family.shares_centre else 1
    y = z / growth  # (W + M B)⁻¹(x̄ − μ) = Fᵀy

    def inward(part: Float[Array, "K ..."]) -> Float[Array, "K ..."]:
        return congruent(F, part)

    def quadratic(part: Float[Array, "K ..."]) -> Float[Array, "K n"]:
        return (y * transform(part, y)).sum(axis=1)

    own = inward(change.within)
    own_diagonal = diagonal_of(own)
    whole = congruent(F if F.ndim == 2 else jnp.swapaxes(F, 1, 2), own)  # W⁻¹ dW W⁻¹
    twice = (counts - 1) * own_diagonal.sum(axis=1)[:, None] - scatter_trace(whole, moments.scatter)
    twice = twice + (own_diagonal[:, :, None] / growth).sum(axis=1) - counts * quadratic(own)
    twice = twice - 2 * counts * (y * transform(F, change.means[:, :, None])).sum(axis=1)
    if family.shares_centre:
        shared = inward(change.between)
        shared_diagonal = diagonal_of(shared)[:, :, None]
        twice = twice + counts * (shared_diagonal / growth).sum(axis=1) - counts**2 * quadratic(shared)
    return family.log_density(factors, moments), -0.5 * twice
