"""The tail of the standard normal distribution, and the survival of its truncations, by one polynomial."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.polynomial.chebyshev import cheb2poly, chebinterpolate
from scipy.special import erfcx

from degmm.arrays import Array
from degmm.calibration.families.polynomial import polynomial

ROOT_TWO_PI = float(np.sqrt(2 * np.pi))
HALF_WAY = 5.0
"""The z ≥ 0 that the middle of the polynomial's interval stands for"""
DEGREES = {np.dtype(np.float32): 13, np.dtype(np.float64): 24}
"""Enough for the rounding of each precision"""


def _scaled(t: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return (1 + √(π/2) z) m(z), which goes from √(π/2) to itself, at z = ``HALF_WAY`` (1 + t)/(1 − t)."""
    z = HALF_WAY * (1 + t) / (1 - t)
    return (1 + ROOT_TWO_PI / 2 * z) * ROOT_TWO_PI / 2 * erfcx(z / np.sqrt(2))


def _interpolated(degree: int) -> Float[np.ndarray, "C"]:
    fitted: Any = chebinterpolate
    return np.asarray(fitted(_scaled, degree))


COEFFICIENTS = {dtype: cheb2poly(_interpolated(degree)).tolist() for dtype, degree in DEGREES.items()}


def mills(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return Mills' ratio m(z) = Φ(−z)/φ(z), for z ≥ 0."""
    t = (z - HALF_WAY) / (z + HALF_WAY)
    return polynomial(COEFFICIENTS[np.dtype(t.dtype)], t) / (1 + ROOT_TWO_PI / 2 * z)


@jax.custom_jvp
def survival(d: Float[Array, "..."], u: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return Φ(−u − d)/Φ(−u) for d ≥ 0, the probability that a Z > u is above u + d."""
    return _survival_and_slopes(d, u)[0]


@survival.defjvp
def _survival_jvp(primals: Any, tangents: Any) -> Any:
    value, by_d, by_u = _survival_and_slopes(*primals)
    return value, by_d * tangents[0] + by_u * tangents[1]


def _survival_and_slopes(d: Any, u: Any) -> tuple[Any, Any, Any]:
    """Return the survival and its derivatives by d and u."""
    z, from_above = u + d, u >= 0
    # where u ≥ 0 the densities' quotient is taken by hand, since both may vanish
    density = jnp.exp(jnp.where(from_above, -d * (u + d / 2), -z * z / 2))
    below = jnp.minimum(u, 0)
    at_below = jnp.exp(-below * below / 2) / ROOT_TWO_PI
    above = 1 - at_below * mills(-below)
    of_u = mills(jnp.maximum(u, 0))
    unit = jnp.where(from_above, 1 / of_u, 1 / (ROOT_TWO_PI * above))
    tail = density * unit * mills(jnp.abs(z))
    value = jnp.where(z >= 0, tail, 1 / above - tail)
    hazard = jnp.where(from_above, unit, at_below / above)
    by_d = -density * unit
    return value, by_d, by_d + value * hazard
