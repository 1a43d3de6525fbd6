"""What the processes of one fit tell each other: each has a part of the ensembles, and all run alike.

Every call here is made by all processes, in the same order. Where there is one process, or none of
``degmm.devices`` is in force, each returns what it is given.
"""

import pickle
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from jaxtyping import Int

from degmm.sharding import n_processes
from degmm.shortage import shortage_told


class ElsewhereError(ValueError):
    """What went wrong in another process."""


class _Failure(NamedTuple):
    message: str


def exchanged(value: Any) -> list[Any]:
    """Return the values of all processes, in their order.

    Raises
    ------
    ElsewhereError
        If another process has failed in the meantime.
    """
    if n_processes() == 1:
        return [value]
    # Bytes, since JAX would round float64 where its precision is float32; pickled by this very program.
    data = np.frombuffer(pickle.dumps(value), np.uint8)
    lengths = _allgather(np.array([data.size], np.int32))[:, 0]
    rows = _allgather(np.pad(data, (0, lengths.max() - data.size)))
    found = [pickle.loads(row[:length].tobytes()) for row, length in zip(rows, lengths, strict=True)]
    for process, other in enumerate(found):
        if isinstance(other, _Failure) and not isinstance(value, _Failure):
            raise ElsewhereError(f"process {process} has stopped: {other.message}")
    return found


def _allgather(array: np.ndarray) -> np.ndarray:
    from jax.experimental.multihost_utils import process_allgather

    return np.asarray(process_allgather(array))


def together(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method so that bad input to one process is an error in all, and none waits for ever.

    Of memory that runs out it says what to do.
    """

    @wraps(fit)
    def in_step(self: Any, *arguments: Any, **named: Any) -> Any:
        with shortage_told():
            if n_processes() == 1:
                return fit(self, *arguments, **named)
            try:
                result = fit(self, *arguments, **named)
            except ElsewhereError:
                raise
            except (ValueError, TypeError) as error:
                exchanged(_Failure(str(error)))
                raise
            exchanged(None)
            return result

    return in_step


def total(tree: Any) -> Any:
    """Return sums over the processes."""
    found = exchanged(tree)
    return tree if len(found) == 1 else jax.tree.map(lambda *parts: sum(parts[1:], parts[0]), *found)


def largest(number: int) -> int:
    """Return the largest of the processes' numbers."""
    return max(exchanged(number))


def gathered(tree: Any, axis: int) -> Any:
    """Return arrays laid end to end, in the order of the processes."""
    found = exchanged(tree)
    return tree if len(found) == 1 else jax.tree.map(lambda *parts: np.concatenate(parts, axis), *found)


def from_first(value: Any) -> Any:
    """Return the first process's value: what all must agree on, to the last digit."""
    return exchanged(value)[0]


class Places(NamedTuple):
    """Where this process's ensembles stand among those of all."""

    counts: list[int]
    """Number of ensembles of each process"""
    first: int

    @classmethod
    def of(cls, n: int) -> Self:
        """Return the places of this process's n ensembles."""
        counts = exchanged(n)
        return cls(counts, sum(counts[: jax.process_index()]) if len(counts) > 1 else 0)

    @property
    def total(self) -> int:
        """Number of ensembles of all processes."""
        return sum(self.counts)

    def own(self, places: Int[np.ndarray, "m"]) -> Int[np.ndarray, "m_own"]:
        """Return those of the places that are this process's, counted from its first ensemble."""
        if len(self.counts) == 1:
            return places
        last = self.first + self.counts[jax.process_index()]
        return places[(places >= self.first) & (places < last)] - self.first

    def most(self, places: Int[np.ndarray, "sets m"]) -> int:
        """Return the largest number of a set's places that fall to one process."""
        process = np.searchsorted(np.cumsum(self.counts), places, side="right")
        return max(int((process == i).sum(axis=1).max()) for i in range(len(self.counts)))


def sample_of_all(n: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray | None, int]:
    """Draw some of the ensembles of all processes.

    Parameters
    ----------
    n : int
        Number of this process's ensembles.
    size : int
        Number to draw at most.
    rng : Generator
        In the same state in every process.

    Returns
    -------
    chosen : ndarray of int or None
        Those drawn of this process's, in their order; None for all that it has.
    whole : int
        The number of ensembles of all processes.
    """
    places = Places.of(n)
    if places.total <= size:
        return None, places.total
    return places.own(np.sort(rng.choice(places.total, size, replace=False))), places.total


def check_alike(what: dict[str, Any]) -> None:
    """See that named facts are the same in all processes.

    Raises
    ------
    ValueError
        If one is not.
    """
    for name, values in ((name, exchanged(value)) for name, value in what.items()):
        if any(value != values[0] for value in values):
            said = ", ".join(f"{value!r} in process {i}" for i, value in enumerate(values))
            raise ElsewhereError(f"{name}: expected the same in all processes, got {said}")


def need_one_process(what: str, instead: str) -> None:
    """Raise ValueError where several processes fit together and ``what`` cannot be had from parts."""
    if n_processes() > 1:
        raise ValueError(f"{what}: not with the ensembles spread over processes; {instead}")
