"""What a projection is, and the members that one is learned from."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float

from degmm.moments import bucket, presence
from degmm.precision import precision_of

SAMPLE_VALUES = 2**24
"""A projection is learned from about so many numbers, at most."""
BLOCK_VALUES = 2**22
"""Members are encoded about so many numbers at a time."""


class Projection(Protocol):
    """A learned map of each member, of D variables, to a code of L < D numbers, and back."""

    def encode(self, rows: Float[np.ndarray, "r D"]) -> Float[np.ndarray, "r L"]:
        """Return the codes of members."""
        ...

    def decode(self, codes: Float[np.ndarray, "r L"]) -> Float[np.ndarray, "r D"]:
        """Return the members that codes stand for."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that is learned, by name."""
        ...


class Rows(NamedTuple):
    """Single members, in units in which each variable has mean 0 and variance 1."""

    values: Float[np.ndarray, "r D"]
    weights: Float[np.ndarray, "r"]
    """Those of their ensembles, in sum 1"""
    centre: Float[np.ndarray, "D"]
    scale: Float[np.ndarray, "D"]
    """1 for a variable that is constant"""


def sampled_rows(
    members: Float[np.ndarray, "n M D"],
    weights: Float[np.ndarray, "n"],
    rng: np.random.Generator,
    dtype: Any = None,
) -> Rows:
    """Return the members that are present of all ensembles, or of as many, at random, as memory allows.

    Their values are in ``dtype``, by default their own, but centred before they are rounded to it.
    """
    dtype = members.dtype if dtype is None else dtype
    _, M, D = members.shape
    used = np.flatnonzero(weights > 0)
    count = max(SAMPLE_VALUES // (M * D), 2)
    if used.size > count:
        used = np.sort(rng.choice(used, count, replace=False))
    some = np.asarray(members[used])
    present = np.asarray(presence(some))
    share = np.repeat(np.asarray(weights, np.float64)[used], M)[present.ravel()]
    share /= share.sum()
    rows = some[present]
    centre = share @ rows
    values = (rows - centre).astype(dtype)
    spread = np.sqrt(share @ values.astype(np.float64) ** 2)
    varies = spread > 64 * np.finfo(members.dtype).eps * np.abs(centre)
    scale = np.where(varies, spread, 1)
    return Rows((values / scale).astype(dtype), share, centre, scale)


def applied(
    function: Callable[..., Any], graph: Any, state: Any, rows: Float[np.ndarray, "r F"]
) -> Float[np.ndarray, "r G"]:
    """Return a compiled network's map of rows, in their precision; few shapes of them are ever compiled."""
    filled = np.pad(rows, [(0, bucket(len(rows)) - len(rows)), (0, 0)])
    with precision_of(rows.dtype):
        return np.asarray(function(graph, state, filled))[: len(rows)]


def encoded(
    projection: Projection, members: Float[np.ndarray, "n M D"], dtype: Any = None
) -> Float[np.ndarray, "n M L"]:
    """Return the codes of all members, in ``dtype`` or in their own; NaN for those that are absent.

    The members are centred in the higher of both precisions: rounded first, those far from 0 would lose
    what tells them apart.
    """
    n, M, D = members.shape
    dtype = members.dtype if dtype is None else dtype
    inner = np.promote_types(members.dtype, dtype)
    size = max(BLOCK_VALUES // (M * D), 1)
    parts: list[Any] = []
    for first in range(0, n, size):
        block = np.asarray(members[first : first + size])
        absent = ~np.asarray(presence(block))
        codes = projection.encode(
            np.where(absent[..., None], 0, block).reshape(-1, D).astype(inner, copy=False)
        )
        codes = codes.reshape(*block.shape[:2], -1)
        parts.append(np.where(absent[..., None], np.nan, codes).astype(dtype))
    return np.concatenate(parts)
