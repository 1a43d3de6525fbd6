"""The normal distribution (Gneiting et al. 2005, doi:10.1175/MWR2904.1)."""

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Float

from degmm.arrays import Array
from degmm.calibration.families.base import PredictiveFamily
from degmm.calibration.families.special import log_normal_density

INVERSE_ROOT_PI = 1 / float(np.sqrt(np.pi))


def crps(
    y: Float[Array, "..."], location: Float[Array, "..."], scale: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return σ [z (2 Φ(z) − 1) + 2 φ(z) − 1/√π] with z = (y − μ)/σ."""
    z = (y - location) / scale
    return scale * (z * (2 * ndtr(z) - 1) + 2 * jnp.exp(log_normal_density(z)) - INVERSE_ROOT_PI)


def logpdf(
    y: Float[Array, "..."], location: Float[Array, "..."], scale: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return the log density."""
    return log_normal_density((y - location) / scale) - jnp.log(scale)


def cdf(
    y: Float[Array, "..."], location: Float[Array, "..."], scale: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return Φ((y − μ)/σ)."""
    return ndtr((y - location) / scale)


def quantile(
    p: Float[Array, "..."], location: Float[Array, "..."], scale: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return μ + σ Φ⁻¹(p)."""
    return location + scale * ndtri(p)


def mean(location: Float[Array, "..."], scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return μ."""
    return location + 0 * scale


def std(location: Float[Array, "..."], scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return σ."""
    return scale + 0 * location


NORMAL = PredictiveFamily("normal", crps, logpdf, cdf, quantile, mean, std)
