"""Minima of small smooth functions: BFGS from several starts side by side."""

from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Float

from degmm.compilation import jit
from degmm.precision import precision_of

TOLERANCE = 1e-7
"""BFGS ends when neither the parameters nor the value change by more, relatively or absolutely"""
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
        parameters, values, gradients, steps = map(
            np.asarray, _compiled(function, max_iter)(jnp.asarray(starts), arguments)
        )
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


@lru_cache(maxsize=64)
def _compiled(function: Callable[[Any, Any], Any], max_iter: int) -> Callable[..., Any]:
    solver: Any = optx.BFGS(rtol=TOLERANCE, atol=TOLERANCE)

    def from_one(start: Any, arguments: Any) -> Any:
        found: Any = optx.minimise(function, solver, start, arguments, max_steps=max_iter, throw=False)
        at_end = found.state.f_info  # value and gradient there, so that they are not compiled twice
        return found.value, at_end.f, at_end.grad, found.stats["num_steps"]

    def from_each(starts: Any, arguments: Any) -> Any:
        return jax.vmap(from_one, in_axes=(0, None))(starts, arguments)

    return jit(from_each)
