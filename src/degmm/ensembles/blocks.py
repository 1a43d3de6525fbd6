"""Ensembles that come block by block, because no memory need hold them all."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from degmm.ensembles.ensemble import Ensemble

BLOCK_BYTES = 2**26
"""Members of a chunked array are read in blocks of whole chunks that take about this much."""
MANY_LAYERS = 20
"""A Dask graph of more layers is put into one."""


class Block(NamedTuple):
    """Some of many ensembles."""

    X: Any
    """Array (n, M, D) or :class:`Ensemble`, or what returns one when called, or is computed to one by Dask"""
    where: slice | np.ndarray | None
    """Their places among all, where these are known before they are read"""
    called: str
    """What a message calls it"""


class Blocks(Protocol):
    """Ensembles in blocks."""

    def __iter__(self) -> Iterator[Block]:
        """Take one block after the other; those of chunks are unread, and returned when called."""
        ...


@runtime_checkable
class ChunkedBlocks(Protocol):
    """Ensembles in blocks whose places are known, and which can be read in any order and anywhere."""

    sizes: tuple[int, ...]
    """Sizes of the dimensions of the cases"""

    def __iter__(self) -> Iterator[Block]:
        """Return the blocks unread."""
        ...

    def delayed(self) -> list[Block]:
        """Return the blocks unread, each an object of ``dask.delayed``."""
        ...

    def example(self) -> Any:
        """Return one case of the sizes, type and names of all, its values made up."""
        ...

    def grid(self) -> tuple[list[dict[str, slice]], tuple[int, ...]]:
        """Return the places of all blocks along the dimensions of the cases, and how many along each."""
        ...


def as_blocks(X: Any) -> Blocks | ChunkedBlocks | None:
    """Return what a user passes as blocks, if it is no array in memory.

    Blocks are: an iterator or other iterable that is no array-like; a list or tuple of ensembles or of
    arrays (n, M, D), which no array-like is; a Dask array; a DataArray on one; a
    :class:`degmm.ensembles.chunked.ChunkedEnsemble`.
    """
    from degmm.ensembles.chunked import ChunkedEnsemble

    if isinstance(X, ChunkedEnsemble):
        return X
    if type(X).__module__.startswith("xarray."):
        chunked = type(X).__name__ == "DataArray" and X.chunks is not None
        return ChunkedEnsemble.of(X) if chunked else None
    if type(X).__module__.startswith("dask.array"):
        return DaskArrayBlocks(X)
    if isinstance(X, list | tuple):
        parts = [isinstance(x, Ensemble) or (isinstance(x, np.ndarray) and x.ndim == 3) for x in X]
        return IterableBlocks(X) if parts and all(parts) else None
    array_like = any(hasattr(X, name) for name in ("__array__", "__array_interface__", "shape", "columns"))
    if array_like or isinstance(X, str | bytes | Mapping | Sequence | set) or not isinstance(X, Iterable):
        return None
    return IterableBlocks(X)


def as_chunks(X: Any) -> ChunkedBlocks | None:
    """Return what a user passes as blocks that can be read in any order, if it is chunked."""
    blocks = as_blocks(X)
    return blocks if isinstance(blocks, ChunkedBlocks) else None


class IterableBlocks:
    """Blocks that an iterable of the user's gives; it is gone through once. Empty ones are left out."""

    def __init__(self, blocks: Iterable[Any]) -> None:
        self._blocks = blocks

    def __iter__(self) -> Iterator[Block]:
        """Take one block after the other."""
        for number, X in enumerate(self._blocks):
            if getattr(X, "shape", None) is None or X.shape[:1] != (0,):
                yield Block(X, None, f"X, block {number}")


class DaskArrayBlocks:
    """A Dask array (n, M, D), or (n, D), in blocks of whole chunks of ensembles."""

    def __init__(self, array: Any) -> None:
        if array.ndim not in (2, 3):
            raise ValueError(
                f"X: expected shape (n, M, D), or (n, D) for one member; got {array.ndim} dimensions"
            )
        if not all(size == size for chunks in array.chunks for size in chunks):  # NaN
            raise ValueError("X: a Dask array of chunks of unknown sizes; call compute_chunk_sizes() first")
        self._array = of_few_layers(array)
        self.sizes = (int(array.shape[0]),)

    def _parts(self) -> Iterator[tuple[Any, slice, str]]:
        row = int(np.prod(self._array.shape[1:])) * self._array.dtype.itemsize
        for part in grouped(self._array.chunks[0], max(1, BLOCK_BYTES // max(row, 1))):
            yield self._array[part], part, f"X, ensembles {part.start} to {part.stop - 1}"

    def __iter__(self) -> Iterator[Block]:
        """Return the blocks unread."""
        for part, where, called in self._parts():
            yield Block(partial(_first_of, part), where, called)

    def example(self) -> np.ndarray:
        """Return one case of the sizes and type of all, its values made up."""
        return np.zeros((1, *self._array.shape[1:]), self._array.dtype)

    def grid(self) -> tuple[list[dict[str, slice]], tuple[int, ...]]:
        """Return the places of all blocks, and how many there are."""
        places = [{"case": where} for _, where, _ in self._parts()]
        return places, (len(places),)

    def delayed(self) -> list[Block]:
        """Return the blocks unread, each an object of ``dask.delayed``."""
        import dask

        same = dask.delayed(np.asanyarray)  # the mask of a masked array counts
        return [Block(same(part), where, called) for part, where, called in self._parts()]


def computed(*arrays: Any) -> tuple[np.ndarray, ...]:
    """Return Dask arrays in memory, for whom only reads them: single chunks are not copied, as Dask would.

    They are read in this thread: several blocks are read at once, not the chunks of one.
    """
    import dask

    # Collections of two kinds are not returned in their order.
    single = all(array.npartitions == 1 for array in arrays)
    parts = [array.to_delayed().item() for array in arrays] if single else arrays
    return dask.compute(*parts, scheduler="synchronous")


def _first_of(array: Any) -> np.ndarray:
    return computed(array)[0]


def of_few_layers(collection: Any) -> Any:
    """Return a Dask collection with a graph of one layer, if it was of many.

    Each block carries the graph of the whole, of which its own tasks are cut out layer by layer.
    """
    import dask

    layers = getattr(collection.__dask_graph__(), "layers", ())
    return collection if len(layers) <= MANY_LAYERS else dask.optimize(collection)[0]


def grouped(chunks: Sequence[int], most: int) -> list[slice]:
    """Return consecutive chunks in groups of at most ``most`` elements, or of one chunk.

    Each group but the last is of the same number of chunks: what is made of equal chunks is equal.
    """
    each = max(1, most // max(chunks))
    ends = [0, *accumulate(chunks)]
    last = len(chunks)
    return [slice(ends[k], ends[min(k + each, last)]) for k in range(0, last, each)]


def read(block: Block) -> Block:
    """Return a block, read.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    if not callable(block.X):
        return block
    try:
        return block._replace(X=block.X())
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # whatever the program that reads such chunks raises
        raise unreadable(block.called, error) from error


def unreadable(called: str, error: BaseException) -> ValueError:
    """Return what is said of a block that cannot be read."""
    said = " ".join(str(error).split()).removeprefix("X: ")
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return ValueError(f"{called}: cannot be read ({kind}{said}); write its chunks again, or leave them out")
