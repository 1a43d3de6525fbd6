"""Special functions in forms that neither overflow nor cancel, with derivatives that stay finite."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Float
from scipy.special import bernoulli, factorial

from degmm.arrays import Array

LOG_ROOT_TWO_PI = 0.5 * float(np.log(2 * np.pi))
FAR = 8.0
"""Beyond this many standard deviations tails are taken from the continued fraction of Mills' ratio"""
FRACTION_TERMS = 20
"""Its terms, enough for 1e-16 beyond ``FAR``"""


def log_normal_density(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log φ(z) of the standard normal distribution."""
    return -0.5 * z * z - LOG_ROOT_TWO_PI


@jax.custom_jvp
def excess(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return e(z) = φ(z)/Φ(−z) − z = E[Z | Z > z] − z, the mean excess of a standard normal variable.

    In the far tail, where the two terms cancel, from Laplace's continued fraction
    e = 1/(z + 2/(z + 3/(z + …))). The derivative is −Var[Z | Z > z].
    """
    near, far = jnp.minimum(z, FAR), jnp.maximum(z, FAR)
    return jnp.where(z > FAR, 1 / (far + _fraction(far)), _hazard_near(near) - near)


@jax.custom_jvp
def excess_variance(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return v(z) = Var[Z | Z > z] of a standard normal variable."""
    near, far = jnp.minimum(z, FAR), jnp.maximum(z, FAR)
    # 1 − (z + e) e, and with 1/e = z + g the same without its cancellation
    g = _fraction(far)
    e = 1 / (far + g)
    hazard = _hazard_near(near)
    return jnp.where(z > FAR, e * (g - e), 1 - hazard * (hazard - near))


@jax.custom_jvp
def log_normal_cdf(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log Φ(z), to full precision in the far tail too; its derivative is φ(z)/Φ(z)."""
    near, far = jnp.maximum(z, -FAR), jnp.minimum(z, -FAR)
    tail = log_normal_density(far) - jnp.log(1 / (_fraction(-far) - far) - far)
    return jnp.where(z < -FAR, tail, jnp.log(ndtr(near)))


@excess.defjvp
def _excess_jvp(primals: Any, tangents: Any) -> Any:
    (z,), (dz,) = primals, tangents
    return excess(z), -excess_variance(z) * dz


@excess_variance.defjvp
def _excess_variance_jvp(primals: Any, tangents: Any) -> Any:
    (z,), (dz,) = primals, tangents
    e, v = excess(z), excess_variance(z)
    return v, ((z + e) * v - (1 - v) * e) * dz


@log_normal_cdf.defjvp
def _log_normal_cdf_jvp(primals: Any, tangents: Any) -> Any:
    (z,), (dz,) = primals, tangents
    near, far = jnp.maximum(z, -FAR), jnp.minimum(z, -FAR)
    slope = jnp.where(z < -FAR, 1 / (_fraction(-far) - far) - far, _hazard_near(-near))
    return log_normal_cdf(z), slope * dz


def _fraction(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return g = 2/(z + 3/(z + …)) for z ≥ ``FAR``, as a quotient of polynomials in 1/z²."""
    w = 1 / (z * z)
    over, under = (jnp.polyval(jnp.asarray(part, w.dtype), w) for part in FRACTION)
    return over / (under * z)


def _fraction_polynomials() -> tuple[np.ndarray, np.ndarray]:
    """Return numerator and denominator of z g, highest power first."""
    over, under = np.poly1d([1.0]), np.poly1d([1.0])
    for k in range(FRACTION_TERMS, 2, -1):
        over, under = over + np.poly1d([k, 0.0]) * under, over
    return 2 * under.coeffs, over.coeffs


FRACTION = _fraction_polynomials()


def _hazard_near(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return φ(z)/Φ(−z) for z ≤ ``FAR``."""
    return jnp.exp(log_normal_density(z)) / ndtr(-z)


DILOGARITHM = [bernoulli(2 * n)[-1] / float(factorial(2 * n + 1)) for n in range(9, 0, -1)]
"""Coefficients B₂ₙ/(2n + 1)! of the powers 2n − 2 of log(1 + x), highest first"""


@jax.custom_jvp
def dilogarithm(t: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return −Li₂(−exp(t)) for t ≤ 0, whose derivative is log(1 + exp(t))."""
    log_term = jnp.log1p(jnp.exp(t))
    # by Bernoulli's numbers: of log(1 + x) ≤ log 2 few terms are needed
    higher = jnp.polyval(jnp.asarray(DILOGARITHM, log_term.dtype), log_term**2)
    return log_term * (1 + log_term * (0.25 + log_term * higher))


@dilogarithm.defjvp
def _dilogarithm_jvp(primals: Any, tangents: Any) -> Any:
    (t,), (dt,) = primals, tangents
    return dilogarithm(t), jnp.log1p(jnp.exp(t)) * dt
