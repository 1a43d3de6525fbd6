"""Stepwise EM: the M-steps of single batches, averaged (Cappé & Moulines 2009, J. R. Stat. Soc. B 71)."""

import jax.numpy as jnp
from jaxtyping import Float, Int

from degmm.arrays import Array
from degmm.families.base import Family, MixtureParameters
from degmm.families.gaussian import as_stack, outer_like

DECAY, DELAY = 0.6, 2
"""The weight of batch t is (t + DELAY)^−DECAY"""


def averaging_rate(step: Int[Array, ""], mass: Float[Array, ""]) -> Float[Array, ""]:
    """Return the weight of the batch at a step, counted from the end of the warm-up.

    ``mass`` is the sum of its ensembles' weights, relative to that of batches on average.
    """
    rate = (jnp.maximum(step, 0) + DELAY) ** -DECAY
    return rate * mass / (1 - rate + rate * mass)


def averaged(
    family: Family, before: MixtureParameters, batch: MixtureParameters, rate: Float[Array, ""]
) -> MixtureParameters:
    """Return the parameters whose expected statistics are a weighted mean of two others'.

    Statistics and parameters determine each other: weights, and means and covariances times weights,
    are averaged, and what the means differ by counts as variance, of the members where they are
    independent, of the centres where they are shared. For equal numbers of members this is the
    average of the statistics themselves.

    Parameters
    ----------
    family : Family
    before, batch : MixtureParameters
        Those so far, and those of one batch.
    rate : float
        Weight of the batch, between 0 and 1.
    """
    rate = jnp.asarray(rate, before.means.dtype)
    weights = (1 - rate) * before.weights + rate * batch.weights
    share = rate * batch.weights / weights
    apart = batch.means - before.means
    part = as_stack(share, before.within)
    spread = part * (1 - part) * outer_like(before.within, apart, apart)
    within = (1 - part) * before.within + part * batch.within
    between = (1 - part) * before.between + part * batch.between
    if family.shares_centre:
        between = family.covariance.project(between + spread, weights)
    else:
        within = family.covariance.project(within + spread, weights)
    return MixtureParameters(weights, before.means + share[:, None] * apart, within, between)
