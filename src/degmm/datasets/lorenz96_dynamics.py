"""The two-scale Lorenz-96 system, a one-scale model of it, and the steps that integrate both."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

SLOW, FAST = 8, 32
"""K slow variables, and J fast ones to each"""
COUPLING, AMPLITUDE_RATIO, RATE_RATIO = 1.0, 10.0, 10.0
"""h, b and c"""
SUBGRID = (0.262, 1.45, -0.0121, -0.00713, 0.000296)
"""Coefficients, from the constant up, of what the fast variables take from a slow one (Wilks 2005, F = 20).

Found again, to 0.3 over the range of X, from this truth by differences over 0.005 units of time."""

Members = tuple[Float[Array, "..."], ...]
"""The slow variables of the model one by one, each an array over the members"""
S = TypeVar("S")
"""A state: a tuple of arrays"""


class TwoScale(NamedTuple):
    """States of the two-scale system, one a run."""

    slow: Float[Array, "K runs"]
    """X_k"""
    fast: Float[Array, "KJ runs"]
    """Y_j, those of the first slow variable first"""


def coupling(fast: Float[Array, "KJ runs"]) -> Float[Array, "K runs"]:
    """Return what the fast variables take from each slow one, (hc/b) Σ_j Y_j."""
    by_slow = fast.reshape(SLOW, FAST, *fast.shape[1:])
    return (COUPLING * RATE_RATIO / AMPLITUDE_RATIO) * by_slow.sum(axis=1)


def truth_tendency(state: TwoScale, forcing: Any) -> TwoScale:
    """Return the time derivatives of the two-scale system.

    dX_k/dt = −X_{k−1} (X_{k−2} − X_{k+1}) − X_k + F − (hc/b) Σ_{j in k} Y_j
    dY_j/dt = −c b Y_{j+1} (Y_{j+2} − Y_{j−1}) − c Y_j + (hc/b) X_{k of j}

    Both indices are cyclic, j over all K·J fast variables (Wilks 2005, doi:10.1256/qj.04.03, equations 1).
    """
    X, Y = state
    before, after = jnp.roll(X, 1, axis=0), jnp.roll(X, -1, axis=0)
    slow = before * (after - jnp.roll(X, 2, axis=0)) - X + forcing - coupling(Y)
    # Slices of one padded copy: several times as fast as jnp.roll on the long axis.
    ring = jnp.concatenate([Y[-1:], Y, Y[:2]])
    advection = RATE_RATIO * AMPLITUDE_RATIO * ring[2:-1] * (ring[:-3] - ring[3:])
    driven = jnp.repeat((COUPLING * RATE_RATIO / AMPLITUDE_RATIO) * X, FAST, axis=0)
    return TwoScale(slow, advection - RATE_RATIO * Y + driven)


def subgrid(slow: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return what the model takes the fast variables to take from a slow one: a polynomial in it."""
    constant, *rest = SUBGRID
    total = jnp.zeros_like(slow)
    for coefficient in reversed(rest):
        total = (total + coefficient) * slow
    return total + constant


def model_tendency(state: Members, forcing: Any) -> Members:
    """Return the time derivatives of the one-scale model.

    dX_k/dt = −X_{k−1} (X_{k−2} − X_{k+1}) − X_k + F − g(X_k), with the polynomial g in place of the
    fast variables (Wilks 2005, equations 2 and 3, without the random part). With the variables one by one,
    a whole step is one pass over the members.
    """
    count = len(state)
    return tuple(
        state[k - 1] * (state[(k + 1) % count] - state[k - 2]) - state[k] + forcing - subgrid(state[k])
        for k in range(count)
    )


def rk4(tendency: Callable[[S], S], state: S, step: Any) -> S:
    """Return a state one step later, by the classical Runge-Kutta method of fourth order."""

    def moved(by: Any, slope: S) -> S:
        return jax.tree.map(lambda value, change: value + by * change, state, slope)

    first = tendency(state)
    second = tendency(moved(step / 2, first))
    third = tendency(moved(step / 2, second))
    fourth = tendency(moved(step, third))
    return jax.tree.map(
        lambda value, a, b, c, d: value + step / 6 * (a + 2 * b + 2 * c + d),
        state,
        first,
        second,
        third,
        fourth,
    )


@jax.jit
def truth_run(
    state: TwoScale,
    phase: Float[Array, "runs"],
    counts: Int[Array, "times"],
    forcing: Float[Array, "3"],
    step: Float[Array, ""],
) -> Float[Array, "times K runs"]:
    """Return the slow variables of runs of the truth, ``counts`` steps after one another.

    Parameters
    ----------
    state : TwoScale
        At time 0.
    phase : array, shape (runs,)
        Angle of the year at time 0.
    counts : array of int, shape (times,)
        Steps from one time to the next, the first from time 0.
    forcing : array, shape (3,)
        F₀, A and ω of F = F₀ + A cos(phase + ω t).
    step : array, shape ()
        Of time.
    """
    mean, amplitude, rate = forcing

    def one(i: Any, now: TwoScale) -> TwoScale:
        # Over the step, it would change by 0.001 at most.
        held = mean + amplitude * jnp.cos(phase + rate * (i * step))
        return rk4(lambda state: truth_tendency(state, held), now, step)

    def on(carry: tuple[TwoScale, Any], count: Any) -> tuple[tuple[TwoScale, Any], Any]:
        now, before = carry
        now = jax.lax.fori_loop(before, before + count, one, now)
        return (now, before + count), now.slow

    return jax.lax.scan(on, (state, jnp.zeros((), counts.dtype)), counts)[1]


@jax.jit
def model_run(state: Members, forcing: Float[Array, ""], step: Float[Array, ""], count: Any) -> Members:
    """Return states of the model ``count`` steps later, at one forcing."""

    def one(_: Any, now: Members) -> Members:
        return rk4(lambda at: model_tendency(at, forcing), now, step)

    return jax.lax.fori_loop(0, count, one, state)
