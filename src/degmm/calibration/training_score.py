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
    family: PredictiveFamily, y: Float[Array, "N"], weights: Float[Array, "N K"], *parameters: Any
) -> Float[Array, "N"]:
    """Return the CRPS of mixtures: that of :func:`degmm.calibration.mixtures.crps_mixture`, less precisely.

    Its derivative, of the first order alone, is that of the sum over the nodes, which do not move.
    """
    if family.name == "normal":
        return crps_normal_mixture(y, weights, *parameters)
    weights, *parameters = (part.T for part in (weights, *parameters))
    scores = (weights * family.crps(y, *parameters)).sum(axis=0)
    if len(weights) == 1:
        return scores
    held = jax.lax.stop_gradient(parameters)
    mean, std = family.mean(*held), family.std(*held)
    ends = mean + std * jnp.asarray(STEPS, mean.dtype)[:, None, None]
    ends = jnp.maximum(ends, 0) if family.from_zero else ends
    x, mass = nodes_in(shared_bounds(ends, PANELS), NODES)
    return scores - _apart(family, x, mass, weights, *parameters)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _apart(
    family: PredictiveFamily,
    x: Float[Array, "C G N"],
    mass: Float[Array, "C G N"],
    weights: Float[Array, "K N"],
    *parameters: Any,
) -> Float[Array, "N"]:
    """Return ∫ Σ_k w_k (F_k − F)² dx, with F = Σ_k w_k F_k."""
    return _apart_and_slopes(family, x, mass, weights, *parameters)[0]


def _apart_and_slopes(
    family: PredictiveFamily, x: Any, mass: Any, weights: Any, *parameters: Any
) -> tuple[Any, Any]:
    """Return the integral, and its derivatives by the weights and by each parameter.

    The derivatives need no more than the distributions' own at the nodes. Found with them, what the nodes
    are many of need not be kept for a second pass.
    """

    def group(totals: Any, of_one: Any) -> Any:
        at, mass = (part[:, None] for part in of_one)
        each, pulled = jax.vjp(lambda *theta: family.cdf(at, *theta), *parameters)
        apart = each - (weights * each).sum(axis=1, keepdims=True)
        by_weight = (mass * apart**2).sum(axis=0)
        return jax.tree.map(jnp.add, totals, (by_weight, *pulled(2 * mass * weights * apart))), None

    zero = jnp.zeros_like(weights)
    groups = tuple(part.reshape(GROUPS, -1, part.shape[2]) for part in (x, mass))
    slopes, _ = jax.lax.scan(group, (zero,) * (1 + len(parameters)), groups)
    return (weights * slopes[0]).sum(axis=0), slopes


def _forward(family: PredictiveFamily, *arguments: Any) -> tuple[Any, Any]:
    return _apart_and_slopes(family, *arguments)


def _backward(family: PredictiveFamily, slopes: Any, incoming: Any) -> tuple[Any, ...]:
    return None, None, *(incoming * slope for slope in slopes)


_apart.defvjp(_forward, _backward)
