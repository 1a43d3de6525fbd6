"""Mixtures of predictive distributions: scores, densities and quantiles, a case a row.

All functions are of y (N,), weights (N, K) and parameters (N, K) each, compile, and return (N,).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp, ndtr
from jaxtyping import Float

from degmm.arrays import Array
from degmm.calibration.families import PredictiveFamily
from degmm.calibration.families.special import log_normal_density
from degmm.calibration.panels import Ruler, nodes_in

HALF = (1e-13, 1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.05, 0.15, 0.3)
LEVELS = (*HALF, 0.5, *(1 - p for p in reversed(HALF)))
"""Probabilities at whose quantiles the panels part that resolve a distribution, to about 1e-9 of its scale"""
NODES = 12
"""Of Gauss and Legendre's rule in each panel"""
RELATIVE_WIDTH = 2e-11
"""Of the bracket of a quantile at the end of the bisection, over the quantile or the scale"""
MOST_STEPS = 200


def crps_normal_mixture(
    y: Float[Array, "N"],
    weights: Float[Array, "N K"],
    locations: Float[Array, "N K"],
    scales: Float[Array, "N K"],
) -> Float[Array, "N"]:
    """Return the CRPS of mixtures of normals in closed form (Grimit et al. 2006, doi:10.1256/qj.05.235).

    Σ_k w_k A(y − μ_k, σ_k²) − ½ Σ_kl w_k w_l A(μ_k − μ_l, σ_k² + σ_l²), where A(m, s²) = E|m + s Z| =
    2 s φ(m/s) + m (2 Φ(m/s) − 1).
    """
    first = (weights * _mean_size(y[:, None] - locations, scales)).sum(axis=1)
    apart = locations[:, :, None] - locations[:, None, :]
    squares = scales**2
    # a root of a sum of positive squares, of which the derivative is finite
    spread = jnp.sqrt(squares[:, :, None] + squares[:, None, :])
    pairs = weights[:, :, None] * weights[:, None, :] * _mean_size(apart, spread)
    return first - 0.5 * pairs.sum(axis=(1, 2))


def _mean_size(m: Float[Array, "..."], s: Float[Array, "..."]) -> Float[Array, "..."]:
    z = m / s
    return 2 * s * jnp.exp(log_normal_density(z)) + m * (2 * ndtr(z) - 1)


def crps_mixture(
    family: PredictiveFamily,
    y: Float[Array, "N"],
    weights: Float[Array, "N K"],
    *parameters: Any,
) -> Float[Array, "N"]:
    """Return the CRPS of mixtures of any family.

    Σ_k w_k CRPS(F_k, y) − ∫ Σ_k w_k (F_k(x) − F(x))² dx: the integral, which is not one of y and smooth
    apart from 0, where a distribution may begin, by Gauss and Legendre's rule in panels as narrow as the
    components need. Normals have a closed form. For values: it has no derivative.
    """
    if family.name == "normal":
        return crps_normal_mixture(y, weights, *parameters)
    weights, parameters = weights.T, tuple(part.T for part in parameters)
    scores = (weights * family.crps(y, *parameters)).sum(axis=0)
    if len(weights) == 1:
        return scores
    levels = jnp.asarray(LEVELS, scores.dtype)[:, None, None]
    ruler = Ruler.of(family.quantile(levels, *parameters))
    length = ruler.length
    count = jnp.ceil(jnp.where(jnp.isfinite(length), length, 1).max()).astype(jnp.int32)

    def panel(j: Any, state: Any) -> Any:
        total, low = state
        high = ruler.at((j + 1) / count)
        (x,), (mass,) = nodes_in(jnp.stack([low, high]), NODES)
        each = family.cdf(x[:, None], *parameters)
        apart = each - (weights * each).sum(axis=1, keepdims=True)
        return total + (mass * (weights * apart**2).sum(axis=1)).sum(axis=0), high

    apart, _ = jax.lax.fori_loop(0, count, panel, (jnp.zeros_like(scores), ruler.x[0]))
    return scores - apart


def logpdf_mixture(
    family: PredictiveFamily, y: Float[Array, "N"], weights: Float[Array, "N K"], *parameters: Any
) -> Float[Array, "N"]:
    """Return log Σ_k w_k f_k(y), or the log probability where y is the point of a mass."""
    return logsumexp(family.logpdf(y[:, None], *parameters), b=weights, axis=1)


def cdf_mixture(
    family: PredictiveFamily, y: Float[Array, "N"], weights: Float[Array, "N K"], *parameters: Any
) -> Float[Array, "N"]:
    """Return Σ_k w_k F_k(y)."""
    return (weights * family.cdf(y[:, None], *parameters)).sum(axis=1)


def quantile_mixture(
    family: PredictiveFamily, p: Float[Array, "N"], weights: Float[Array, "N K"], *parameters: Any
) -> Float[Array, "N"]:
    """Return the least x with Σ_k w_k F_k(x) ≥ p, by bisection between the quantiles of the components.

    The bracket is at last 2 × 10⁻¹¹ of the quantile wide or, if that is less, of the largest scale; or 10⁻¹⁵
    of what it was; or as wide as the rounding of the quantile.
    """
    each = family.quantile(p[:, None], *parameters)
    if weights.shape[1] == 1:
        return each[:, 0]
    low, high = each.min(axis=1), each.max(axis=1)
    # p = 0 or 1: the components agree, or the outermost decides
    open_ended = ~jnp.isfinite(low) | ~jnp.isfinite(high)
    outermost = jnp.where(p <= 0, low, high)
    first, last = jnp.where(open_ended, 0.0, low), jnp.where(open_ended, 0.0, high)
    least = 1e-15 * (last - first)
    scale = parameters[1].max(axis=1)
    rounding = 4 * float(jnp.finfo(low.dtype).eps)

    def unfinished(state: Any) -> Any:
        n, low, high = state
        size = jnp.maximum(jnp.abs(low), jnp.abs(high))
        wide = high - low > jnp.maximum(RELATIVE_WIDTH * jnp.minimum(size, scale), rounding * size) + least
        return jnp.any(wide) & (n < MOST_STEPS)

    def step(state: Any) -> Any:
        n, low, high = state
        middle = low + (high - low) / 2
        reached = cdf_mixture(family, middle, weights, *parameters) >= p
        return n + 1, jnp.where(reached, low, middle), jnp.where(reached, middle, high)

    _, low, high = jax.lax.while_loop(unfinished, step, (0, first, last))
    # where every middle reached p, so does the first, such as one with a mass at 0
    return jnp.where(open_ended, outermost, jnp.where(low > first, high, first))


def mean_mixture(
    family: PredictiveFamily, weights: Float[Array, "N K"], *parameters: Any
) -> Float[Array, "N"]:
    """Return Σ_k w_k m_k."""
    return (weights * family.mean(*parameters)).sum(axis=1)


def std_mixture(
    family: PredictiveFamily, weights: Float[Array, "N K"], *parameters: Any
) -> Float[Array, "N"]:
    """Return the standard deviation, of √(Σ_k w_k [s_k² + (m_k − m)²])."""
    means, stds = family.mean(*parameters), family.std(*parameters)
    centre = (weights * means).sum(axis=1, keepdims=True)
    return jnp.sqrt((weights * (stds**2 + (means - centre) ** 2)).sum(axis=1))
