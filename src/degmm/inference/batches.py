"""What a network sees of ensembles: their moments and, for some encoders, members; whole or in batches."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from degmm.arrays import Array
from degmm.moments import Moments, bucket, even_size, joined, moments_of, padded, presence
from degmm.nets import EncoderInputs
from degmm.processes import gathered
from degmm.scaling import Scaling

READ_VALUES = 2**22
"""Members are read for subsets and in passes over all ensembles about so many numbers at a time."""


class Batch(NamedTuple):
    """Some ensembles as a network is trained on them; those added to fill up have weight 0."""

    inputs: EncoderInputs
    moments: Moments
    target: Float[Array, "K n"]
    """Starting responsibilities, which the network learns first"""


@dataclass(frozen=True)
class Ensembles:
    """Ensembles as networks see them; the members stay as they were passed until they are read."""

    moments: Moments
    scaling: Scaling
    members: Float[np.ndarray, "n M D"] | None = None
    """In the units of the data, for encoders that read them; None for others"""
    chosen: Bool[np.ndarray, "n M"] | None = None
    """Which members to see, where not all"""
    context: Float[np.ndarray, "n C"] | None = None

    @property
    def n_samples(self) -> int:
        """Number of ensembles n."""
        return self.moments.n_samples

    @property
    def width(self) -> int:
        """Numbers that are read of an ensemble, about."""
        if self.members is None:
            return self.moments.n_features**2
        return int(np.prod(self.members.shape[1:]))

    def take(self, index: Int[np.ndarray, "b"]) -> "Ensembles":
        """Return the ensembles that ``index`` selects."""
        some = [None if part is None else part[index] for part in (self.members, self.chosen, self.context)]
        return Ensembles(self.moments.take(index), self.scaling, *some)

    def inputs(self, n: int | None = None) -> EncoderInputs:
        """Return what an encoder reads, ensembles first, filled up to n."""
        n = bucket(self.n_samples) if n is None else n
        moments = padded(self.moments, n)
        dtype = moments.mean.dtype
        extra = [(0, n - self.n_samples)]
        members = present = context = None
        if self.members is not None:
            shown = np.asarray(presence(self.members))
            shown = shown if self.chosen is None else shown & self.chosen
            scaled = (self.members - self.scaling.centre) / self.scaling.scale
            scaled = np.where(shown[..., None], scaled, 0).astype(dtype)
            members = np.pad(scaled, [*extra, (0, 0), (0, 0)])
            present = np.pad(shown, [*extra, (0, 0)], constant_values=True)
        if self.context is not None:
            context = np.pad(self.context, [*extra, (0, 0)])
        return EncoderInputs(
            np.asarray(moments.counts),
            np.ascontiguousarray(np.asarray(moments.mean).T),
            np.ascontiguousarray((moments.scatter.packed(moments.n_features) / moments.counts).T),
            members,
            present,
            context,
        )

    def batch(self, target: Float[np.ndarray, "K n"], n: int | None = None) -> Batch:
        """Return the ensembles as one batch, filled up to n."""
        n = even_size(self.n_samples) if n is None else n
        target = np.pad(target, [(0, 0), (0, n - self.n_samples)])
        return Batch(self.inputs(n), padded(self.moments, n), target)

    def of_all_processes(self) -> "Ensembles":
        """Return the ensembles of all processes, one after the other."""
        some = (gathered(part, 0) for part in (self.members, self.chosen, self.context))
        return Ensembles(gathered(self.moments, -1), self.scaling, *some)

    def blocks(self) -> Iterator["Ensembles"]:
        """Go through all ensembles, so many at a time that what is computed of them fits."""
        size = max(READ_VALUES // (64 * self.width), 1024)
        if self.n_samples <= size:
            yield self
            return
        for first in range(0, self.n_samples, size):
            yield self.take(np.arange(first, min(first + size, self.n_samples)))


def random_subset(
    ensembles: Ensembles, members: Float[np.ndarray, "n M D"], rng: np.random.Generator
) -> Ensembles:
    """Return the same ensembles with a random subset of each one's members, of 1 to M_i of them.

    Parameters
    ----------
    ensembles : Ensembles
    members : ndarray, shape (n, M, D)
        Their members, also where the encoder reads none.
    rng : Generator
    """
    n, M, D = members.shape
    chosen, parts = np.empty((n, M), bool), []
    size = max(READ_VALUES // (M * D), 1)
    weights, dtype = np.asarray(ensembles.moments.weights), ensembles.moments.mean.dtype
    for first in range(0, n, size):
        some = np.asarray(members[first : first + size])
        present = np.asarray(presence(some))
        order = np.where(present, rng.random(present.shape), np.inf).argsort(axis=1).argsort(axis=1)
        keep = order < rng.integers(1, present.sum(axis=1) + 1)[:, None]
        chosen[first : first + size] = keep
        seen = np.where(keep[..., None], some, np.nan)
        own = weights[first : first + size]
        parts.append(moments_of(seen, own, ensembles.scaling, dtype, type(ensembles.moments.scatter)))
    moments = joined(parts)
    return replace(ensembles, moments=moments, chosen=None if ensembles.members is None else chosen)


def stacked(batches: list[Batch]) -> Batch:
    """Return batches of one size along a new first axis."""
    import jax

    def join(*parts: Any) -> np.ndarray:
        return np.stack(parts)

    return jax.tree.map(join, *batches)
