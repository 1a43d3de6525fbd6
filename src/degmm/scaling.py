"""Units that data are worked on in: an affine map of each variable."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Scaling(NamedTuple):
    """Affine map of each variable to standard units, x ↦ (x − centre) / scale, in float64."""

    centre: Float[np.ndarray, "D"]
    scale: Float[np.ndarray, "D"]

    @property
    def log_jacobian(self) -> float:
        """Σ_d log scale_d: what a member's log density in standard units exceeds that in data units by."""
        return float(np.log(self.scale).sum())


DATA_UNITS = Scaling(np.zeros(1), np.ones(1))
"""The units of the data themselves, for any number of variables."""
