"""Minima of small smooth functions: BFGS from several starts side by side."""

from collections.abc import Callable
from enum import Enum
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from degmm.arrays import Array
from degmm.compilation import jit
from degmm.precision import precision_of

TOLERANCE = 1e-7
"""BFGS ends when the parameters change by no more, and the value by no more than its square"""
FLAT = 1e-8
"""Or when no derivative is larger"""
DECREASE = 1e-4
"""Share of the decrease that the slope promises, with which a step is taken"""
CURVATURE = 1e-10
"""Least cosine of a step and the change of the gradient from which the Hessian is learned"""
SHORTEST = 0.1
"""Least part of a trial that the next one is"""
RESTART_AFTER, MOST_TRIALS = 12, 30
"""Trials of a step"""
GRADIENT = 1e-5
"""Largest derivative at what counts as a minimum, for values and parameters in standard units"""


class Result(Enum):
    """How a calibration ended; the value is a readable message."""

    CONVERGED = "converged: the score no longer falls, and its gradient is zero"
    TRAINED = "trained for all its steps"
    MAX_ITERATIONS = "stopped at the maximum number of iterations before convergence; raise max_iter"
    STALLED = (
        "stopped where no step lowered the score, though its gradient is not zero; check the data for "
        "extreme values, or leave out context that is nearly constant"
    )
    AT_FLOOR = (
        "a predicted spread sits at its floor or ceiling: the observations are a function of the predictors, "
        "or all but a few are"
    )
    NON_FINITE = "stopped: the score was not finite; check the data for extreme values"

    @property
    def succeeded(self) -> bool:
        """Whether the fit ended as asked."""
        return self in (Result.CONVERGED, Result.TRAINED)


class Minimum(NamedTuple):
    """The best of the minima found."""

    parameters: Float[np.ndarray, "P"]
    value: float
    n_iter: int
    result: Result


def minimise(
    function: Callable[[Any, Any], Any], starts: Float[np.ndarray, "S P"], arguments: Any, max_iter: int
) -> Minimum:
    """Minimise function(parameters, arguments) from each start, in float64.

    Parameters
    ----------
    function : callable
        Of JAX arrays; compiled once for each function, so it must be the same object in each call.
    starts : ndarray, shape (S, P)
    arguments : tuple of ndarray
    max_iter : int
        Most steps of BFGS from a start.

    Returns
    -------
    Minimum
        That of the lowest finite value.
    """
    with precision_of(np.float64):
        found = _compiled(function)(jnp.asarray(starts), arguments, jnp.asarray(max_iter))
    parameters, values, gradients, steps = map(np.asarray, found)
    sizes = np.abs(gradients).max(axis=1)
    sound = np.isfinite(values) & np.isfinite(parameters).all(axis=1) & np.isfinite(sizes)
    best = int(np.argmin(np.where(sound, values, np.inf)))
    if not sound[best]:
        result = Result.NON_FINITE
    elif sizes[best] <= GRADIENT:
        result = Result.CONVERGED
    else:
        result = Result.MAX_ITERATIONS if steps[best] >= max_iter else Result.STALLED
    return Minimum(parameters[best], float(values[best]), int(steps[best]), result)


class _Search(NamedTuple):
    """S searches under way; all but the inverse Hessians and trials are of the best points so far."""

    at: Float[Array, "S P"]
    value: Float[Array, "S"]
    gradient: Float[Array, "S P"]
    inverse: Float[Array, "S P P"]
    """Of the Hessian, about"""
    length: Float[Array, "S"]
    """Of the next trial, as a part of the full step"""
    steps: Int[Array, "S"]
    trials: Int[Array, "S"]
    """Of the step that is being tried"""
    ended: Bool[Array, "S"]


@lru_cache(maxsize=64)
def _compiled(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return jit(partial(_search, function))


def _search(
    function: Callable[[Any, Any], Any], starts: Float[Array, "S P"], arguments: Any, max_iter: Int[Array, ""]
) -> tuple[Float[Array, "S P"], Float[Array, "S"], Float[Array, "S P"], Int[Array, "S"]]:
    """Return the ends of BFGS, with values and gradients there, and the number of steps.

    Each pass makes one trial of each search, be it a new step or a shorter one: none waits until another
    has found how far to go, and the function is compiled once.
    """
    S, P = starts.shape
    both = jax.vmap(jax.value_and_grad(function), in_axes=(0, None))
    eye = jnp.eye(P)

    def step_of(search: _Search) -> Float[Array, "S P"]:
        return -jnp.einsum("spq,sq->sp", search.inverse, search.gradient)

    def unfinished(search: _Search) -> Any:
        return (~search.ended & (search.steps < max_iter)).any()

    def trial(search: _Search) -> _Search:
        full = step_of(search)
        move = search.length[:, None] * full
        at = search.at + move
        value, gradient = both(at, arguments)
        slope = (search.gradient * move).sum(axis=1)
        sound = jnp.isfinite(value) & jnp.isfinite(gradient).all(axis=1)
        first = ~jnp.isfinite(search.value)  # the start itself, which has not been looked at
        better = sound & (value <= search.value + DECREASE * slope)
        going = ~search.ended & (search.steps < max_iter)
        taken = going & (better | first)
        # the Hessian that the change of the gradient tells of
        change = gradient - search.gradient
        curvature = (move * change).sum(axis=1)
        size = (change * change).sum(axis=1)
        useful = taken & ~first & (curvature > CURVATURE * jnp.sqrt(size * (move * move).sum(axis=1)))
        safe = jnp.where(useful, curvature, 1)
        # the first useful change says what the unit of the Hessian is
        unit = jnp.where(search.steps == 0, safe / jnp.where(useful, size, 1), 1)
        inverse = search.inverse * unit[:, None, None]
        left = eye - jnp.einsum("sp,sq->spq", move, change) / safe[:, None, None]
        inverse = left @ inverse @ left.swapaxes(1, 2) + (
            jnp.einsum("sp,sq->spq", move, move) / safe[:, None, None]
        )
        # where it did not fall, to the minimum of the parabola through value, slope and new value
        bend = 2 * (value - search.value - slope)
        shorter = jnp.where(sound & (bend > 0), -slope / jnp.where(bend > 0, bend, 1), SHORTEST)
        trials = jnp.where(taken, 0, search.trials + 1)
        still = jnp.abs(move).max(axis=1) <= TOLERANCE * (1 + jnp.abs(at).max(axis=1))
        flat = jnp.abs(gradient).max(axis=1) <= FLAT
        settled = still & (jnp.abs(value - search.value) <= TOLERANCE**2 * (1 + jnp.abs(value)))
        # no step can show a fall that is below the rounding of the value
        hopeless = -slope <= 2 * jnp.finfo(value.dtype).eps * (1 + jnp.abs(value))
        ended = (taken & (flat | (settled & ~first))) | (trials >= MOST_TRIALS) | (first & ~sound)
        ended = ended | (~taken & ~first & hopeless)
        keep = _Search(
            at,
            value,
            gradient,
            jnp.where(useful[:, None, None], inverse, search.inverse),
            jnp.ones(S),
            search.steps + jnp.where(first, 0, 1),
            trials,
            ended,
        )
        # a direction that does not fall leaves the Hessian at fault: begin anew down the gradient
        stuck = trials == RESTART_AFTER
        other = search._replace(
            inverse=jnp.where(stuck[:, None, None], eye, search.inverse),
            length=jnp.where(stuck, 1.0, search.length * jnp.clip(shorter, SHORTEST, 0.5)),
            trials=trials,
            ended=search.ended | (going & ended),
        )
        return jax.tree.map(
            lambda new, old: jnp.where(taken.reshape(-1, *[1] * (new.ndim - 1)), new, old), keep, other
        )

    start = _Search(
        starts,
        jnp.full(S, jnp.inf),
        jnp.zeros_like(starts),
        jnp.broadcast_to(eye, (S, P, P)),
        jnp.ones(S),
        jnp.zeros(S, jnp.int32),
        jnp.zeros(S, jnp.int32),
        jnp.zeros(S, bool),
    )
    found = jax.lax.while_loop(unfinished, trial, start)
    return found.at, found.value, found.gradient, found.steps
