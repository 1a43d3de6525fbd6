"""Quantiles of the gamma distribution of a shape up to 1000, near 0 and near 1 as precise as in the middle.

What is left above a value, Q(a, x) = 1 − P(a, x), is lost in the rounding of P where it is small. There it is
taken from Legendre's continued fraction (DLMF 8.9.2),

    Q(a, x) = x^a e^−x/Γ(a) · 1/(x + 1 − a − 1 (1 − a)/(x + 3 − a − 2 (2 − a)/(x + 5 − a − …))),

or, of shapes for which its terms would be many, from Temme's expansion.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Float

from degmm.arrays import Array
from degmm.calibration.families.incomplete_gamma import (
    STEPS,
    gamma_cdf,
    log_factorial,
    log_gamma_cdf,
    log_gamma_weight,
)
from degmm.calibration.families.narrow_gamma import log_tails

MOST_STEPS = 60
"""Of Newton's method"""
HALVED = 4
"""Of so many steps one halves the bracket"""
FAR_ABOVE = (3.0, 3.0)
"""The fraction is used so many √a, and so much more, above a …"""
EXPANDED_FROM = 26.0
"""… up to this shape"""
FRACTION_TERMS = 22
"""Enough for 1e-12 there"""
LARGEST = 1e3
"""Shape"""


def log_gamma_survival(a: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log Q(a, x) to about 1e-12, of shapes below 1e-3 to 1e-14 over the shape; not to derive."""
    a, x = jnp.broadcast_arrays(a, x)
    root = jnp.sqrt(a)
    start = a + FAR_ABOVE[0] * root + FAR_ABOVE[1]
    far, large = x > start, a >= EXPANDED_FROM
    near = jnp.maximum(-jnp.expm1(log_gamma_cdf(a, x)), jnp.finfo(a.dtype).tiny)
    held, at = jnp.minimum(a, EXPANDED_FROM), jnp.where(far & ~large, x, start)
    at = jnp.maximum(at, held + 1)
    fraction = at + (2 * FRACTION_TERMS + 1) - held
    for k in range(FRACTION_TERMS, 0, -1):
        fraction = at + (2 * k - 1) - held - k * (k - held) / fraction
    by_fraction = log_gamma_weight(held, at) + jnp.log(held / fraction)
    shape = jnp.clip(a, EXPANDED_FROM, LARGEST)
    powers = STEPS[np.dtype(a.dtype)].powers
    expanded = log_tails((x - shape) / jnp.sqrt(shape), 1 / jnp.sqrt(shape), powers)[1]
    return jnp.where(far, jnp.where(large, expanded, by_fraction), jnp.log(near))


@jax.custom_jvp
def gamma_quantile(a: Float[Array, "..."], p: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return x with P(a, x) = p, for 0 < a ≤ 1000 and 0 < p < 1.

    Newton's method within a bracket, on the log odds, to about 1e-12 of x; where the shape is below 1e-2, to
    1e-14 over the shape. Its derivatives by a and p are those of the root.
    """
    a, p = jnp.broadcast_arrays(a, p)
    # P(a, x) ≤ x^a / Γ(a + 1) bounds the root from below.
    low = jnp.maximum((jnp.log(p) + log_factorial(a)) / a, -650.0)
    high = jnp.log(a + 12 * jnp.sqrt(a) + 45)
    low = jnp.minimum(low, high)
    eps = float(jnp.finfo(a.dtype).eps)
    target = jnp.log(p) - jnp.log1p(-p)
    slack = 16 * eps

    def step(state: Any) -> Any:
        i, low, high, at, _ = state
        x = jnp.exp(at)
        log_p, log_q = log_gamma_cdf(a, x), log_gamma_survival(a, x)
        apart = log_p - log_q - target
        low, high = jnp.where(apart < 0, at, low), jnp.where(apart < 0, high, at)
        slope = jnp.exp(jnp.log(a) + log_gamma_weight(a, x) - log_p - log_q)
        change = -apart / jnp.where(slope > 0, slope, 1)
        # log[P/(1 − P)] is nearly linear in log x below the median, in x above
        newton = at + jnp.where(target > 0, jnp.log1p(jnp.maximum(change, -0.9)), change)
        inside = slope > 0
        # each step squares the error, down to that of the rounding
        noise = 64 * eps * (1 + a + jnp.abs(log_p) + jnp.exp(-jnp.maximum(log_q, -7)))
        found = inside & (jnp.abs(apart) <= eps**0.5 + noise)
        halved = ~found & (i % HALVED == HALVED - 1)
        held = jnp.clip(newton, low, high)
        return i + 1, low, high, jnp.where(inside & ~halved, held, (low + high) / 2), found

    def unfinished(state: Any) -> Any:
        i, low, high, _, found = state
        # a NaN, which never ends, does not keep the others waiting
        return jnp.any(~found & (high - low > slack)) & (i < MOST_STEPS)

    cubed = 1 - 1 / (9 * a) + ndtri(p) / (3 * jnp.sqrt(a))  # Wilson and Hilferty 1931
    first = jnp.clip(jnp.log(a) + 3 * jnp.log(jnp.maximum(cubed, 0.05)), low, high)
    start = (jnp.zeros((), jnp.int32), low, high, first, jnp.zeros(a.shape, bool))
    at = jax.lax.while_loop(unfinished, step, start)[3]
    return jnp.exp(at)


@gamma_quantile.defjvp
def _gamma_quantile_jvp(primals: Any, tangents: Any) -> Any:
    (a, p), (da, dp) = primals, tangents
    x = gamma_quantile(a, p)
    by_a = jax.jvp(gamma_cdf, (a + 0 * x, x), (jnp.ones_like(x), jnp.zeros_like(x)))[1]
    density = jnp.exp(jnp.log(a) + log_gamma_weight(a, x)) / x
    sound = (density > 0) & jnp.isfinite(density)
    return x, jnp.where(sound, (dp - by_a * da) / jnp.where(sound, density, 1), 0)
