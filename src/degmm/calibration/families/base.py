"""What a predictive family is: the distribution of one observed value, given a few parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from degmm.arrays import Array


def identity(value: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the value as it is."""
    return value


def softplus(value: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log(1 + exp(value)): positive, and the value itself where that is large."""
    return jax.nn.softplus(value)


@dataclass(frozen=True)
class PredictiveFamily:
    """Distributions with a location, a scale and, in some families, a shift.

    All functions are of arrays that broadcast, compile, and have finite derivatives by the parameters.
    The parameters θ are ``(location, scale)`` or ``(location, scale, shift)``, in the unit of y.
    """

    name: str
    crps: Callable[..., Any]
    """crps(y, *θ) = ∫ (F(x) − 1{y ≤ x})² dx, in the unit of y"""
    logpdf: Callable[..., Any]
    """logpdf(y, *θ): log density in nats, or log probability where y is the point of a mass"""
    cdf: Callable[..., Any]
    """cdf(y, *θ) = F(y)"""
    quantile: Callable[..., Any]
    """quantile(p, *θ): the least y with F(y) ≥ p"""
    mean: Callable[..., Any]
    """mean(*θ)"""
    std: Callable[..., Any]
    """std(*θ)"""
    limited: Callable[..., Any] | None = None
    """limited(*θ) of NumPy arrays: where a distribution cannot have the scale that is asked for"""
    from_zero: bool = False
    """Whether values are of at least 0, so that the zero of y has a meaning"""
    shifted: bool = False
    """Whether there is a shift among the parameters"""
    link: Callable[..., Any] = identity
    """Map of a linear predictor to the location"""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters, in their order."""
        return ("location", "scale", "shift") if self.shifted else ("location", "scale")


def below_zero(y: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return max(−y, 0): what a value below all that a distribution allows adds to the CRPS."""
    return jnp.maximum(-y, 0)
