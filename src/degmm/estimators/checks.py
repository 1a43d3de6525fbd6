"""Checks of what a user passes to an estimator."""

import numbers
from typing import Any

import numpy as np


def check_integer(name: str, value: Any, least: int) -> int:
    """Return ``value`` if it is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}")
    return int(value)


def check_number(name: str, value: Any, least: float, *, open_below: bool = False) -> float:
    """Return ``value`` if it is a finite number of at least (or, if open, above) ``least``."""
    bad = isinstance(value, bool) or not isinstance(value, numbers.Real) or not np.isfinite(float(value))
    if bad or value < least or (open_below and value == least):
        bound = f"above {least:g}" if open_below else f"of at least {least:g}"
        raise ValueError(f"{name}: expected a number {bound}, got {value!r}")
    return float(value)


def check_weights(sample_weight: Any, n: int) -> np.ndarray:
    """Return the weights of n ensembles in float64; 1 each where none are given."""
    if sample_weight is None:
        return np.ones(n)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if weights.shape != (n,):
        raise ValueError(
            f"sample_weight: expected one weight for each of {n} ensembles, got shape {weights.shape}"
        )
    bad = ~np.isfinite(weights) | (weights < 0)
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(
            f"sample_weight: expected finite weights of at least 0, got {weights[i]} at ensemble {i}"
        )
    if not weights.any():
        raise ValueError("sample_weight: all weights are 0")
    return weights


def generator(random_state: Any) -> np.random.Generator:
    """Return a generator from a seed, a ``RandomState``, a ``Generator`` or None."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31 - 1))
    if random_state is None:
        return np.random.default_rng()
    return np.random.default_rng(check_integer("random_state", random_state, 0))
