"""The arrays that kernels and containers take: JAX's or NumPy's."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # The two types share the operations used here but no base class a type checker knows.
    Array = Any
else:
    import jax
    import numpy as np

    Array = jax.Array | np.ndarray

__all__ = ["Array"]
