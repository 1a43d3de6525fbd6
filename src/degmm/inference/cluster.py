"""EM on moments that the workers of a Dask cluster keep: one map and one tree reduction a pass."""

import asyncio
import concurrent.futures
import sys
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from degmm.families.base import Factors, Family, MixtureParameters
from degmm.inference.blocks import block_shape, values_of_a_pass
from degmm.inference.large import Sums, added, factored, page_labels, page_sums
from degmm.merging import BlockMoments, in_standard_units
from degmm.moments import Moments, joined, padded
from degmm.scaling import Scaling

FAN_IN = 8
"""Results that one task of a reduction puts together."""
PAGE_BYTES = 2**26
"""Moments that a task of a pass goes through take about this much at most …"""
PAGES_A_THREAD = 4
"""… and there are about so many such tasks for each thread of the workers, if there are enough blocks."""
ALIVE = ("running", "connecting", "newly-connected")
"""What a client is while its scheduler is there, or may come back"""
PATIENCE = 5.0
"""Seconds after which a client that waits for a result sees whether there still is a scheduler."""
MOST_LABELS = 2**28
"""Clusters of more ensembles are not brought to the client."""


def active_client() -> Any:
    """Return the ``distributed.Client`` at work in this process, if there is one."""
    distributed = sys.modules.get("distributed")  # whoever has a client has imported it
    if distributed is None:
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


class KilledBlockError(RuntimeError):
    """A task has cost several workers their lives."""


class Page(NamedTuple):
    """Moments of consecutive blocks in standard units, filled up with ensembles of weight 0."""

    shape: tuple[int, int]
    """Numbers of blocks of a pass, and of ensembles in each"""
    n_stored: int
    """Number of ensembles, without those it is filled up with"""
    moments: Moments


def page_groups(sizes: Sequence[int], values: int, dtype: Any, n_threads: int) -> list[slice]:
    """Return which consecutive blocks share a page: a pass has a task for each page.

    So few that the scheduler keeps up, and so many that all threads have their share. ``values`` are those of
    an ensemble's moments.
    """
    most = PAGE_BYTES // (values * np.dtype(dtype).itemsize)
    most = max(1, min(most, sum(sizes) // (PAGES_A_THREAD * n_threads)))
    groups, start, held = [], 0, 0
    for k, size in enumerate(sizes):
        if k > start and held + size > most:
            groups.append(slice(start, k))
            start, held = k, 0
        held += size
    return [*groups, slice(start, len(sizes))]


def page_of(blocks: Sequence[BlockMoments], scaling: Scaling, unit: float, n_components: int) -> Page:
    """Return the moments of consecutive blocks as a pass over them wants them."""
    moved = [in_standard_units(b.moments, b.units, b.weight_unit, scaling, unit, b.number) for b in blocks]
    moments = joined(moved)
    form, size = type(moments.scatter), moments.scatter.values.shape[0]
    values = values_of_a_pass(moments.n_features, n_components, form, size)
    shape = block_shape(moments.n_samples, values)
    return Page(shape, moments.n_samples, padded(moments, shape[0] * shape[1]))


def sums_of(page: Page, family: Family, factors: Factors) -> Sums:
    """Return the sums of a page."""
    return page_sums(family, page.shape, factors, page.moments)


def taken(page: Page, places: Int[np.ndarray, "s"]) -> Moments:
    """Return the moments of some of the ensembles of a weight above 0."""
    return page.moments.take(np.flatnonzero(page.moments.weights > 0)[places])


def labels_of(page: Page, family: Family, factors: Factors) -> Int[np.ndarray, "n"]:
    """Return the clusters of the ensembles of a page."""
    return page_labels(family, factors, page.moments)[: page.n_stored]


class DaskMoments:
    """Moments of many ensembles with the workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
    pages : sequence of Delayed
        Of :class:`Page`, persisted.
    used : sequence of int
        Numbers of ensembles of a weight above 0 in each.
    n_stored : int
        Number of all ensembles.
    n_features : int
    dtype : float32 or float64
    total_weight : float
    """

    def __init__(
        self,
        client: Any,
        pages: Sequence[Any],
        used: Sequence[int],
        n_stored: int,
        n_features: int,
        dtype: Any,
        total_weight: float,
    ) -> None:
        self._client, self._pages, self._ends = client, pages, np.cumsum(used)
        self._n_stored = n_stored
        self.n_samples, self.n_features = int(self._ends[-1]), n_features
        self.dtype, self.total_weight = np.dtype(dtype), total_weight

    def take(self, index: Int[np.ndarray, "s"]) -> Moments:
        """Return the moments of some ensembles, by ascending place."""
        import dask

        pages = np.searchsorted(self._ends, index, side="right")
        some = dask.delayed(taken)
        parts = [
            some(self._pages[k], index[pages == k] - (self._ends[k - 1] if k else 0))
            for k in np.unique(pages)
        ]
        found = computed(self._client, dask.delayed(list)(parts))
        return joined(found)

    def passes(self, family: Family, n_components: int) -> Callable[[Factors], Sums]:
        """Return what makes a pass over all of them, at any parameters."""
        import dask

        def pass_(factors: Factors) -> Sums:
            # a numpy array each, which travels, and once for all tasks
            shared = dask.delayed((family, in_numpy(factors)), traverse=False)
            parts = [dask.delayed(sums_of)(page, shared[0], shared[1]) for page in self._pages]
            return computed(self._client, tree(parts, added))

        return pass_

    def labels(self, family: Family, parameters: MixtureParameters) -> Int[np.ndarray, "n"] | None:
        """Return the most probable cluster of every ensemble; None where there are too many."""
        import dask

        if self._n_stored > MOST_LABELS:
            return None
        one = dask.delayed(labels_of)
        factors = in_numpy(factored(family, parameters, self.dtype))
        parts = [one(page, family, factors) for page in self._pages]
        return np.concatenate(computed(self._client, dask.delayed(list)(parts)))


def in_numpy(factors: Factors) -> Factors:
    """Return factors as NumPy arrays."""
    import jax

    return jax.tree.map(np.asarray, factors)


def tree(parts: Sequence[Any], add: Callable[[Any, Any], Any]) -> Any:
    """Return delayed objects put together in pairs of neighbours, always in the same order."""
    import dask

    together = dask.delayed(_together)
    while len(parts) > 1:
        parts = [together(parts[k : k + FAN_IN], add) for k in range(0, len(parts), FAN_IN)]
    return parts[0]


def _together(parts: list[Any], add: Callable[[Any, Any], Any]) -> Any:
    return reduce(add, parts)


def computed(client: Any, delayed: Any) -> Any:
    """Return what a delayed object is, computed by the workers.

    Raises
    ------
    ConnectionError
        If the scheduler is lost.
    KilledBlockError
        If a task has cost several workers their lives.
    """
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    lost = (concurrent.futures.CancelledError, asyncio.CancelledError, CommClosedError)
    try:
        if client.status not in ALIVE:
            raise CommClosedError(f"the client is {client.status}")
        return _result(client, client.compute(delayed))
    except lost as error:
        raise ConnectionError(
            "the Dask scheduler was lost, and the fit with it; start a cluster and a client anew, and fit "
            f"again ({type(error).__name__})"
        ) from error
    except KilledWorker as error:
        raise KilledBlockError(
            "several Dask workers died of the same block; give them more memory, or the data smaller chunks "
            f"({error})"
        ) from error


def _result(client: Any, future: Any) -> Any:
    """Return a future's result; one that was sent off just before the scheduler was lost never ends."""
    from distributed.comm import CommClosedError

    while True:
        try:
            return future.result(timeout=PATIENCE)
        except TimeoutError:
            if future.done():  # the task's own error
                raise
            if client.status not in ALIVE:
                raise CommClosedError(f"the client is {client.status}") from None
