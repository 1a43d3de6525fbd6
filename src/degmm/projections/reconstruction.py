"""DAGMM's map of a member: the code and how well the member is reconstructed from it."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from jaxtyping import Float

from degmm.arrays import Array
from degmm.choices import find
from degmm.nets import dagmm, from_arrays, stored_widths, to_arrays
from degmm.nets.dagmm import DAGMMSizes
from degmm.projections.base import applied
from degmm.scaling import Scaling

NETWORK = "network."
"""Of the names of the networks' parameters among the arrays"""
FARTHEST = 1e6
"""Values count as no farther from the centre than so many standard deviations, so that squares stay finite"""
CONSTANT_UNIT = 1e-3
"""Unit of a variable that is constant in training, relative to its value: a departure is an anomaly"""
BLOCK_ROWS = 16384
"""Rows are read so many at a time, in float64"""


class Units(NamedTuple):
    """Units of the rows that the networks read."""

    centre: Float[np.ndarray, "D"]
    scale: Float[np.ndarray, "D"]
    low: Float[np.ndarray, "D"]
    """Smallest value that the networks see, in these units"""
    high: Float[np.ndarray, "D"]


class Reconstruction:
    """Codes and features of the reconstruction, by trained networks, of members in given units."""

    def __init__(self, units: Units, dtype: Any, sizes: DAGMMSizes, networks: Any) -> None:
        self._units, self._dtype, self.sizes, self._networks = units, np.dtype(dtype), sizes, networks

    @classmethod
    def of(
        cls,
        rows: Float[np.ndarray, "r D"],
        weights: Float[np.ndarray, "r"],
        scaling: str | None,
        sizes: DAGMMSizes,
        dtype: Any,
    ) -> Self:
        """Return the units of training rows, without networks as yet, which compute in ``dtype``.

        Raises
        ------
        ValueError
            If there is no scaling of that name.
        """
        share = np.asarray(weights, np.float64) / np.sum(weights, dtype=np.float64)
        if scaling is None:
            centre, reach = _standard(rows, share)
            own = Scaling(np.zeros_like(centre), np.ones_like(reach))
            units = Units(*own, centre - FARTHEST * reach, centre + FARTHEST * reach)
        else:
            own = find("scaling", scaling, SCALINGS)(rows, share)
            farthest = np.full_like(own.scale, FARTHEST)
            units = Units(*own, -farthest, farthest)
        return cls(units, dtype, sizes, None)

    def with_networks(self, networks: Any) -> Self:
        """Return the map by trained networks."""
        return type(self)(self._units, self._dtype, self.sizes, networks)

    def standard(self, rows: Float[np.ndarray, "r D"]) -> Float[np.ndarray, "r D"]:
        """Return members in the units that the networks read."""
        centre, scale, low, high = (
            self._units
        )  # in float64: rows far from 0 are centred before they are rounded
        return np.clip((rows - centre) / scale, low, high).astype(self._dtype)

    def encode(self, rows: Float[np.ndarray, "r D"]) -> Float[np.ndarray, "r L"]:
        """Return z: the code, and the features of the reconstruction.

        Raises
        ------
        ValueError
            If they are not finite, or too large to be squared.
        """
        z = self._applied(dagmm.latent, self.standard(rows))
        if not (np.abs(z) < np.sqrt(np.finfo(z.dtype).max) * 1e-4).all():
            raise ValueError(
                f"learning_rate: the networks that it led to give codes too large for {z.dtype}; lower it, "
                "or use scaling='mixed' if the rows are in units of their own"
            )
        return z

    def decode(self, codes: Float[np.ndarray, "r L"]) -> Float[np.ndarray, "r D"]:
        """Return the members that codes stand for; features of the reconstruction beside them are ignored."""
        decoded = self._applied(dagmm.decode, codes[:, : self.sizes.latent_dim].astype(self._dtype))
        return decoded * self._units.scale + self._units.centre

    def gamma(self, z: Float[np.ndarray, "r L"]) -> Float[np.ndarray, "r K"]:
        """Return the estimation network's cluster probabilities, in its own order of the clusters."""
        return self._applied(dagmm.gamma, z.astype(self._dtype))

    def _applied(self, function: Any, rows: Array) -> np.ndarray:
        return applied(function, dagmm.structure(self.sizes), self._networks, rows)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that is learned, by name."""
        return {**self._units._asdict(), **to_arrays(self._networks, NETWORK)}

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray], sizes: dict[str, Any]) -> Self:
        """Return what :meth:`arrays` and the fields of ``sizes`` describe.

        Raises
        ------
        ValueError
            If they describe none.
        """
        network = {name: part for name, part in arrays.items() if name.startswith(NETWORK)}
        layers = {
            name: stored_widths(sizes[name], network) for name in ("encoder_layers", "estimation_layers")
        }
        made = DAGMMSizes(**{**sizes, **layers})
        units = Units(*(arrays[name] for name in Units._fields))
        if any(part.shape != (made.n_features,) for part in units) or not (units.scale > 0).all():
            raise ValueError(f"the units of the rows are not those of {made.n_features} variables")
        networks = from_arrays(dagmm.template(made), arrays, NETWORK)
        return cls(units, jax.tree.leaves(networks)[0].dtype, made, networks)


def _standard(rows: Float[np.ndarray, "r D"], share: Float[np.ndarray, "r"]) -> Scaling:
    centre = share @ rows
    spread = np.sqrt(sum(w @ (part - centre) ** 2 for w, part in _blocks(share, rows)))
    varies = spread > 64 * np.finfo(rows.dtype).eps * np.abs(centre)
    constant = CONSTANT_UNIT * np.where(centre == 0, 1, np.abs(centre))
    return Scaling(centre, np.where(varies, spread, constant))


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
