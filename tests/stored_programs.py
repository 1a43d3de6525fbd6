"""What tests of the store of compiled programs share."""

import jax
import numpy as np

from degmm.compilation import jit
from degmm.families.covariance import floor_eigenvalues

MATRICES = np.array([[[2.0, 0.3, 0.1], [0.3, 1e-9, 0.0], [0.1, 0.0, 1.0]]])


def files(folder):
    return sorted(folder.glob("*")) if folder.exists() else []


def floored(matrices=MATRICES, dtype=np.float64):
    """Return what a newly compiled or loaded program makes of matrices, by LAPACK's eigenvalues."""
    with jax.enable_x64(dtype == np.float64):
        return np.asarray(jit(floor_eigenvalues)(matrices.astype(dtype), np.asarray(0.1, dtype)))
