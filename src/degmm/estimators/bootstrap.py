"""What a bootstrap says of the parameters: replicates, standard errors, intervals."""

from dataclasses import dataclass

import numpy as np

PARAMETERS = ("weights", "means", "within_covariances", "between_covariances")


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Replicates of a mixture's parameters in the units of the data, components matched to the fit's.

    Each entry of ``replicates`` has the replicates along its first axis.
    """

    replicates: dict[str, np.ndarray]
    """``weights`` (R, K), ``means`` (R, K, D), ``within_covariances`` and ``between_covariances``"""

    def __repr__(self) -> str:
        return f"Bootstrap({len(self.replicates['weights'])} replicates of {', '.join(self.replicates)})"

    @property
    def standard_errors(self) -> dict[str, np.ndarray]:
        """Standard deviation of each parameter over the replicates."""
        return {name: values.std(axis=0, ddof=1) for name, values in self.replicates.items()}

    def interval(self, level: float = 0.9) -> dict[str, np.ndarray]:
        """Return the percentile interval of each parameter, its two ends along the first axis.

        Parameters
        ----------
        level : float
            Nominal coverage, between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"level: expected a number between 0 and 1, got {level!r}")
        ends = [(1 - level) / 2, (1 + level) / 2]
        return {name: np.quantile(values, ends, axis=0) for name, values in self.replicates.items()}
