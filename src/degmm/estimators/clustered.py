"""Moments of chunked ensembles that the workers of a Dask cluster take and keep."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from degmm.ensembles.blocks import Block, ChunkedBlocks, unreadable
from degmm.estimators.streaming import Seen, StreamedData, check_enough, checked_block, order_of
from degmm.inference.cluster import DaskMoments, KilledBlockError, computed, page_groups, page_of, tree
from degmm.merging import BlockMoments, Summary, block_moments, merged, scaling_of
from degmm.scatter import rows_of

if TYPE_CHECKING:
    from degmm.estimators.em import EGMM


def clustered_data(
    client: Any, model: "EGMM", blocks: ChunkedBlocks, given: np.ndarray | None
) -> StreamedData:
    """Have the workers of a cluster read the blocks, and keep their moments in standard units."""
    import dask

    # The workers need no more of the model than what it checks members by.
    like: EGMM = type(model)(model.n_components, dtype=model.dtype, covariance_type=model.covariance_type)
    _, _, first = checked_block(like, Block(blocks.example(), None, "X"), None, None, 0, alike=True)
    unread = blocks.delayed()
    shared = dask.delayed((like, first), traverse=False)
    one = dask.delayed(_moments)
    parts = client.persist(
        [
            one(shared, block.X, None if given is None else given[block.where], block.called, number)
            for number, block in enumerate(unread)
        ]
    )
    try:
        summary: Summary = computed(client, tree([dask.delayed(_summary)(part) for part in parts], merged))
        sizes = computed(client, dask.delayed(list)([dask.delayed(_sizes)(part) for part in parts]))
    except (ConnectionError, KilledBlockError, MemoryError, ImportError):
        raise
    except Exception as error:  # by whatever reads such chunks, or what a fit in memory does not take either
        called = _failed(parts, unread)
        raise error if str(error).startswith(called) else unreadable(called, error) from error
    n = sum(size for size, _ in sizes)
    check_enough(summary, n, model.n_components)
    common = model._family().covariance.common_scale
    scaling, unit = scaling_of(summary, first.dtype, common_scale=common), summary.weight_unit
    put = dask.delayed(page_of)
    threads = max(1, sum(client.nthreads().values()))
    values = 2 + first.n_features + rows_of(first.form, first.n_members, first.n_features)
    groups = page_groups([size for size, _ in sizes], values, first.dtype, threads)
    pages = client.persist([put(parts[group], scaling, unit, model.n_components) for group in groups])
    large = DaskMoments(
        client,
        pages,
        [sum(used for _, used in sizes[group]) for group in groups],
        n,
        first.n_features,
        first.dtype,
        summary.weight / unit,
    )
    order = order_of([block.where for block in unread if block.where is not None])
    family = model._family(np.array(summary.counts))
    return StreamedData(first.X, first.n_features, None, large, large, scaling, unit, family, summary, order)


def _moments(
    shared: "tuple[EGMM, Seen]", X: Any, weights: np.ndarray | None, called: str, number: int
) -> BlockMoments:
    model, first = shared
    members, weights, seen = checked_block(model, Block(X, None, called), first, weights, 0, alike=True)
    return block_moments(members, weights, seen.dtype, number, seen.form)


def _summary(part: BlockMoments) -> Summary:
    return part.summary


def _sizes(part: BlockMoments) -> tuple[int, int]:
    return part.moments.n_samples, part.summary.n_used


def _failed(parts: Sequence[Any], blocks: Sequence[Block]) -> str:
    """Return what the first block is called that the workers could not read."""
    from distributed import futures_of

    states = [futures_of(part)[0].status for part in parts]
    return next((b.called for b, state in zip(blocks, states, strict=True) if state == "error"), "X")
