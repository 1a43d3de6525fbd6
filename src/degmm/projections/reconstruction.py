"""DAGMM's map of a member: the code and how well the member is reconstructed from it."""

from collections.abc import Callable, Iterator
from typing import Any, Self

import jax
import numpy as np
from jaxtyping import Float

from degmm.arrays import Array
from degmm.choices import find
from degmm.moments import Scaling
from degmm.nets import dagmm, from_arrays, to_arrays
from degmm.nets.dagmm import DAGMMSizes
from degmm.projections.base import applied

NETWORK = "network."
"""Of the names of the networks' parameters among the arrays"""
FARTHEST = 1e6
"""Values count as no farther from the centre than so many standard units, so that squares stay finite."""
BLOCK_ROWS = 16384
"""Rows are read so many at a time, in float64"""


class Reconstruction:
    """Codes and features of the reconstruction, by trained networks, of members in given units."""

    def __init__(self, scaling: Scaling, dtype: Any, sizes: DAGMMSizes, networks: Any) -> None:
        self._scaling, self._dtype, self.sizes, self._networks = scaling, np.dtype(dtype), sizes, networks

    @classmethod
    def of(
        cls,
        rows: Float[np.ndarray, "r D"],
        weights: Float[np.ndarray, "r"],
        scaling: str | None,
        sizes: DAGMMSizes,
    ) -> Self:
        """Return the units of training rows, without networks as yet.

        Raises
        ------
        ValueError
            If there is no scaling of that name.
        """
        if scaling is None:
            units = Scaling(np.zeros(rows.shape[1]), np.ones(rows.shape[1]))
        else:
            units = find("scaling", scaling, SCALINGS)(rows, weights / weights.sum())
        return cls(units, rows.dtype, sizes, None)

    def with_networks(self, networks: Any) -> Self:
        """Return the map by trained networks."""
        return type(self)(self._scaling, self._dtype, self.sizes, networks)

    def standard(self, rows: Float[np.ndarray, "r D"]) -> Float[np.ndarray, "r D"]:
        """Return members in standard units."""
        return np.clip((rows - self._scaling.centre) / self._scaling.scale, -FARTHEST, FARTHEST).astype(
            self._dtype
        )

    def encode(self, rows: Float[np.ndarray, "r D"]) -> Float[np.ndarray, "r L"]:
        """Return z: the code, and the features of the reconstruction."""
        return self._applied(dagmm.latent, self.standard(rows))

    def decode(self, codes: Float[np.ndarray, "r L"]) -> Float[np.ndarray, "r D"]:
        """Return the members that codes stand for; features of the reconstruction beside them are ignored."""
        decoded = self._applied(dagmm.decode, codes[:, : self.sizes.latent_dim].astype(self._dtype))
        return decoded * self._scaling.scale + self._scaling.centre

    def gamma(self, z: Float[np.ndarray, "r L"]) -> Float[np.ndarray, "r K"]:
        """Return the estimation network's cluster probabilities, in its own order of the clusters."""
        return self._applied(dagmm.gamma, z.astype(self._dtype))

    def _applied(self, function: Any, rows: Array) -> np.ndarray:
        return applied(function, dagmm.structure(self.sizes), self._networks, rows)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that is learned, by name."""
        return {**self._scaling._asdict(), **to_arrays(self._networks, NETWORK)}

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray], sizes: dict[str, Any]) -> Self:
        """Return what :meth:`arrays` and the fields of ``sizes`` describe.

        Raises
        ------
        ValueError
            If they describe none.
        """
        layers = {name: tuple(sizes[name]) for name in ("encoder_layers", "estimation_layers")}
        made = DAGMMSizes(**{**sizes, **layers})
        units = Scaling(*(arrays[name] for name in Scaling._fields))
        if any(part.shape != (made.n_features,) for part in units) or not (units.scale > 0).all():
            raise ValueError(f"the units of the rows are not those of {made.n_features} variables")
        networks = from_arrays(dagmm.template(made), arrays, NETWORK)
        return cls(units, jax.tree.leaves(networks)[0].dtype, made, networks)


def _standard(rows: Float[np.ndarray, "r D"], share: Float[np.ndarray, "r"]) -> Scaling:
    centre = share @ rows
    spread = np.sqrt(sum(w @ (part - centre) ** 2 for w, part in _blocks(share, rows)))
    varies = spread > 64 * np.finfo(rows.dtype).eps * np.abs(centre)
    return Scaling(centre, np.where(varies, spread, 1))


def _mixed(rows: Float[np.ndarray, "r D"], share: Float[np.ndarray, "r"]) -> Scaling:
    standard = _standard(rows, share)
    low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
    two = ((rows == rows.min(axis=0)) | (rows == rows.max(axis=0))).all(axis=0) & (high > low)
    return standard._replace(scale=np.where(two, (high - low) / 2, standard.scale))


def _blocks(share: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for first in range(0, len(rows), BLOCK_ROWS):
        yield share[first : first + BLOCK_ROWS], rows[first : first + BLOCK_ROWS]


SCALINGS: dict[str, Callable[..., Scaling]] = {"mixed": _mixed, "standard": _standard}
"""Units of the rows by name: from rows, and weights of sum 1"""
