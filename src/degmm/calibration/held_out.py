"""What each network does not learn from, and the spread that its forecasts of just that need."""

import numpy as np
from jaxtyping import Float, Int

from degmm.calibration.families import PredictiveFamily
from degmm.calibration.rows import on_rows

LEAST_BLOCKS = 20
"""Blocks of consecutive cases: short ones, so that no season of a year or two is left out as a whole"""
LARGEST_SHARE = 1 / 5
"""Of the cases, that one network leaves out"""
LEVEL = 0.9
"""Probability of the central interval that forecasts of cases left out shall hold"""
FACTORS = (0.6, 1.8)
"""Least and largest factor"""
HALVINGS = 12


def left_out_by(weights: Float[np.ndarray, "n"], n_networks: int) -> Int[np.ndarray, "n"]:
    """Return which network leaves each case out, −1 for none.

    Blocks of consecutive cases go round the networks. A single network learns from all cases, and so does
    one that would be left with less than half of the weight.
    """
    n = len(weights)
    if n_networks == 1:
        return np.full(n, -1)
    turns = max(n_networks, round(1 / LARGEST_SHARE))
    n_blocks = turns * -(-LEAST_BLOCKS // turns)
    owner = (np.arange(n) * n_blocks // n) % turns
    of_owner = np.bincount(owner, weights, minlength=turns)
    spared = (np.arange(turns) >= n_networks) | (of_owner > weights.sum() / 2)
    return np.where(spared[owner], -1, owner)


def spread_factor(
    family: PredictiveFamily,
    y: Float[np.ndarray, "n"],
    weights: Float[np.ndarray, "n"],
    gamma: Float[np.ndarray, "n K"],
    parts: list[Float[np.ndarray, "n K"]],
) -> float:
    """Return what to multiply scales by so that central intervals hold as many observations as they should.

    Parameters
    ----------
    family : PredictiveFamily
    y, weights : ndarray, shape (n,)
        Observations, any number where the weight is 0.
    gamma : ndarray, shape (n, K)
        Weights of the mixtures.
    parts : list of ndarray, shape (n, K)
        Their locations, scales and, in families with one, shifts.

    Returns
    -------
    float
        The least factor with a coverage of 90 %, by bisection; 1 if no case counts.
    """
    used = weights > 0
    if not used.any():
        return 1.0
    y, weights, gamma = y[used], weights[used], gamma[used]
    location, scale, *shift = (part[used] for part in parts)
    tail = (1 - LEVEL) / 2

    def coverage(factor: float) -> float:
        top = on_rows("cdf", family.name, y, gamma, location, factor * scale, *shift)
        below = np.where(y > 0, top, 0) if family.from_zero else top
        # At a point mass the transform is spread evenly over [below, top]; elsewhere it is one number.
        mass = top - below
        within = np.clip(np.minimum(top, 1 - tail) - np.maximum(below, tail), 0, None)
        inside = np.where(mass > 0, within / np.where(mass > 0, mass, 1), (top >= tail) & (top <= 1 - tail))
        return float(np.average(inside, weights=weights))

    low, high = FACTORS
    if coverage(low) >= LEVEL:
        return low
    if coverage(high) < LEVEL:
        return high
    for _ in range(HALVINGS):  # the wider, the more it holds, but for mixtures far from any observation
        middle = (low * high) ** 0.5
        low, high = (low, middle) if coverage(middle) >= LEVEL else (middle, high)
    return high
