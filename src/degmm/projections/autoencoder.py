"""The projection of an autoencoder, for members that lie near a curved surface."""

from itertools import pairwise
from typing import Any, Self

import jax
import numpy as np
from jaxtyping import Float

from degmm.arrays import Array
from degmm.moments import bucket
from degmm.nets import autoencoder, from_arrays, stored_widths, to_arrays
from degmm.precision import precision_of
from degmm.projections.base import Rows, applied
from degmm.projections.linear import LinearProjection

STEPS = 3000
NETWORK = "network."
"""Of the names of the network's parameters among the arrays"""


class AutoencoderProjection:
    """Codes are those of an autoencoder that starts as the linear projection."""

    def __init__(self, linear: LinearProjection, hidden: tuple[int, ...], dtype: Any, state: Any) -> None:
        self._linear, self._hidden, self._dtype = linear, hidden, np.dtype(dtype)
        self._graph, blank = _made(linear, hidden, self._dtype, 0)
        self._state = blank if state is None else state

    @classmethod
    def learned(cls, rows: Rows, latent_dim: int, rng: np.random.Generator, hidden: tuple[int, ...]) -> Self:
        """Return the projection of an autoencoder with those hidden widths, trained on ``rows``."""
        linear, dtype = LinearProjection.learned(rows, latent_dim, rng), rows.values.dtype
        seed = int(rng.integers(2**31 - 1))
        graph, state = _made(linear, hidden, dtype, seed)
        n = bucket(len(rows.values))
        values = np.pad(rows.values, [(0, n - len(rows.values)), (0, 0)])
        weights = np.pad(rows.weights, (0, n - len(rows.weights))).astype(dtype)
        with precision_of(dtype):
            state, losses = autoencoder.trained(graph, state, values, weights, STEPS, np.uint32(seed))
        if not np.isfinite(np.asarray(losses)).all():
            raise ValueError(
                "projection: the autoencoder's training became infinite; check X for outliers, "
                "or use 'linear'"
            )
        return cls(linear, hidden, dtype, jax.tree.map(np.asarray, state))

    def encode(self, rows: Float[np.ndarray, "r D"]) -> Float[np.ndarray, "r L"]:
        """Return the codes of members."""
        standard = (rows - self._linear.centre) / self._linear.scale
        return self._applied(autoencoder.encode, standard)

    def decode(self, codes: Float[np.ndarray, "r L"]) -> Float[np.ndarray, "r D"]:
        """Return the members that codes stand for."""
        return self._applied(autoencoder.decode, codes) * self._linear.scale + self._linear.centre

    def _applied(self, function: Any, rows: Array) -> np.ndarray:
        return applied(function, self._graph, self._state, np.asarray(rows, self._dtype))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that is learned, by name."""
        network = to_arrays(self._state, NETWORK)
        return self._linear.arrays() | network | {"hidden": np.asarray(self._hidden, np.float64)}

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray]) -> Self:
        """Return the projection that :meth:`arrays` describes."""
        network = {name: part for name, part in arrays.items() if name.startswith(NETWORK)}
        hidden = stored_widths(arrays["hidden"].tolist(), network)
        rest = {name: part for name, part in arrays.items() if name not in network and name != "hidden"}
        dtype = next(iter(network.values())).dtype
        linear = LinearProjection.restored(rest)
        widths = (linear.components.shape[1], *hidden, linear.components.shape[0])
        if sum(a * b for a, b in pairwise(widths)) > sum(part.size for part in network.values()):
            raise ValueError(f"the projection's hidden widths {hidden} are not those of its networks")
        made = cls(linear, hidden, dtype, None)
        made._state = from_arrays(made._state, network, NETWORK)
        return made


def _made(linear: LinearProjection, hidden: tuple[int, ...], dtype: Any, seed: int) -> tuple[Any, Any]:
    L, D = linear.components.shape
    inward = (linear.components / linear.spread[:, None]).T
    outward = linear.components * linear.spread[:, None]
    with precision_of(dtype):
        return autoencoder.initial((D, L, hidden), inward, outward, seed, dtype)
