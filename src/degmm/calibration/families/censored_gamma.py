"""The gamma distribution shifted to the left and censored at 0, for precipitation.

Scheuerer & Hamill 2015, doi:10.1175/MWR-D-15-0061.1. Y = max(G − δ, 0), where G is of the gamma
distribution with mean μ (``location``) and standard deviation σ (``scale``): shape α = (μ/σ)², scale
θ = μ/α. The shape is kept within ``SHAPES``, a standard deviation of 3 % to 10⁴ times the mean.
"""

import jax.numpy as jnp
from jaxtyping import Float

from degmm.arrays import Array
from degmm.calibration.families.base import PredictiveFamily, below_zero, softplus
from degmm.calibration.families.incomplete_gamma import (
    gamma_cdf,
    gamma_quantile,
    log_factorial,
    log_gamma_cdf,
    log_gamma_weight,
)
from degmm.calibration.families.normal import INVERSE_ROOT_PI

SHAPES = (1e-8, 1e3)
"""Least and largest shape"""
SMALLEST = 1e-30
"""Least mean, and least value over the scale: logarithms are taken of both"""


def crps(
    y: Float[Array, "..."],
    location: Float[Array, "..."],
    scale: Float[Array, "..."],
    shift: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Return the closed form (Scheuerer & Hamill 2015, equation 10).

    θ {x (2 F(x) − 1) − d F(d)² − (α/π) B(½, α + ½) [1 − F_2α(2 d)]
    + α [1 + 2 F(d) F_α+1(d) − F(d)² − 2 F_α+1(x)]} with x = (y + δ)/θ, d = δ/θ, F = F_α the incomplete
    gamma function of shape α. A y below 0 adds −y.
    """
    shape, unit = _shape(location, scale)
    x = jnp.maximum((jnp.maximum(y, 0) + shift) / unit, SMALLEST)
    d = jnp.maximum(shift / unit, SMALLEST)
    shape, x, d = jnp.broadcast_arrays(shape, x, d)
    # one call for three values: what is called is long to compile
    shapes, points = jnp.stack([shape, shape, 2 * shape]), jnp.stack([x, d, 2 * d])
    at_x, at_d, at_twice = gamma_cdf(shapes, points)
    # F_α+1(x) = F_α(x) − x^α e^−x / Γ(α + 1)
    weight_x, weight_d = jnp.exp(log_gamma_weight(shapes[:2], points[:2]))
    next_x, next_d = at_x - weight_x, at_d - weight_d
    # (α/π) B(½, α + ½) = Γ(α + ½)/(√π Γ(α))
    quotient = jnp.exp(log_factorial(shape + 0.5) - log_factorial(shape))
    half = shape / (shape + 0.5) * quotient * INVERSE_ROOT_PI
    value = (
        x * (2 * at_x - 1)
        - d * at_d**2
        - half * (1 - at_twice)
        + shape * (1 + 2 * at_d * next_d - at_d**2 - 2 * next_x)
    )
    return unit * value + below_zero(y)


def logpdf(
    y: Float[Array, "..."],
    location: Float[Array, "..."],
    scale: Float[Array, "..."],
    shift: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Return the log density above 0, the log probability at 0, −∞ below."""
    shape, unit = _shape(location, scale)
    x = jnp.maximum((jnp.maximum(y, 0) + shift) / unit, SMALLEST)
    density = log_gamma_weight(shape, x) + jnp.log(shape / x) - jnp.log(unit)
    return jnp.where(y < 0, -jnp.inf, jnp.where(y <= 0, log_gamma_cdf(shape, x), density))


def cdf(
    y: Float[Array, "..."],
    location: Float[Array, "..."],
    scale: Float[Array, "..."],
    shift: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Return F_α((y + δ)/θ); 0 below 0."""
    shape, unit = _shape(location, scale)
    x = jnp.maximum((jnp.maximum(y, 0) + shift) / unit, SMALLEST)
    return jnp.where(y < 0, 0.0, gamma_cdf(shape, x))


def quantile(
    p: Float[Array, "..."],
    location: Float[Array, "..."],
    scale: Float[Array, "..."],
    shift: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Return max(0, θ F_α⁻¹(p) − δ)."""
    shape, unit = _shape(location, scale)
    inside = (p > 0) & (p < 1)
    value = jnp.maximum(unit * gamma_quantile(shape, jnp.where(inside, p, 0.5)) - shift, 0)
    return jnp.where(inside, value, jnp.where(p <= 0, 0.0, jnp.where(p >= 1, jnp.inf, jnp.nan)))


def mean(
    location: Float[Array, "..."], scale: Float[Array, "..."], shift: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return θ {α [1 − F_α+1(d)] − d [1 − F_α(d)]} with d = δ/θ."""
    return _moments(location, scale, shift)[0]


def std(
    location: Float[Array, "..."], scale: Float[Array, "..."], shift: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return the standard deviation, from E[(G − δ)²; G > δ]."""
    first, second = _moments(location, scale, shift)
    return jnp.sqrt(jnp.maximum(second - first**2, SMALLEST))


def _moments(
    location: Float[Array, "..."], scale: Float[Array, "..."], shift: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    shape, unit = _shape(location, scale)
    d = jnp.maximum(shift / unit, SMALLEST)
    above = 1 - gamma_cdf(shape, d)
    weight = jnp.exp(log_gamma_weight(shape, d))
    above_one = above + weight
    above_two = above_one + weight * d / (shape + 1)
    first = shape * above_one - d * above
    second = shape * (shape + 1) * above_two - 2 * d * shape * above_one + d**2 * above
    return unit * first, unit**2 * second


def _shape(
    location: Float[Array, "..."], scale: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return shape α and scale θ of the gamma distribution."""
    location = jnp.maximum(location, SMALLEST)
    shape = jnp.clip((location / scale) ** 2, *SHAPES)
    return shape, location / shape


CENSORED_GAMMA = PredictiveFamily(
    "censored_gamma",
    crps,
    logpdf,
    cdf,
    quantile,
    mean,
    std,
    from_zero=True,
    shifted=True,
    link=softplus,
)
