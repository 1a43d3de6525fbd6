"""The regularised incomplete gamma function P(a, x), its logarithm and derivatives, for a up to 1000, x > 0.

JAX's own iterates fractions and series for all values at once, until the slowest ends. Here the number of
steps is fixed, and small. P(a, x) = x^a e^−x / Γ(a + 1) · S(a, x), where S has positive terms alone,

    S(a, x) = Σ_{j < m} x^j / ((a + 1) … (a + j)) + x^m / ((a + 1) … (a + m)) · S(a + m, x),

and for the last, of a shape A = a + m that is never small, Temme's uniform expansion holds (1979,
doi:10.1137/0510071; DLMF 8.12): with Φ and φ of the standard normal distribution,

    P(A, x) = Φ(z) − φ(z)/√A · Σ_k c_k(η)/A^k,   z = η √A,   η²/2 = μ − log(1 + μ),   μ = x/A − 1.
"""

from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from degmm.arrays import Array
from degmm.calibration.families.normal_tail import ROOT_TWO_PI, mills
from degmm.calibration.families.polynomial import derivative, polynomial

WIDEST = 1.8
"""Largest |η| in the coefficients c_k; beyond, φ(z) is nothing, or what S(A, x) is multiplied by"""
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
"""log Γ(a + 1) = a log a − a + log √(2πa) + Σ_k of these over a^(2k + 1)"""
STIRLING_FROM = 16.0
"""Shape from which that holds to 1e-17"""


class _Steps(NamedTuple):
    """How far the sums go: enough for the rounding of a precision, or for trainings in the single one."""

    raised: int
    """m above"""
    powers: tuple[int, ...]
    """Powers of η in c₀, c₁, …"""
    beyond: tuple[float, float]
    """1 − P is below the rounding of 1 so many √a, and so much more, above a"""


STEPS = {
    np.dtype(np.float64): _Steps(26, (24, 20, 16, 14, 12, 10, 8, 6, 4), (12, 45)),
    np.dtype(np.float32): _Steps(8, (9, 5), (4.8, 13)),
}
"""Of P in float32 the error is about 1e-5"""


def _coefficients(order: int, count: int) -> list[list[float]]:
    """Return the Taylor coefficients of c₀, …, c_{count−1}, each two fewer than the one before.

    From μ μ' = η (1 + μ), c₀ = 1/μ − 1/η and c_k = (c'_{k−1} − c'_{k−1}(0) (1 + η c₀))/η, in whole numbers:
    differences of floats would lose all digits.
    """
    alpha = [Fraction(0), Fraction(1)]  # μ = Σ α_n η^n
    for n in range(2, order + 3):
        known = sum((alpha[i] * alpha[n + 1 - i] for i in range(2, n)), Fraction(0))
        alpha.append((Fraction(2, n + 1) * alpha[n - 1] - known) / 2)
    inverse = [Fraction(1)]  # η/μ = 1 + η c₀
    for n in range(1, order + 2):
        inverse.append(-sum((alpha[1 + i] * inverse[n - i] for i in range(1, n + 1)), Fraction(0)))
    current, found = inverse[1:], []
    for _ in range(count):
        found.append([float(value) for value in current])
        slope = [(n + 1) * value for n, value in enumerate(current[1:])]
        current = [value - slope[0] * inverse[n] for n, value in enumerate(slope)][1:]
    return found


COEFFICIENTS = _coefficients(42, 9)


def log_gamma_weight(a: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log[x^a e^−x / Γ(a + 1)]; what is large in it cancels by hand."""
    return a * jnp.log(x / a) + (a - x) - _log_root(a)


def log_factorial(a: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log Γ(a + 1), for a > 0."""
    return _log_root(a) - a + a * jnp.log(a)


@jax.custom_jvp
def _log_root(a: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log[Γ(a + 1) e^a / a^a], nearly that of √(2πa)."""
    m = STEPS[np.dtype(a.dtype)].raised
    large, raised = jnp.maximum(a, STIRLING_FROM), a + m
    product = jnp.ones_like(a)
    for n in range(1, m + 1):
        product = product * (jnp.minimum(a, STIRLING_FROM) + n)
    by_raising = raised * jnp.log(raised) - a * jnp.log(a) - m + _log_root_of_large(raised) - jnp.log(product)
    return jnp.where(a > STIRLING_FROM, _log_root_of_large(large), by_raising)


def _log_root_of_large(a: Any) -> Any:
    return jnp.log(ROOT_TWO_PI * jnp.sqrt(a)) + _stirling(a)[0]


@_log_root.defjvp
def _log_root_jvp(primals: Any, tangents: Any) -> Any:
    (a,), (da,) = primals, tangents
    m = STEPS[np.dtype(a.dtype)].raised
    large, raised = jnp.maximum(a, STIRLING_FROM), a + m
    # ψ(a + 1) − log a, of ψ(a + 1) = ψ(a + m + 1) − Σ_n 1/(a + n)
    harmonic = sum(1 / (a + n) for n in range(1, m + 1))
    by_raising = jnp.log(raised / a) + 0.5 / raised + _stirling(raised)[1] - harmonic
    return _log_root(a), jnp.where(a > STIRLING_FROM, 0.5 / large + _stirling(large)[1], by_raising) * da


def log_gamma_cdf(a: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log P(a, x)."""
    x = _within(a, x)
    return jnp.minimum(log_gamma_weight(a, x) + jnp.log(_sum(a, x)), 0)


def gamma_cdf(a: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return P(a, x)."""
    x = _within(a, x)
    return jnp.minimum(jnp.exp(log_gamma_weight(a, x)) * _sum(a, x), 1)


def _within(a: Any, x: Any) -> Any:
    """Return x, but for values beyond which nothing is left above."""
    roots, more = STEPS[np.dtype(jnp.result_type(a, x))].beyond
    return jnp.minimum(x, a + roots * jnp.sqrt(a) + more)


@jax.custom_jvp
def _sum(a: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return S(a, x)."""
    return _sum_and_slope(a, x)[0]


@_sum.defjvp
def _sum_jvp(primals: Any, tangents: Any) -> Any:
    a, x = primals
    total, by_a = _sum_and_slope(a, x)
    # by x from the derivative of P, which is a density
    return total, by_a * tangents[0] + (a / x - (a / x - 1) * total) * tangents[1]


def _sum_and_slope(a: Any, x: Any) -> tuple[Any, Any]:
    """Return S(a, x) and its derivative by a."""
    steps = STEPS[np.dtype(jnp.result_type(a, x))]
    value, slope = _expanded(a + steps.raised, x, steps)
    product, harmonic = jnp.ones_like(a), jnp.zeros_like(a)
    powers, slopes = [product], [harmonic]
    for n in range(1, steps.raised + 1):
        inverse = 1 / (a + n)
        product, harmonic = product * inverse, harmonic + inverse
        powers.append(product)
        slopes.append(-product * harmonic)
    last = powers[-1] * value
    return (
        polynomial([*powers[:-1], last], x),
        polynomial([*slopes[:-1], slopes[-1] * value + powers[-1] * slope], x),
    )


def _expanded(a: Any, x: Any, steps: _Steps) -> tuple[Any, Any]:
    """Return S(a, x) and its derivative by a, for a that is not small."""
    root, inverse = jnp.sqrt(a), 1 / a
    mu = jnp.maximum(x * inverse - 1, -1 + 1e-6)
    eta = jnp.sign(mu) * jnp.sqrt(2 * jnp.maximum(mu - jnp.log1p(mu), 0))
    held = jnp.clip(eta, -WIDEST, WIDEST)
    orders = [COEFFICIENTS[k][:count] for k, count in enumerate(steps.powers)]
    parts = [polynomial(order, held) for order in orders]
    first = parts[0]
    value = polynomial(parts, inverse)  # Σ_k c_k(η) / a^k
    by_eta = polynomial([polynomial(derivative(order), held) for order in orders], inverse)
    by_inverse = polynomial(derivative(parts), inverse)
    # dη/dμ = (1 − μ c₀)/(1 + μ), and μ = x/a − 1
    eta_by_a = -(1 - mu * first) * inverse
    z, z_by_a = eta * root, eta / (2 * root) + root * eta_by_a
    size = jnp.abs(z)
    of_tail = mills(size)
    quotient = jnp.where(z > 0, ROOT_TWO_PI * jnp.exp(jnp.minimum(size * size / 2, 80)) - of_tail, of_tail)
    beyond = value / root
    bracket = quotient - beyond
    bracket_by_a = (1 + z * quotient) * z_by_a - (
        (by_eta * eta_by_a - by_inverse * inverse * inverse) / root - beyond * inverse / 2
    )
    series, slope = _stirling(a)
    unit = root * jnp.exp(series)
    return unit * bracket, unit * (bracket_by_a + bracket * (inverse / 2 + slope))


def _stirling(a: Any) -> tuple[Any, Any]:
    """Return log[Γ(a + 1) e^a a^−a / √(2πa)] and its derivative, for a that is not small."""
    inverse = 1 / a
    square = inverse * inverse
    slope = polynomial([(2 * k + 1) * value for k, value in enumerate(STIRLING)], square)
    return inverse * polynomial(STIRLING, square), -square * slope
