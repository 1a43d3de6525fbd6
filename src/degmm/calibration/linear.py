"""Distributions whose parameters are linear in the predictors: the model of EMOS, in standard units."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from degmm.arrays import Array
from degmm.calibration.families import FAMILIES, PredictiveFamily
from degmm.choices import find
from degmm.compilation import jit
from degmm.precision import precision_of

LOG_SCALES = (-15.0, 15.0)
"""Floor and ceiling of the log scale, in units of the observations' standard deviation"""
LOG_SHIFTS = (-12.0, 1.5)
"""Those of the log shift, in the same units; beyond, the distribution is nearly normal and hard to compute"""
FIRST_SHIFT = -2.0
"""Log shift that a fit starts from"""
NORMAL_LOG_SIZE = -0.635
"""Mean of log |Z| of a standard normal variable Z"""


class Cases(NamedTuple):
    """What a fit works on: N cases of one variable, those of weight 0 only there to fill up."""

    y: Float[Array, "N"]
    """In units of its standard deviation"""
    for_location: Float[Array, "N P"]
    """1, standardised mean, context"""
    for_scale: Float[Array, "N P"]
    """1, standardised log spread, context"""
    weights: Float[Array, "N"]
    """Of sum 1"""

    def filled(self) -> "Cases":
        """Return the cases with others of weight 0 and columns of zeros, up to one of a few sizes."""
        n, (_, P) = padded_size(len(self.weights)), self.for_location.shape
        extra = [(0, 0), (0, padded_columns(P) - P)]
        location, scale = (np.pad(filled(np.asarray(part), n), extra) for part in self[1:3])
        weights = np.pad(np.asarray(self.weights), (0, n - len(self.weights)))
        return Cases(filled(np.asarray(self.y), n), location, scale, weights)


COLUMNS = 4
"""The columns of a fit are filled up to a multiple: with context or without, it is one program"""


def padded_columns(n_columns: int) -> int:
    """Return the columns that a fit is filled up to."""
    return -(-n_columns // COLUMNS) * COLUMNS


def widened(parameters: Float[np.ndarray, "S Q"], n_columns: int) -> Float[np.ndarray, "S R"]:
    """Return parameters for filled cases: those of columns of zeros are 0, and stay so."""
    alpha, beta, tail = np.split(parameters, [n_columns, 2 * n_columns], axis=1)
    extra = np.zeros((len(parameters), padded_columns(n_columns) - n_columns))
    return np.concatenate([alpha, extra, beta, extra, tail], axis=1)


def narrowed(parameters: Float[np.ndarray, "R"], n_columns: int) -> Float[np.ndarray, "Q"]:
    """Return the parameters without those of columns of zeros."""
    wide = padded_columns(n_columns)
    return np.concatenate([parameters[:n_columns], parameters[wide:][:n_columns], parameters[2 * wide :]])


def padded_size(n: int) -> int:
    """Return n rounded up to a power of two: a fit and those to parts of its cases share a program."""
    return max(64, 1 << (n - 1).bit_length())


def n_parameters(family: PredictiveFamily, n_columns: int) -> int:
    """Return the number of parameters, with ``n_columns`` columns for location and for scale."""
    return 2 * n_columns + int(family.shifted)


def design(predictor: Float[np.ndarray, "n"], context: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n P"]:
    """Return the columns 1, the predictor and the context."""
    return np.column_stack([np.ones(len(predictor)), predictor, context])


def distribution(
    family: PredictiveFamily,
    parameters: Float[Array, "Q"],
    for_location: Float[Array, "N P"],
    for_scale: Float[Array, "N P"],
) -> tuple[Float[Array, "N"], ...]:
    """Return location, scale and, in families with one, shift of each case.

    location = link(A α), scale = exp(S β), shift = exp(ψ), where the parameters are (α, β[, ψ]).
    """
    P = for_location.shape[1]
    location = family.link(for_location @ parameters[:P])
    scale = jnp.exp(jnp.clip(for_scale @ parameters[P : 2 * P], *LOG_SCALES))
    if not family.shifted:
        return location, scale
    shift = jnp.exp(jnp.clip(parameters[2 * P], *LOG_SHIFTS))
    return location, scale, jnp.broadcast_to(shift, scale.shape)


_compiled = jit(distribution, static_argnums=(0,))


def predicted(
    family: PredictiveFamily,
    parameters: Float[np.ndarray, "Q"],
    for_location: Float[np.ndarray, "n P"],
    for_scale: Float[np.ndarray, "n P"],
) -> list[Float[np.ndarray, "n"]]:
    """Return what :func:`distribution` does, for any number of cases with few compilations."""
    n = len(for_location)
    designs = [filled(part, padded_size(n)) for part in (for_location, for_scale)]
    with precision_of(np.float64):
        parts = _compiled(family, jnp.asarray(parameters), *map(jnp.asarray, designs))
    return [np.asarray(part)[:n] for part in parts]


def filled(values: Float[np.ndarray, "n ..."], n: int) -> Float[np.ndarray, "N ..."]:
    """Return an array with its first row repeated at the end, up to n rows."""
    return np.concatenate([values, np.repeat(values[:1], n - len(values), axis=0)])


def _crps(family: PredictiveFamily, y: Any, *parameters: Any) -> Any:
    return family.crps(y, *parameters)


def _negative_log_density(family: PredictiveFamily, y: Any, *parameters: Any) -> Any:
    return -family.logpdf(y, *parameters)


LOSSES: dict[str, Callable[..., Any]] = {"crps": _crps, "likelihood": _negative_log_density}
"""What a fit minimises the mean of"""


@cache
def objective(family: str, loss: str) -> Callable[[Any, Cases], Any]:
    """Return the weighted mean loss as a function of parameters and cases, the same object each time."""
    find("loss", loss, LOSSES)
    return partial(mean_loss, FAMILIES[family], loss)


def mean_loss(
    family: PredictiveFamily, loss: str, parameters: Float[Array, "Q"], cases: Cases
) -> Float[Array, ""]:
    """Return the weighted mean of a loss."""
    predicted = distribution(family, parameters, cases.for_location, cases.for_scale)
    return cases.weights @ LOSSES[loss](family, cases.y, *predicted)


def starts(
    family: PredictiveFamily, cases: Cases, n_init: int, rng: np.random.Generator
) -> Float[np.ndarray, "S Q"]:
    """Return starting parameters: two of least squares, the others about them at random.

    The location is that of the weighted regression of y. The scale is the root-mean-square residual, or
    the regression of the residuals' log size (Harvey 1976, doi:10.2307/1913974).
    """
    root = np.sqrt(np.asarray(cases.weights))[:, None]
    y, A, S = (np.asarray(part) for part in cases[:3])
    alpha = np.linalg.lstsq(root * A, root[:, 0] * y, rcond=None)[0]
    residual = y - A @ alpha
    size = np.log(max(float(np.sqrt(cases.weights @ residual**2)), 1e-4))
    log_size = np.log(np.maximum(np.abs(residual), 1e-3 * np.exp(size))) - NORMAL_LOG_SIZE
    constant = np.zeros_like(alpha)
    constant[0] = size
    regressed = np.linalg.lstsq(root * S, root[:, 0] * log_size, rcond=None)[0]
    tail = np.full(int(family.shifted), FIRST_SHIFT)
    found = [np.concatenate([alpha, beta, tail]) for beta in (regressed, constant)]
    # a predictor that does not vary has no effect, at the start or later
    varies = np.concatenate([A.any(axis=0), S.any(axis=0), np.ones(len(tail), bool)])
    for i in range(2, n_init):
        found.append(found[i % 2] + 0.5 * rng.normal(size=len(varies)) * varies)
    return np.stack(found[:n_init])
