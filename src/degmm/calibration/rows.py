"""Compiled functions of rows, called with NumPy arrays of any number of rows."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from degmm.calibration import mixtures
from degmm.calibration.families import FAMILIES, PredictiveFamily
from degmm.compilation import jit
from degmm.precision import precision_of

SIZES = (64, 256, 1024)
"""Rows that a compiled function takes at once: few, since each is another program"""

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "crps": mixtures.crps_mixture,
    "logpdf": mixtures.logpdf_mixture,
    "cdf": mixtures.cdf_mixture,
    "quantile": mixtures.quantile_mixture,
    "mean": mixtures.mean_mixture,
    "std": mixtures.std_mixture,
}


def _apply(what: str, family: PredictiveFamily, *parts: Any) -> Any:
    return FUNCTIONS[what](family, *parts)


_compiled = jit(_apply, static_argnums=(0, 1))


def on_rows(what: str, family: str, *parts: np.ndarray) -> np.ndarray:
    """Return a function of mixtures for N rows, in float64.

    Parameters
    ----------
    what : str
        Name in ``FUNCTIONS``.
    family : str
        Name of the family.
    *parts : ndarray, each of shape (N,) or (N, K)
        Arguments of the function.

    Returns
    -------
    ndarray, shape (N,)
    """
    n = len(parts[0])
    if not n:
        return np.zeros(0)
    size = next((size for size in SIZES if n <= size), SIZES[-1])
    answers = []
    with precision_of(np.float64):
        for start in range(0, n, size):
            block = [np.asarray(part[start : start + size], np.float64) for part in parts]
            short = size - len(block[0])
            if short:  # few shapes, hence few compilations
                block = [np.concatenate([part, np.repeat(part[:1], short, axis=0)]) for part in block]
            answers.append(
                np.asarray(_compiled(what, FAMILIES[family], *map(jnp.asarray, block)))[: size - short]
            )
    return np.concatenate(answers)
