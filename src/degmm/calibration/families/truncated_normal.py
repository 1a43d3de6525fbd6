"""The normal distribution truncated at 0 from the left, for wind speed.

Thorarinsdottir & Gneiting 2010, doi:10.1111/j.1467-985X.2009.00616.x. With u = −μ/σ the distribution
of y/σ is that of Z − u given Z > u, for a standard normal Z. Everything is written in y/σ, the survival
ratio Φ(−z)/Φ(−u), and the mean excess of Z, so that it holds where u is large (nearly exponential
distributions, as of calm days) and the textbook's form is 0/0.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Float

from degmm.arrays import Array
from degmm.calibration.families.base import PredictiveFamily, below_zero
from degmm.calibration.families.normal import INVERSE_ROOT_PI
from degmm.calibration.families.normal_tail import survival
from degmm.calibration.families.special import (
    FAR,
    excess,
    excess_variance,
    log_normal_cdf,
    log_normal_density,
)

ROOT_TWO = 2**0.5
NEWTON_STEPS = 6
"""For the quantile in the far tail, from a start that is nearly there"""


def crps(
    y: Float[Array, "..."], location: Float[Array, "..."], scale: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return σ [z − c + 2 r e(z)] with z = (y − μ)/σ.

    Here r = Φ(−z)/Φ(−u), e is the mean excess and c = Φ(−√2 u)/(√π Φ(−u)²); a y below 0 adds −y.
    """
    d, u = jnp.maximum(y, 0) / scale, -location / scale
    return scale * (_beyond_constant(d, u) + 2 * survival(d, u) * excess(u + d)) + below_zero(y)


def logpdf(
    y: Float[Array, "..."], location: Float[Array, "..."], scale: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return log[φ(z)/(σ Φ(μ/σ))]; −∞ below 0."""
    d, u = jnp.maximum(y, 0) / scale, -location / scale
    near, far = jnp.minimum(u, FAR), jnp.maximum(u, FAR)
    log_density = jnp.where(
        u > FAR,
        -d * (far + d / 2) + jnp.log(far + excess(far)),
        log_normal_density(near + d) - log_normal_cdf(-near),
    )
    return jnp.where(y < 0, -jnp.inf, log_density - jnp.log(scale))


def cdf(
    y: Float[Array, "..."], location: Float[Array, "..."], scale: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return 1 − Φ(−z)/Φ(μ/σ); 0 below 0."""
    below = 1 - survival(jnp.maximum(y, 0) / scale, -location / scale)
    return jnp.where(y <= 0, 0.0, jnp.maximum(below, 0))


def quantile(
    p: Float[Array, "..."], location: Float[Array, "..."], scale: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return the y with F(y) = p."""
    p, location, scale = jnp.broadcast_arrays(p, location, scale)
    end = p >= 1
    p = jnp.where(end, 0.5, p)
    u = -location / scale
    near, far = jnp.minimum(u, FAR), jnp.maximum(u, FAR)
    below, above = ndtr(near), ndtr(-near)
    upper = (1 - p) * above
    # each half of the distribution from its own side, where the probability is precise
    middle = upper < 0.5
    z = jnp.where(
        middle, -ndtri(jnp.where(middle, upper, 0.25)), ndtri(jnp.where(middle, 0.25, below + p * above))
    )
    d = jnp.where(u > FAR, _far_quantile(p, far), jnp.maximum(z - near, 0))
    return jnp.where(end, jnp.inf, scale * d)


def mean(location: Float[Array, "..."], scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return σ e(u) = μ + σ φ(μ/σ)/Φ(μ/σ)."""
    return scale * excess(-location / scale)


def std(location: Float[Array, "..."], scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return σ √(1 − (u + e) e)."""
    return scale * jnp.sqrt(excess_variance(-location / scale))


def _log_survival(d: Float[Array, "..."], u: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log[Φ(−u − d)/Φ(−u)] for d ≥ 0."""
    near, far = jnp.minimum(u, FAR), jnp.maximum(u, FAR)
    # φ(z)/λ(z) with the hazard λ = z + e, the quotient of φ without its cancellation
    in_tail = -d * (far + d / 2) + jnp.log((far + excess(far)) / (far + d + excess(far + d)))
    return jnp.minimum(jnp.where(u > FAR, in_tail, log_normal_cdf(-near - d) - log_normal_cdf(-near)), 0.0)


def _beyond_constant(d: Float[Array, "..."], u: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return z − c = u + d − Φ(−√2 u)/(√π Φ(−u)²)."""
    near, far = jnp.minimum(u, FAR), jnp.maximum(u, FAR)
    one, two = excess(far), excess(ROOT_TWO * far)
    # c = √2 λ(u)²/λ(√2 u), from which u is taken off by hand
    apart = (2 * ROOT_TWO * far * one + ROOT_TWO * one**2 - far * two) / (ROOT_TWO * far + two)
    constant = INVERSE_ROOT_PI * jnp.exp(log_normal_cdf(-ROOT_TWO * near) - 2 * log_normal_cdf(-near))
    return d + jnp.where(u > FAR, -apart, near - constant)


def _far_quantile(p: Float[Array, "..."], u: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return d with log[Φ(−u − d)/Φ(−u)] = log(1 − p), by Newton's method, for u > ``FAR``."""
    target = jnp.log1p(-p)
    held, aim = jax.lax.stop_gradient((u, target))
    d = -2 * aim / (held + jnp.sqrt(held**2 - 2 * aim))
    for _ in range(NEWTON_STEPS):
        slope = held + d + excess(held + d)
        d = jnp.maximum(d + (_log_survival(d, held) - aim) / slope, 0)
    d = jax.lax.stop_gradient(d)
    # a last step, which carries the derivatives of the root
    return d + (_log_survival(d, u) - target) / jax.lax.stop_gradient(u + d + excess(u + d))


TRUNCATED_NORMAL = PredictiveFamily(
    "truncated_normal", crps, logpdf, cdf, quantile, mean, std, from_zero=True
)
