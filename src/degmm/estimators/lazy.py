"""What a model says of chunked ensembles: Dask's to compute, chunk by chunk, when it is wanted."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from degmm.ensembles.arrays import without_masks
from degmm.ensembles.blocks import ChunkedBlocks
from degmm.ensembles.chunked import ChunkedEnsemble
from degmm.ensembles.context import named_context
from degmm.ensembles.matching import of_cases
from degmm.results import chunked_array

LAZY = ("cluster", "responsibility", "log_density", "energy", "decision", "outlier")
"""Answers that are an array with a row a case"""
WHOLE_NUMBERS = ("cluster", "outlier")


def lazily(
    model: Any, method: str, blocks: ChunkedBlocks, name: str, over: Sequence[str], options: dict[str, Any]
) -> Any:
    """Return a model's answer for chunked ensembles, unread.

    Parameters
    ----------
    model : estimator
        Fitted.
    method : str
        Name of the method that gives the answer for ensembles in memory.
    blocks : ChunkedBlocks
        A chunk of the answer is what the method says of one of these blocks.
    name : str
        Name of the answer.
    over : sequence of str
        Its dimensions after those of the cases, which are of the clusters.
    options : dict
        What else the method is given; rows of a context go to their blocks.

    Returns
    -------
    DataArray on a Dask array, or a Dask array if the ensembles were one

    Raises
    ------
    ValueError
        If the model does not fit the ensembles' names and sizes, or the context. What only their values
        can tell is raised when they are read.
    """
    check_is_fitted(model)
    example = blocks.example()
    model._validated(example)
    _check_context(model, example, blocks, options.get("context"))
    dtype = np.dtype(np.int64 if name in WHOLE_NUMBERS else model._precision)
    tail = (model.n_components,) * len(over)
    whole = said_of(blocks, partial(_answer, method), model, options, tail, dtype)
    return chunked_array(blocks, whole, name, over) if isinstance(blocks, ChunkedEnsemble) else whole


def said_of(
    blocks: ChunkedBlocks,
    say: Callable[[Any, Any, dict[str, Any]], Any],
    model: Any,
    options: dict[str, Any],
    tail: tuple[int, ...],
    dtype: np.dtype,
) -> Any:
    """Return what is said of each block, put together as a Dask array of shape (*sizes of cases, *tail).

    Parameters
    ----------
    blocks : ChunkedBlocks
    say : callable
        Of a model, the ensembles of a block and options; importable, so that it can travel to workers.
    model : estimator
    options : dict
        If they have a ``context`` that is an array, each block is given its rows of it.
    tail : tuple of int
        Sizes of what is said of one ensemble.
    dtype : dtype
    """
    import dask
    import dask.array as da

    rows = _rows(blocks, options.get("context"))
    shared, one = dask.delayed(model, traverse=False), dask.delayed(_of_block)
    places, counts = blocks.grid()
    parts = np.empty(counts, object)
    for index, place, block in zip(np.ndindex(*counts), places, blocks.delayed(), strict=True):
        given = options if rows is None else {**options, "context": rows[block.where]}
        shape = (*(where.stop - where.start for where in place.values()), *tail)
        part = da.from_delayed(one(say, shared, block.X, given, shape, dtype, block.called), shape, dtype)
        for _ in tail:  # an axis that no blocks are put together along
            part = [part]
        parts[index] = part
    return da.block(parts.tolist())


def _answer(method: str, model: Any, X: Any, options: dict[str, Any]) -> Any:
    return getattr(model, method)(X, **options)


def _of_block(
    say: Callable[[Any, Any, dict[str, Any]], Any],
    model: Any,
    X: Any,
    options: dict[str, Any],
    shape: tuple[int, ...],
    dtype: np.dtype,
    called: str,
) -> np.ndarray:
    try:
        found = say(model, X, options)
    except ValueError as error:
        raise ValueError(f"{called}: {str(error).removeprefix('X: ')}") from error
    return np.asarray(found, dtype).reshape(shape)


def _check_context(model: Any, example: Any, blocks: ChunkedBlocks, context: Any) -> None:
    """Raise an error if a context is missing, or not of the model's columns: as seen in one row."""
    rows = _rows(blocks, context)
    one = model._context_of(example, context if rows is None else rows[:1])
    getattr(model, "_checked_context", model._log_prior)(one, 1)


def _rows(blocks: ChunkedBlocks, context: Any) -> np.ndarray | None:
    """Return a context that is given as an array, in the order of the cases."""
    if context is None or named_context(context) is not None:
        return None
    matched = of_cases(blocks, context, "context", of_variables=False)
    rows, n = np.asarray(without_masks(matched)), int(np.prod(blocks.sizes))
    if rows.ndim == 0 or len(rows) != n:
        raise ValueError(f"context: expected a row for each of {n} ensembles, got shape {rows.shape}")
    return rows
