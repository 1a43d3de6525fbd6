"""The gamma distribution shifted to the left and censored at 0, for precipitation.

Scheuerer & Hamill 2015, doi:10.1175/MWR-D-15-0061.1. Y = max(G − δ, 0), where G is of the gamma
distribution with mean μ (``location``) and standard deviation σ (``scale``): shape α = (μ/σ)², scale
θ = μ/α. The shape is at least ``LEAST_SHAPE``, a standard deviation of 10⁴ times the mean; a narrower
distribution may be as narrow as one likes: above ``NARROW_FROM`` all is in units of its standard deviation.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from degmm.arrays import Array
from degmm.calibration.families.base import PredictiveFamily, below_zero, softplus
from degmm.calibration.families.gamma_quantile import gamma_quantile
from degmm.calibration.families.incomplete_gamma import (
    gamma_cdf,
    log_factorial,
    log_gamma_cdf,
    log_gamma_weight,
)
from degmm.calibration.families.narrow_gamma import (
    half_mean_difference,
    log_density,
    log_tails,
    narrow_quantile,
    tails,
)
from degmm.calibration.families.normal import INVERSE_ROOT_PI

LEAST_SHAPE = 1e-8
"""Of what is still lower no value above 0 is seen: it is taken for this"""
NARROW_FROM = 1e3
"""Shape beyond which a distribution is told by distances from its mean"""
WIDEST_NARROW = NARROW_FROM**-0.5
"""Standard deviation over the mean of the widest of these"""
SMALLEST = 1e-30
"""Least mean, and least value over the scale: logarithms are taken of both"""


class _Gamma(NamedTuple):
    """G, as it is computed where it is narrow and where it is not; each where the other holds is harmless."""

    narrow: Bool[Array, "..."]
    shape: Float[Array, "..."]
    unit: Float[Array, "..."]
    """θ"""
    centre: Float[Array, "..."]
    """Mean of a narrow one"""
    spread: Float[Array, "..."]
    """Its standard deviation"""
    ratio: Float[Array, "..."]
    """Of the two"""

    @classmethod
    def of(cls, location: Any, scale: Any) -> "_Gamma":
        """Return it for a mean and a standard deviation."""
        location = jnp.maximum(location, SMALLEST)
        narrow = location * WIDEST_NARROW > scale
        shape = jnp.clip((location / scale) ** 2, LEAST_SHAPE, NARROW_FROM)
        # what is not narrow is taken for one that is, lest its derivatives overflow
        centre, spread = jnp.where(narrow, location, 1.0), jnp.where(narrow, scale, WIDEST_NARROW)
        return cls(narrow, shape, location / shape, centre, spread, spread / centre)

    def distance(self, value: Any) -> Any:
        """Return how many standard deviations a value of a narrow one is above its mean."""
        return (value - self.centre) / self.spread

    def in_units(self, value: Any) -> Any:
        """Return a value over θ."""
        return jnp.maximum(value / self.unit, SMALLEST)


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
    gamma = _Gamma.of(location, scale)
    value = jnp.maximum(y, 0) + shift
    found = jnp.where(gamma.narrow, _narrow_crps(gamma, value, shift), _wide_crps(gamma, value, shift))
    return found + below_zero(y)


def _wide_crps(gamma: _Gamma, value: Any, shift: Any) -> Any:
    x, d = gamma.in_units(value), gamma.in_units(shift)
    shape, x, d = jnp.broadcast_arrays(gamma.shape, x, d)
    # one call for three values: what is called is long to compile
    shapes, points = jnp.stack([shape, shape, 2 * shape]), jnp.stack([x, d, 2 * d])
    at_x, at_d, at_twice = gamma_cdf(shapes, points)
    # F_α+1(x) = F_α(x) − x^α e^−x / Γ(α + 1)
    weight_x, weight_d = jnp.exp(log_gamma_weight(shapes[:2], points[:2]))
    next_x, next_d = at_x - weight_x, at_d - weight_d
    # (α/π) B(½, α + ½) = Γ(α + ½)/(√π Γ(α))
    quotient = jnp.exp(log_factorial(shape + 0.5) - log_factorial(shape))
    half = shape / (shape + 0.5) * quotient * INVERSE_ROOT_PI
    return gamma.unit * (
        x * (2 * at_x - 1)
        - d * at_d**2
        - half * (1 - at_twice)
        + shape * (1 + 2 * at_d * next_d - at_d**2 - 2 * next_x)
    )


def _narrow_crps(gamma: _Gamma, value: Any, shift: Any) -> Any:
    """Return the same, α taken out of the differences: at α = ∞ the score of a normal distribution."""
    t, d, ratio = jnp.broadcast_arrays(gamma.distance(value), gamma.distance(shift), gamma.ratio)
    ratios = jnp.stack([ratio, ratio, ratio * 0.5**0.5])
    below, above, weight = tails(jnp.stack([t, d, d * 2**0.5]), ratios)
    return gamma.spread * (
        t * (below[0] - above[0])
        + 2 * weight[0]
        - below[1] * (d * below[1] + 2 * weight[1])
        - half_mean_difference(ratio) * above[2]
    )


def logpdf(
    y: Float[Array, "..."],
    location: Float[Array, "..."],
    scale: Float[Array, "..."],
    shift: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Return the log density above 0, the log probability at 0, −∞ below."""
    gamma = _Gamma.of(location, scale)
    value = jnp.maximum(y, 0) + shift
    t, x = gamma.distance(value), gamma.in_units(value)
    narrow = log_density(t, gamma.ratio) - jnp.log(gamma.spread)
    wide = log_gamma_weight(gamma.shape, x) + jnp.log(gamma.shape / x) - jnp.log(gamma.unit)
    density = jnp.where(gamma.narrow, narrow, wide)
    at_zero = jnp.where(gamma.narrow, log_tails(t, gamma.ratio)[0], log_gamma_cdf(gamma.shape, x))
    return jnp.where(y < 0, -jnp.inf, jnp.where(y <= 0, at_zero, density))


def cdf(
    y: Float[Array, "..."],
    location: Float[Array, "..."],
    scale: Float[Array, "..."],
    shift: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Return F_α((y + δ)/θ); 0 below 0."""
    gamma = _Gamma.of(location, scale)
    return jnp.where(y < 0, 0.0, _below(gamma, jnp.maximum(y, 0) + shift))


def quantile(
    p: Float[Array, "..."],
    location: Float[Array, "..."],
    scale: Float[Array, "..."],
    shift: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Return max(0, θ F_α⁻¹(p) − δ)."""
    gamma = _Gamma.of(location, scale)
    inside = (p > 0) & (p < 1)
    held = jnp.where(inside, p, 0.5)
    narrow = gamma.centre - shift + gamma.spread * narrow_quantile(gamma.ratio, held)
    wide = gamma.unit * gamma_quantile(gamma.shape, held) - shift
    value = jnp.maximum(jnp.where(gamma.narrow, narrow, wide), 0)
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
    return jnp.sqrt(jnp.maximum(_moments(location, scale, shift)[1], SMALLEST))


def limited(
    location: Float[np.ndarray, "..."], scale: Float[np.ndarray, "..."], shift: Float[np.ndarray, "..."]
) -> Bool[np.ndarray, "..."]:
    """Return where the shape is held at the least one, so that the spread is not the one asked for."""
    return location < scale * LEAST_SHAPE**0.5


def _below(gamma: _Gamma, value: Any) -> Any:
    """Return the probability that G is at most a value."""
    narrow = tails(gamma.distance(value), gamma.ratio).below
    return jnp.where(gamma.narrow, narrow, gamma_cdf(gamma.shape, gamma.in_units(value)))


def _moments(location: Any, scale: Any, shift: Any) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return mean and variance."""
    gamma = _Gamma.of(location, scale)
    narrow, wide = _narrow_moments(gamma, shift), _wide_moments(gamma, shift)
    return jnp.where(gamma.narrow, narrow[0], wide[0]), jnp.where(gamma.narrow, narrow[1], wide[1])


def _wide_moments(gamma: _Gamma, shift: Any) -> tuple[Any, Any]:
    shape, unit = gamma.shape, gamma.unit
    d = gamma.in_units(shift)
    above = 1 - gamma_cdf(shape, d)
    weight = jnp.exp(log_gamma_weight(shape, d))
    above_one = above + weight
    above_two = above_one + weight * d / (shape + 1)
    first = unit * (shape * above_one - d * above)
    second = unit**2 * (shape * (shape + 1) * above_two - 2 * d * shape * above_one + d**2 * above)
    return first, second - first**2


def _narrow_moments(gamma: _Gamma, shift: Any) -> tuple[Any, Any]:
    """Return the same, of terms that do not cancel where next to nothing is censored."""
    d = gamma.distance(shift)
    below, above, weight = tails(d, gamma.ratio)
    mean = gamma.centre - shift + gamma.spread * (d * below + weight)
    spread = above + d**2 * above * below + weight * (gamma.ratio - weight + d * (above - below))
    return mean, gamma.spread**2 * spread


CENSORED_GAMMA = PredictiveFamily(
    "censored_gamma",
    crps,
    logpdf,
    cdf,
    quantile,
    mean,
    std,
    limited=limited,
    from_zero=True,
    shifted=True,
    link=softplus,
)
