"""From D variables to the one or two that a picture shows."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Float

from degmm.ensembles import Ensemble, labelled


def numbers_and_names(X: Any) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return values as an array and, of an Ensemble or a DataArray, what its variables are called."""
    data = labelled(X)
    if isinstance(data, Ensemble):
        return np.where(data.mask[..., None], data.values, np.nan), data.titles
    return np.asarray(X), None


class Projection(NamedTuple):
    """A linear map of D variables to one or two axes of a picture."""

    centre: Float[np.ndarray, "D"]
    axes: Float[np.ndarray, "D p"]
    labels: tuple[str, ...]

    @classmethod
    def of(cls, points: Float[np.ndarray, "n D"], variables: Sequence[str] | None = None) -> Self:
        """Return the variables themselves for D ≤ 2, else the first two principal axes of ``points``."""
        D = points.shape[1]
        if D <= 2:
            names = variables or [f"variable {d + 1}" for d in range(D)] if D > 1 else variables or ["value"]
            return cls(np.zeros(D), np.eye(D), tuple(names))
        points = points[~np.isnan(points).any(axis=1)].astype(np.float64)
        centre = points.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(points.T))
        axes = vectors[:, ::-1][:, :2]
        # The sign of an axis is free; fix it, so that pictures can be compared.
        axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
        share = values[::-1][:2] / max(values.sum(), np.finfo(float).tiny)
        labels = tuple(f"principal axis {p + 1} ({100 * share[p]:.0f} %)" for p in range(2))
        return cls(centre, axes, labels)

    def points(self, x: Float[np.ndarray, "... D"]) -> Float[np.ndarray, "... p"]:
        """Return points on the picture's axes."""
        return (x - self.centre) @ self.axes

    def covariances(self, covariance: Float[np.ndarray, "... D D"]) -> Float[np.ndarray, "... p p"]:
        """Return covariances on the picture's axes."""
        return self.axes.T @ covariance @ self.axes
