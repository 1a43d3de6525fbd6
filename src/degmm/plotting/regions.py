"""Highest-density regions of a Gaussian mixture, by points of equal probability instead of a grid.

A grid has to be fine enough for the narrowest component; these points are as near as each component is.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from degmm.density import MixtureDensity

POINTS = 4000
"""A component"""
NARROW = 8
"""Steps of a grid that a component needs; one that is narrower gets grid lines of its own."""
STEPS, MOST_STEPS = 120, 300
"""Of a grid along an axis"""
MARGIN = 0.06
"""Of a window about a region, as a share of its width"""


class Regions(NamedTuple):
    """The regions of highest density that hold given probabilities."""

    levels: Float[np.ndarray, "l"]
    """Log density at the edge of each region, in nats"""
    low: Float[np.ndarray, "p"]
    """Least coordinates of the largest region"""
    high: Float[np.ndarray, "p"]


def regions(mixture: MixtureDensity, probabilities: Sequence[float]) -> Regions:
    """Return the highest-density regions of a mixture of one or two variables, one row."""
    weights, means, covariances = mixture.weights[0], mixture.means[0], mixture.covariances[0]
    noise = _equal_probability(means.shape[1])
    points = means[:, None, :] + np.einsum("kde,me->kmd", np.linalg.cholesky(covariances), noise)
    points = points.reshape(-1, means.shape[1])
    log_density = mixture.logpdf(points[None])[0]
    order = np.argsort(-log_density)
    shares = np.repeat(weights / POINTS, POINTS)[order]
    # Of the share that a point stands for, half is inside its own contour.
    held = np.cumsum(shares) - shares / 2
    levels = np.interp(probabilities, held, log_density[order])
    inside = points[log_density >= levels.min()]
    return Regions(levels, inside.min(axis=0), inside.max(axis=0))


def grid_lines(mixture: MixtureDensity, axis: int, low: float, high: float) -> Float[np.ndarray, "g"]:
    """Return coordinates along an axis from low to high, near enough for each component of the mixture."""
    precision = np.linalg.inv(mixture.covariances[0])
    # Along a narrow ridge the density changes as fast as given the other variable.
    finest = float(1 / np.sqrt(precision[:, axis, axis].max()))
    count = int(np.clip(4 * (high - low) / finest, STEPS, MOST_STEPS))
    step = (high - low) / count
    sigma = np.sqrt(mixture.covariances[0, :, axis, axis])
    narrow = sigma < NARROW * step
    own = mixture.means[0, narrow, axis, None] + sigma[narrow, None] * np.linspace(-4, 4, 33)
    lines = np.concatenate([np.linspace(low, high, count + 1), own.ravel()])
    return np.unique(lines[(lines >= low) & (lines <= high)])


def window(low: float, high: float) -> tuple[float, float]:
    """Return the ends of an axis that shows all from low to high."""
    margin = MARGIN * (high - low) if high > low else max(1.0, abs(low) * 1e-3)
    return low - margin, high + margin


def _equal_probability(p: int) -> Float[np.ndarray, "m p"]:
    """Return points of the standard normal distribution that stand for equal shares of it."""
    share = (np.arange(POINTS) + 0.5) / POINTS
    if p == 1:
        from scipy.stats import norm

        return norm.ppf(share)[:, None]
    # A spiral in steps of the golden angle; the square of the radius is exponentially distributed.
    radius, angle = np.sqrt(-2 * np.log1p(-share)), np.arange(POINTS) * np.pi * (3 - np.sqrt(5))
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
