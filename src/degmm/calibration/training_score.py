"""The CRPS of mixtures as trainings take it: by few nodes, with a derivative that is found on the way."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from degmm.arrays import Array
from degmm.calibration.families import PredictiveFamily
from degmm.calibration.mixtures import crps_normal_mixture
from degmm.calibration.panels import nodes_in, shared_bounds

STEPS = (-3.0, -1.0, 1.0, 5.0)
"""Where a component's own panels part, in standard deviations above its mean: quantiles take long"""
GROUPS = 2
"""Of panels, one after the other: what is computed of one fits the processor's caches"""
PANELS, NODES = 6, 4
"""Of a mixture, and of Gauss and Legendre's rule in each: to about 1e-5 of the scale"""


def training_crps(
    family: PredictiveFamily, y: Float[Array, "N"], weights: Float[Array, "K N"], *parameters: Any
) -> Float[Array, "N"]:
    """Return the CRPS of mixtures: that of :func:`degmm.calibration.mixtures.crps_mixture`, less precisely.

    The cases are the last axis here, so that sums over the others run over many cases at once.
    Its derivative, of the first order alone, is that of the sum over the nodes, which do not move.
    """
    if family.name == "normal":
        return crps_normal_mixture(y, weights.T, *(part.T for part in parameters))
    return _score(family, y, weights, *parameters)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _score(family: PredictiveFamily, y: Any, weights: Any, *parameters: Any) -> Float[Array, "N"]:
    return _score_and_slopes(family, y, weights, *parameters)[0]


def _score_and_slopes(
    family: PredictiveFamily, y: Any, weights: Any, *parameters: Any
) -> tuple[Any, tuple[Any, ...]]:
    """Return the score, and its derivatives by the weights and by each parameter.

    Found with the values, they need no second pass. The loops keep the compiler from making what is large
    a part of small loops over arrays in another order, which takes it several times as long.
    """

    def own_score(_: None, of_one: Any) -> Any:
        value, pulled = jax.vjp(lambda *theta: family.crps(y, *theta), *of_one)
        return None, (value, *pulled(jnp.ones_like(value)))

    _, (values, *slopes) = jax.lax.scan(own_score, None, parameters)
    scores, by_weight = (weights * values).sum(axis=0), values
    by_parameter = [weights * slope for slope in slopes]
    if len(weights) == 1:
        return scores, (by_weight, *by_parameter)
    mean, std = family.mean(*parameters), family.std(*parameters)
    ends = mean + std * jnp.asarray(STEPS, mean.dtype)[:, None, None]
    ends = jnp.maximum(ends, 0) if family.from_zero else ends
    nodes = nodes_in(shared_bounds(ends, PANELS), NODES)
    apart = _apart(family, *nodes, weights, *parameters)
    slopes = [one - other for one, other in zip((by_weight, *by_parameter), apart, strict=True)]
    return scores - (weights * apart[0]).sum(axis=0), tuple(slopes)


def _apart(
    family: PredictiveFamily,
    x: Float[Array, "C G N"],
    mass: Float[Array, "C G N"],
    weights: Float[Array, "K N"],
    *parameters: Any,
) -> tuple[Float[Array, "K N"], ...]:
    """Return the derivatives of ∫ Σ_k w_k (F_k − F)² dx with F = Σ_k w_k F_k, first those by the weights."""

    def group(totals: Any, of_one: Any) -> Any:
        at, mass = (part[:, None] for part in of_one)
        each, pulled = jax.vjp(lambda *theta: family.cdf(at, *theta), *parameters)
        apart = each - (weights * each).sum(axis=1, keepdims=True)
        by_weight = (mass * apart**2).sum(axis=0)
        return jax.tree.map(jnp.add, totals, (by_weight, *pulled(2 * mass * weights * apart))), None

    groups = tuple(part.reshape(GROUPS, -1, part.shape[2]) for part in (x, mass))
    start = (jnp.zeros_like(weights),) * (1 + len(parameters))
    slopes, _ = jax.lax.scan(group, start, groups)
    return tuple(slopes)


def _backward(family: PredictiveFamily, slopes: Any, incoming: Any) -> tuple[Any, ...]:
    return None, *(incoming * slope for slope in slopes)


_score.defvjp(_score_and_slopes, _backward)
