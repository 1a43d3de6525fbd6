"""The logistic distribution censored at 0 from the left: what lies below is a probability of exactly 0.

For precipitation and other amounts with many zeros (Messner et al. 2014, doi:10.1175/MWR-D-13-00355.1).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_sigmoid, sigmoid, softplus
from jaxtyping import Float

from degmm.arrays import Array
from degmm.calibration.families.base import PredictiveFamily, below_zero
from degmm.calibration.families.special import dilogarithm

THIRD_OF_PI_SQUARED = float(np.pi**2 / 3)
SMALLEST = 1e-30
"""Least variance in units of the scale, so that its root has a derivative"""


def crps(
    y: Float[Array, "..."], location: Float[Array, "..."], scale: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return σ {[s(z) − F(z)] − [s(l) − F(l)] + s(−z) − F(−z)}.

    Here z = (y − μ)/σ, l = −μ/σ, F is the logistic function and s(x) = log(1 + exp(x)); the first two
    brackets are ∫ F², the rest ∫ (1 − F)². A y below 0 adds −y.
    """
    z, low = (jnp.maximum(y, 0) - location) / scale, -location / scale
    below = softplus(z) - softplus(low) - (sigmoid(z) - sigmoid(low))
    return scale * (below + softplus(-z) - sigmoid(-z)) + below_zero(y)


def logpdf(
    y: Float[Array, "..."], location: Float[Array, "..."], scale: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return the log density above 0, the log probability at 0, −∞ below."""
    z = (jnp.maximum(y, 0) - location) / scale
    density = log_sigmoid(z) + log_sigmoid(-z) - jnp.log(scale)
    return jnp.where(y < 0, -jnp.inf, jnp.where(y <= 0, log_sigmoid(z), density))


def cdf(
    y: Float[Array, "..."], location: Float[Array, "..."], scale: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return F((y − μ)/σ) of the logistic distribution; 0 below 0."""
    return jnp.where(y < 0, 0.0, sigmoid((y - location) / scale))


def quantile(
    p: Float[Array, "..."], location: Float[Array, "..."], scale: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return max(0, μ + σ log(p/(1 − p)))."""
    inside = (p > 0) & (p < 1)
    held = jnp.where(inside, p, 0.5)  # the ends are no function of the parameters
    value = jnp.maximum(location + scale * (jnp.log(held) - jnp.log1p(-held)), 0)
    return jnp.where(inside, value, jnp.where(p <= 0, 0.0, jnp.where(p >= 1, jnp.inf, jnp.nan)))


def mean(location: Float[Array, "..."], scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return σ log(1 + exp(μ/σ))."""
    return scale * softplus(location / scale)


def std(location: Float[Array, "..."], scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the standard deviation, with E[Y²] = −2 σ² Li₂(−exp(μ/σ))."""
    t = location / scale
    lesser = -jnp.abs(t)
    twice, log_term = 2 * dilogarithm(lesser), jax.nn.softplus(lesser)
    # for μ > 0 by the inversion of Li₂, with the squares of μ/σ taken off by hand
    variance = jnp.where(
        t > 0,
        THIRD_OF_PI_SQUARED - twice - log_term * (2 * jnp.abs(t) + log_term),
        twice - log_term**2,
    )
    return scale * jnp.sqrt(jnp.maximum(variance, SMALLEST))


CENSORED_LOGISTIC = PredictiveFamily(
    "censored_logistic", crps, logpdf, cdf, quantile, mean, std, from_zero=True
)
