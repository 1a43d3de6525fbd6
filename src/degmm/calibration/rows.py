"""Compiled functions of rows, called with NumPy arrays of any number of rows."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from degmm.calibration import mixtures
from degmm.calibration.families import FAMILIES
from degmm.compilation import jit
from degmm.moments import bucket
from degmm.precision import precision_of

MOST_ROWS = 2**14
"""Rows that a compiled function takes at once"""
MOST_ROWS_CRPS = 2**9
"""Of the CRPS of mixtures by quadrature, which makes hundreds of numbers of each row"""

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "crps": mixtures.crps_mixture,
    "logpdf": mixtures.logpdf_mixture,
    "cdf": mixtures.cdf_mixture,
    "quantile": mixtures.quantile_mixture,
    "mean": mixtures.mean_mixture,
    "std": mixtures.std_mixture,
}


@cache
def _compiled(what: str, family: str) -> Callable[..., Any]:
    return jit(partial(FUNCTIONS[what], FAMILIES[family]))


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
    quadrature = what == "crps" and family != "normal" and parts[1].shape[1] > 1
    most = MOST_ROWS_CRPS if quadrature else MOST_ROWS
    size = most if n > most else bucket(n)
    call, answers = _compiled(what, family), []
    with precision_of(np.float64):
        for start in range(0, n, size):
            block = [np.asarray(part[start : start + size], np.float64) for part in parts]
            short = size - len(block[0])
            if short:  # few shapes, hence few compilations
                block = [np.concatenate([part, np.repeat(part[:1], short, axis=0)]) for part in block]
            answers.append(np.asarray(call(*map(jnp.asarray, block)))[: size - short])
    return np.concatenate(answers)
