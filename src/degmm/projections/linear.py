"""The linear projection: principal components, where a linear autoencoder ends (Baldi & Hornik 1989)."""

from typing import Self

import numpy as np
from jaxtyping import Float
from sklearn.utils.extmath import randomized_svd

from degmm.projections.base import Rows
from degmm.wording import counted

EXACT_SIZE = 600
"""Up to so many variables the components are exact; beyond, they are found by random projections."""


class LinearProjection:
    """Codes are the leading principal components of the standardised members, each of variance 1."""

    def __init__(
        self,
        centre: Float[np.ndarray, "D"],
        scale: Float[np.ndarray, "D"],
        components: Float[np.ndarray, "L D"],
        spread: Float[np.ndarray, "L"],
    ) -> None:
        # in one order in memory, so that one read from a file computes the same to the last bit
        self.centre, self.scale, self.components, self.spread = map(
            np.ascontiguousarray, (centre, scale, components, spread)
        )

    @classmethod
    def learned(
        cls, rows: Rows, latent_dim: int, rng: np.random.Generator, hidden: tuple[int, ...] = ()
    ) -> Self:
        """Return the projection on to the first ``latent_dim`` components of ``rows``; it has no ``hidden``.

        Raises
        ------
        ValueError
            If they span fewer dimensions.
        """
        D = rows.values.shape[1]
        weighted = rows.values * np.sqrt(rows.weights)[:, None]  # in float64
        if D <= EXACT_SIZE:
            covariance = weighted.T @ weighted
            values, vectors = np.linalg.eigh(covariance)
            variance, components = values[::-1][:latent_dim], vectors.T[::-1][:latent_dim]
        else:
            seed = int(rng.integers(2**31 - 1))
            _, singular, components = randomized_svd(weighted, latent_dim, random_state=seed)
            variance = singular**2
        # the sign of a component is free: its largest entry is positive
        largest = np.abs(components).argmax(axis=1)
        components = components * np.sign(components[np.arange(len(components)), largest])[:, None]
        spread = np.sqrt(np.maximum(variance, 0))
        # roots of eigenvalues of a covariance: what rounding leaves of 0 is of the size of the root of eps
        data, root = np.finfo(rows.values.dtype).eps, np.sqrt(D * np.finfo(np.float64).eps)
        rank = int((spread > 64 * max(data, root) * spread.max()).sum())
        if rank < latent_dim:
            raise ValueError(
                f"latent_dim: the members vary in {counted(rank, 'direction')} only, got {latent_dim}; "
                "lower it"
            )
        return cls(rows.centre, rows.scale, components, spread)

    def encode(self, rows: Float[np.ndarray, "r D"]) -> Float[np.ndarray, "r L"]:
        """Return the codes of members."""
        return ((rows - self.centre) / self.scale).astype(rows.dtype) @ (
            self.components / self.spread[:, None]
        ).T.astype(rows.dtype)

    def decode(self, codes: Float[np.ndarray, "r L"]) -> Float[np.ndarray, "r D"]:
        """Return the members whose other components are 0."""
        return (codes * self.spread) @ self.components * self.scale + self.centre

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that is learned, by name."""
        return dict(vars(self))

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray]) -> Self:
        """Return the projection that :meth:`arrays` describes.

        Raises
        ------
        ValueError
            If it describes none.
        """
        if set(arrays) != {"centre", "scale", "components", "spread"} or arrays["components"].ndim != 2:
            raise ValueError(f"the projection's arrays are {', '.join(sorted(arrays)) or 'missing'}")
        L, D = arrays["components"].shape
        for name, shape in (("centre", (D,)), ("scale", (D,)), ("spread", (L,))):
            if arrays[name].shape != shape or (name != "centre" and not (arrays[name] > 0).all()):
                raise ValueError(f"the projection's {name} is not positive of shape {shape}")
        return cls(**arrays)
