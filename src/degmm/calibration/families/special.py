"""Special functions in forms that neither overflow nor cancel, with derivatives that stay finite."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, ndtr, spence
from jaxtyping import Float

from degmm.arrays import Array

LOG_ROOT_TWO_PI = 0.5 * float(np.log(2 * np.pi))
FAR = 8.0
"""Beyond this many standard deviations tails are taken from the continued fraction of Mills' ratio"""
FRACTION_TERMS = 20
"""Its terms, enough for 1e-16 beyond ``FAR``"""
MOST_TERMS = 20_000
"""Of the series of the incomplete gamma function, which ends long before at the shapes used here"""
TERMS_AT_ONCE = 8
NEWTON_STEPS = 44
"""Of the quantile of a gamma distribution"""
HALVINGS = 28
"""Up to this step each other one halves the bracket"""


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


@jax.custom_jvp
def dilogarithm(t: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return −Li₂(−exp(t)) for t ≤ 0, whose derivative is log(1 + exp(t))."""
    x = jnp.exp(t)
    series = x * (1 - x * (1 / 4 - x * (1 / 9 - x * (1 / 16 - x * (1 / 25 - x / 36)))))
    return jnp.where(x < 1e-3, series, -spence(1 + x))


@dilogarithm.defjvp
def _dilogarithm_jvp(primals: Any, tangents: Any) -> Any:
    (t,), (dt,) = primals, tangents
    return dilogarithm(t), jnp.log1p(jnp.exp(t)) * dt


# --- incomplete gamma function -------------------------------------------------------------------
#
# JAX's own takes 20 ms for 4400 values, since it iterates fractions and series for all of them. The
# series of positive terms P(a, x) = x^a e^−x / Γ(a + 1) · S(a, x), S = Σ_n Π_{j ≤ n} x/(a + j), holds
# everywhere, takes under a millisecond at the shapes of precipitation, and gives log P besides.


def log_gamma_weight(a: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log[x^a e^−x / Γ(a + 1)]."""
    return a * jnp.log(x) - x - gammaln(a + 1)


def log_gamma_cdf(a: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log P(a, x) of the regularised incomplete gamma function, for a, x > 0."""
    # beyond this point 1 − P is below the rounding of 1
    x = jnp.minimum(x, a + 12 * jnp.sqrt(a) + 45)
    return jnp.minimum(log_gamma_weight(a, x) + _log_series(a, x), 0)


def gamma_cdf(a: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return P(a, x), for a, x > 0."""
    return jnp.exp(log_gamma_cdf(a, x))


@jax.custom_jvp
def _log_series(a: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log S(a, x)."""
    return jnp.log(_series(a, x)[0])


@_log_series.defjvp
def _log_series_jvp(primals: Any, tangents: Any) -> Any:
    a, x = primals
    total, by_a, by_x = _series(a, x)
    return jnp.log(total), by_a / total * tangents[0] + by_x / total * tangents[1]


def _series(a: Float[Array, "..."], x: Float[Array, "..."]) -> tuple[Any, Any, Any]:
    """Return S(a, x) and its derivatives by a and x."""
    a, x = jnp.broadcast_arrays(a, x)
    precision = jnp.finfo(a.dtype).eps

    def unfinished(state: Any) -> Any:
        n, term, _, total, _ = state
        # the terms to come are below a geometric series of this ratio
        ratio = x / (a + n + 1)
        # written so that a NaN, which never ends, does not keep the others waiting
        return jnp.any((ratio >= 1) | (term * ratio > precision / 4 * total * (1 - ratio))) & (n < MOST_TERMS)

    def step(state: Any) -> Any:
        n, term, harmonic, total, by_a = state
        for _ in range(TERMS_AT_ONCE):  # fewer passes over memory
            n = n + 1
            inverse = 1 / (a + n)
            term = term * (x * inverse)
            harmonic = harmonic + inverse
            total, by_a = total + term, by_a - term * harmonic
        return n, term, harmonic, total, by_a

    one, zero = jnp.ones_like(a), jnp.zeros_like(a)
    start = (jnp.zeros((), a.dtype), one, zero, one, zero)
    _, _, _, total, by_a = jax.lax.while_loop(unfinished, step, start)
    # from the derivative of P by x, which is a density
    return total, by_a, a / x - (a / x - 1) * total


def gamma_quantile(a: Float[Array, "..."], p: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return x with P(a, x) = p, for a > 0 and 0 < p < 1.

    Newton's method within a bracket, to about 1e-12 of the probability; its derivatives by a and p are
    those of the root.
    """
    a, p = jnp.broadcast_arrays(a, p)
    held_a, held_p = jax.lax.stop_gradient((a, p))
    # P(a, x) ≤ x^a / Γ(a + 1) bounds the root from below.
    low = jnp.maximum((jnp.log(held_p) + gammaln(held_a + 1)) / held_a, -650.0)
    high = jnp.log(held_a + 12 * jnp.sqrt(held_a) + 45)
    low = jnp.minimum(low, high)
    # log[P/(1 − P)] is nearly linear in log x, in both tails
    rounding = jnp.finfo(a.dtype).eps * (1 + held_a)  # of 1 − P
    target = jnp.log(held_p) - jnp.log(jnp.maximum(1 - held_p, rounding))

    slack = 1e4 * jnp.finfo(a.dtype).eps

    def step(i: Any, state: Any) -> Any:
        low, high, at = state
        x = jnp.exp(at)
        log_p = log_gamma_cdf(held_a, x)
        above = jnp.maximum(-jnp.expm1(log_p), rounding)
        apart = log_p - jnp.log(above) - target
        low, high = jnp.where(apart < 0, at, low), jnp.where(apart < 0, high, at)
        slope = jnp.exp(jnp.log(held_a) + log_gamma_weight(held_a, x) - log_p) / above
        newton = at - apart / jnp.where(slope > 0, slope, 1)
        # at the root a step leaves the bracket by rounding
        inside = (slope > 0) & (newton > low - slack) & (newton < high + slack)
        # halved every other time at first, lest steps creep where rounding hides the slope
        halved = (i < HALVINGS) & (i % 2 == 0)
        return low, high, jnp.where(inside & ~halved, newton, (low + high) / 2)

    at = jax.lax.fori_loop(0, NEWTON_STEPS, step, (low, high, (low + high) / 2))[2]
    x = jax.lax.stop_gradient(jnp.exp(at))
    density = jnp.exp(jnp.log(held_a) + log_gamma_weight(held_a, x) - at)
    # a step of Newton's method carries the derivatives of the root; its value, which is rounding, is not used
    sound = (density > 0) & jnp.isfinite(density)
    correction = jnp.where(sound, (gamma_cdf(a, x) - p) / jnp.where(sound, density, 1), 0)
    return x - (correction - jax.lax.stop_gradient(correction))
