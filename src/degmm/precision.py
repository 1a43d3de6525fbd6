"""JAX's precision, switched locally: importing or using degmm never changes it for other code."""

from contextlib import AbstractContextManager
from typing import Any

import jax
import numpy as np

from degmm.forks import begin_computing


def precision_of(dtype: Any) -> AbstractContextManager[Any]:
    """Return a context in which JAX computes in ``dtype`` (float32 or float64) by default.

    All that computes with JAX begins here; RuntimeError says so where this process cannot (``forks.py``).
    """
    begin_computing()
    return jax.enable_x64(np.dtype(dtype) == np.float64)
