"""Moments of ensembles that come in blocks, for a fit by EM."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Int

from degmm.capacity import check_capacity
from degmm.ensembles import Ensemble, labelled
from degmm.ensembles.arrays import doubles_of
from degmm.ensembles.blocks import Block, Blocks, ChunkedBlocks, read
from degmm.ensembles.matching import of_cases
from degmm.estimators.checks import check_devices, check_dtype, check_weights
from degmm.estimators.labels import matched
from degmm.families import Family
from degmm.inference.cluster import active_client
from degmm.inference.large import LargeMoments, PagedMoments
from degmm.merging import BlockMoments, Summary, block_moments
from degmm.moments import Moments
from degmm.processes import need_one_process
from degmm.scaling import Scaling
from degmm.scatter import Form, Triangle, Variances, form_for
from degmm.spill import NO_BLOCKS, Gathered
from degmm.threads import cores

if TYPE_CHECKING:
    from degmm.estimators.em import EGMM


class StreamedData(NamedTuple):
    """What a fit to blocks works on, as ``TrainingData`` is for an array."""

    X: Any
    """The first block, for the names of its variables"""
    n_features: int
    projection: None
    moments: Moments | LargeMoments
    """Of all ensembles; where they are large, of those of positive weight"""
    weighted: Moments | LargeMoments
    scaling: Scaling
    unit: float
    family: Family
    summary: Summary
    order: Int[np.ndarray, "n"] | None
    """Places of the ensembles of ``moments`` in X, where they are not in their order"""

    @property
    def n_members(self) -> int:
        """Members of an ensemble, absent ones counted: the most that a block has."""
        return self.summary.n_members

    @property
    def mass(self) -> float:
        """Σ w M, in the unit of the weights."""
        return self.summary.totals.mass / self.unit


class Seen(NamedTuple):
    """What the first block says of all."""

    X: Any
    dtype: np.dtype
    n_members: int
    n_features: int
    form: Form
    """That of the scatters of all blocks"""


def streamed_data(model: "EGMM", blocks: Blocks | ChunkedBlocks, sample_weight: Any) -> StreamedData:
    """Read blocks once, and return their moments in standard units.

    They are here, in memory or in a file; for chunks, where a Dask client is at work, with its workers.
    """
    need_one_process("X: blocks of ensembles", "pass each process its own ensembles as an array")
    sizes = blocks.sizes if isinstance(blocks, ChunkedBlocks) else None
    if sizes is None and type(sample_weight).__module__.startswith("xarray."):
        raise ValueError(
            "sample_weight: its labels cannot be matched to blocks; pass its values, in their order"
        )
    matched = of_cases(blocks, sample_weight, "sample_weight", of_variables=False)
    given = given_weights(matched, sizes)
    client = active_client() if isinstance(blocks, ChunkedBlocks) else None
    if isinstance(blocks, ChunkedBlocks) and client is not None:
        from degmm.estimators.clustered import clustered_data

        return clustered_data(client, model, blocks, given)
    gathered, places, n = Gathered(), [], 0
    first: Seen | None = None
    for part, where, seen in blocks_moments(model, blocks, given):
        first = seen if first is None else first
        size = part.moments.n_samples
        gathered.add(part)
        places.append(slice(n, n + size) if where is None else where)
        n += size
    if first is None or gathered.summary is None:
        raise ValueError(NO_BLOCKS)
    if given is not None and len(given) != n:
        raise ValueError(f"sample_weight: {len(given)} weights for the {n} ensembles of all blocks")
    check_enough(gathered.summary, n, model.n_components)
    common = model._family().covariance.common_scale
    moments, scaling = gathered.in_standard_units(common_scale=common)
    order = order_of(places)
    summary, unit = gathered.summary, gathered.summary.weight_unit
    if not isinstance(moments, Moments):
        large = PagedMoments(moments, summary.n_used, summary.weight / unit)
        family = model._family(np.array(summary.counts))
        return StreamedData(
            first.X, first.n_features, None, large, large, scaling, unit, family, summary, order
        )
    if order is not None:
        moments = moments.take(np.argsort(order))
    used = np.flatnonzero(moments.weights > 0)
    weighted = moments if used.size == n else moments.take(used)
    family = model._family(np.asarray(weighted.counts))
    return StreamedData(
        first.X, first.n_features, None, moments, weighted, scaling, unit, family, summary, None
    )


def blocks_moments(
    model: "EGMM", blocks: Blocks | ChunkedBlocks, given: np.ndarray | None
) -> Iterator[tuple[BlockMoments, slice | np.ndarray | None, Seen]]:
    """Yield the moments of all blocks in their order, their places, and what the first says of all."""

    def work(
        number: int, block: Block, first: Seen | None, start: int
    ) -> tuple[BlockMoments, slice | np.ndarray | None, Seen]:
        alike = isinstance(blocks, ChunkedBlocks)
        members, weights, seen = checked_block(model, read(block), first, given, start, alike=alike)
        return block_moments(members, weights, seen.dtype, number, seen.form), block.where, seen

    rest = enumerate(blocks)
    number, block = next(rest, (0, None))
    if block is None:
        return
    found = work(number, block, None, 0)
    yield found
    first, n = found[2], found[0].moments.n_samples
    if not isinstance(blocks, ChunkedBlocks):  # the user's iterable may not like to be called by threads
        for number, block in rest:
            found = work(number, block, first, n)
            n += found[0].moments.n_samples
            yield found
        return
    threads = cores()
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Any] = deque()
        try:
            for number, block in rest:
                ahead.append(pool.submit(work, number, block, first, 0))
                if len(ahead) > threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def checked_block(
    model: "EGMM",
    block: Block,
    first: Seen | None,
    given: np.ndarray | None,
    start: int,
    *,
    alike: bool,
) -> tuple[np.ndarray, np.ndarray, Seen]:
    """Return the members and weights of a block that fits those before it.

    ``alike`` says that all blocks have as many members an ensemble as the first.

    Raises
    ------
    ValueError
        If it does not, or has a member that a fit in memory would not take either.
    """
    X = labelled(block.X)
    if first is not None and isinstance(X, Ensemble) and isinstance(first.X, Ensemble):
        try:
            X = matched(X, list(first.X.variables), first.X.units, first.X.climatology)
        except ValueError as error:
            said = str(error).removeprefix("X: ").replace("the model was fitted to", "the first block has")
            raise ValueError(f"{block.called}: {said}") from error
    members = model._checked(X, name=block.called)
    if first is None:
        precision = check_dtype(model.dtype)
        M, D = members.shape[1:]
        diagonal = model._family().covariance.diagonal
        if alike or model._single_member:
            form = form_for(M, D, diagonal=diagonal)
        else:  # the next block may have more members
            form = Variances if diagonal else Triangle
        first = Seen(X, members.dtype if precision is None else precision, M, D, form)
        check_capacity(0, 1, D, model.n_components, model._family().covariance, first.dtype)
    if members.shape[2] != first.n_features:
        raise ValueError(
            f"{block.called}: D = {members.shape[2]} variables, and the first block has {first.n_features}"
        )
    n = len(members)
    if given is None:
        return members, check_weights(None, n, X, called=block.called), first
    weights = given[slice(start, start + n) if block.where is None else block.where]
    if len(weights) < n:
        raise ValueError(f"sample_weight: {len(given)} weights, and {block.called} goes beyond them")
    return members, weights, first


def given_weights(sample_weight: Any, sizes: tuple[int, ...] | None) -> np.ndarray | None:
    """Return the weights that a user gives, in the order of the ensembles."""
    if sample_weight is None:
        return None
    weights = doubles_of(sample_weight, "sample_weight")
    if sizes is not None and weights.shape == sizes:
        weights = weights.reshape(-1)
    if sizes is None and weights.ndim != 1:
        raise ValueError(f"sample_weight: expected one weight per ensemble, got shape {weights.shape}")
    n = len(weights) if sizes is None else int(np.prod(sizes))
    return check_weights(weights, n)


def check_enough(summary: Summary, n: int, n_components: int) -> None:
    """Raise an error if fewer ensembles have a weight above 0 than there are clusters."""
    if summary.n_used == 0:
        raise ValueError("sample_weight: every weight is zero; give at least one ensemble a positive weight")
    if summary.n_used < n_components:
        raise ValueError(
            f"X: {summary.n_used} ensembles of a weight above 0 (n_samples={n}) are too few for "
            f"{n_components} components; lower n_components"
        )
    check_devices(summary.n_used)


def order_of(places: list[slice | np.ndarray]) -> Int[np.ndarray, "n"] | None:
    """Return the places of all ensembles; None where they came in their order."""
    ends = 0
    for where in places:
        if not isinstance(where, slice) or where.start != ends:
            break
        ends = where.stop
    else:
        return None
    return np.concatenate([np.arange(w.start, w.stop) if isinstance(w, slice) else w for w in places])
