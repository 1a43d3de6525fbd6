"""The gamma distribution of a large shape, whose standard deviation is a small part r of its mean.

The shape is 1/r². A value x is told by its distance t = (x − mean)/std, so that nothing is a small difference
of large numbers, however narrow the distribution is; at r = 0 it is the standard normal one. By Temme's
uniform expansion (1979, doi:10.1137/0510071; DLMF 8.12), with φ and Φ of the standard normal distribution,

    P = Φ(z) − φ(z) r Σ_k c_k(η) r^2k,   z = η/r,   η²/2 = μ − log(1 + μ),   μ = r t.

Both tails are of full relative precision: with Mills' ratio m, each is φ(z) [m(|z|) ± r Σ_k …] on its side.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Float

from degmm.arrays import Array
from degmm.calibration.families.incomplete_gamma import COEFFICIENTS, STIRLING, WIDEST
from degmm.calibration.families.normal_tail import ROOT_TWO_PI, mills
from degmm.calibration.families.polynomial import polynomial
from degmm.calibration.families.special import LOG_ROOT_TWO_PI

POWERS = {np.dtype(np.float64): (20, 12, 8, 5), np.dtype(np.float32): (5, 3)}
"""Of η in c₀, c₁, …: enough for shapes of 1000 and more"""
SERIES = tuple((-1.0) ** n / (n + 2) for n in range(16))
"""(μ − log(1 + μ))/μ² = Σ_n of these times μ^n"""
NEAR = 0.1
"""Up to this |μ| that series holds to the rounding; beyond, the difference does"""
CANCELS = 0.5
"""Up to this |η|, c₀ = 1/μ − 1/η is taken from its series"""
FURTHEST = 1e8
"""Distance beyond which nothing is left above"""
LEAST = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-12}
"""Smallest x/mean: the logarithm of it is taken"""
MOST_STEPS = 12
"""Of Newton's method for the quantile, which squares its error"""


class Tails(NamedTuple):
    """What lies on either side of a value."""

    below: Float[Array, "..."]
    """P(T ≤ t)"""
    above: Float[Array, "..."]
    """P(T > t)"""
    weight: Float[Array, "..."]
    """x^a e^−x √a/Γ(a + 1): the density of T at t, times x/a; φ(t) where r = 0"""


class _Place(NamedTuple):
    """Where a value lies in terms of the normal distribution."""

    mu: Float[Array, "..."]
    eta: Float[Array, "..."]
    z: Float[Array, "..."]


def tails(t: Float[Array, "..."], r: Float[Array, "..."]) -> Tails:
    """Return the probabilities below and above t, for r ≤ 0.04, and the weight at it."""
    return Tails(*_tails(*jnp.broadcast_arrays(t, r)))


@jax.custom_jvp
def _tails(t: Float[Array, "..."], r: Float[Array, "..."]) -> tuple[Any, Any, Any]:
    return _tails_at(t, r)


@_tails.defjvp
def _tails_jvp(primals: Any, tangents: Any) -> Any:
    (t, r), (dt, dr) = primals, tangents
    # forwards, on the way: to go back through all of it takes several times as long to compile
    values, by_r = jax.jvp(lambda r: _tails_at(t, r), (r,), (jnp.ones_like(r),))
    inverse = 1 / (1 + _place(t, r).mu)
    density = values[2] * inverse
    by_t = density, -density, -density * jnp.minimum(t, FURTHEST)
    return values, tuple(one * dt + other * dr for one, other in zip(by_t, by_r, strict=True))


def _tails_at(t: Any, r: Any) -> tuple[Any, Any, Any]:
    place = _place(t, r)
    z = place.z
    size = jnp.where(z < 0, -z, z)
    density = jnp.exp(-size * size / 2) / ROOT_TWO_PI
    tail = density * _bracket(place, size, r, POWERS[np.dtype(size.dtype)])
    below = jnp.where(z < 0, tail, 1 - tail)
    above = jnp.where(z < 0, 1 - tail, tail)
    return below, above, density * jnp.exp(-_stirling(r))


def log_tails(
    t: Float[Array, "..."], r: Float[Array, "..."], powers: tuple[int, ...] | None = None
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return log P(T ≤ t) and log P(T > t), each to full precision where it is far out too.

    For r ≤ 0.04, or with more ``powers`` than ``POWERS`` beyond.
    """
    place = _place(t, r)
    powers = POWERS[np.dtype(place.z.dtype)] if powers is None else powers
    size = jnp.where(place.z < 0, -place.z, place.z)
    log_tail = -size * size / 2 - LOG_ROOT_TWO_PI + jnp.log(_bracket(place, size, r, powers))
    log_rest = jnp.log1p(-jnp.exp(jnp.minimum(log_tail, -0.1)))  # at the median each tail is about a half
    return jnp.where(place.z < 0, log_tail, log_rest), jnp.where(place.z < 0, log_rest, log_tail)


def log_density(t: Float[Array, "..."], r: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the log density of T at t."""
    place = _place(t, r)
    return -(place.z**2) / 2 - LOG_ROOT_TWO_PI - _stirling(r) - jnp.log1p(place.mu)


def half_mean_difference(r: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return E|T − T'|/2 of two independent ones, Γ(a + ½)/(√(π a) Γ(a)): 1/√π where r = 0."""
    inverse = r * r
    series = polynomial((1, -1 / 8, 1 / 128, 5 / 1024, -21 / 32768, -399 / 262144), inverse)
    return series / float(np.sqrt(np.pi))


@jax.custom_jvp
def narrow_quantile(r: Float[Array, "..."], p: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return t with P(T ≤ t) = p, for r ≤ 0.04 and 0 < p < 1, to about 1e-14 of 1 + |t|.

    By Newton's method on the log odds, from the formula of Wilson and Hilferty 1931, which leaves it little
    to do. The derivatives by r and p are those of the root.
    """
    r, p = jnp.broadcast_arrays(r, p)
    target = jnp.log(p) - jnp.log1p(-p)
    # t = ((1 + e)³ − 1)/r with e = r z/3 − r²/9
    root = ndtri(p) / 3 - r / 9
    first = root * (3 + r * root * (3 + r * root))
    first = jnp.maximum(first, (LEAST[np.dtype(p.dtype)] - 1) / jnp.maximum(r, 1e-30))
    enough = float(np.sqrt(np.finfo(p.dtype).eps))

    def step(state: Any) -> Any:
        i, t, _ = state
        log_below, log_above = log_tails(t, r)
        apart = log_below - log_above - target
        slope = jnp.exp(log_density(t, r) - log_below - log_above)
        return i + 1, t - apart / slope, jnp.abs(apart) <= enough

    def unfinished(state: Any) -> Any:
        i, _, found = state
        return jnp.any(~found) & (i < MOST_STEPS)

    start = (jnp.zeros((), jnp.int32), first, jnp.zeros(p.shape, bool))
    return jax.lax.while_loop(unfinished, step, start)[1]


@narrow_quantile.defjvp
def _narrow_quantile_jvp(primals: Any, tangents: Any) -> Any:
    (r, p), (dr, dp) = primals, tangents
    t = narrow_quantile(r, p)
    by_r = jax.jvp(lambda r: tails(t, r).below, (r + 0 * t,), (jnp.ones_like(t),))[1]
    density = jnp.exp(log_density(t, r))
    sound = density > 0
    return t, jnp.where(sound, (dp - by_r * dr) / jnp.where(sound, density, 1), 0)


def _place(t: Any, r: Any) -> _Place:
    t = jnp.minimum(t, FURTHEST)
    mu = jnp.maximum(r * t, LEAST[np.dtype(jnp.result_type(t, r))] - 1)
    near = jnp.abs(mu) < NEAR
    far = jnp.where(near, NEAR, mu)
    half = jnp.where(near, polynomial(SERIES, jnp.where(near, mu, 0)), (1 - jnp.log1p(far) / far) / far)
    ratio = jnp.sqrt(2 * half)  # of η to μ, and of z to t
    return _Place(mu, mu * ratio, t * ratio)


def _bracket(place: _Place, size: Any, r: Any, powers: tuple[int, ...]) -> Any:
    """Return what the tail beyond z is, over φ(z); ``size`` is |z|."""
    correction = r * _corrections(place, r, powers)
    return jnp.maximum(
        mills(size) + jnp.where(place.z < 0, -correction, correction), jnp.finfo(correction.dtype).tiny
    )


def _corrections(place: _Place, r: Any, powers: tuple[int, ...]) -> Any:
    """Return Σ_k c_k(η) r^2k."""
    mu, eta = place.mu, place.eta
    held = jnp.clip(eta, -WIDEST, WIDEST)
    first, *others = (polynomial(COEFFICIENTS[k][:count], held) for k, count in enumerate(powers))
    far = jnp.abs(eta) > CANCELS
    exact = 1 / jnp.where(far, mu, 1) - 1 / jnp.where(far, eta, 1)
    return polynomial([jnp.where(far, exact, first), *others], r * r)


def _stirling(r: Any) -> Any:
    """Return log[Γ(a + 1) e^a a^−a / √(2πa)]."""
    square = r * r
    return square * polynomial(STIRLING, square * square)
