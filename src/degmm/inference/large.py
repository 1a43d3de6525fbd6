"""EM on moments that no array in memory holds: passes elsewhere, steps here."""

from collections.abc import Callable
from functools import partial, reduce
from itertools import accumulate
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from degmm.arrays import Array
from degmm.compilation import jit
from degmm.families.base import Factors, Family, Limits, MixtureParameters, Statistics
from degmm.inference.blocks import block_shape, values_of_a_pass
from degmm.inference.em import RUNNING, EMState, advanced
from degmm.inference.mixture import full_pass, log_joint
from degmm.moments import Moments, joined
from degmm.precision import precision_of
from degmm.spill import SpilledMoments
from degmm.threads import in_threads

Sums = tuple[Any, Statistics]
"""Log-likelihood of some ensembles, and their sums for the next M-step, in float64"""


class LargeMoments(Protocol):
    """Moments of the ensembles of a weight above 0, wherever they are."""

    n_samples: int
    n_features: int
    dtype: np.dtype
    total_weight: float

    def take(self, index: Int[np.ndarray, "s"]) -> Moments:
        """Return the moments of some ensembles, by ascending place."""
        ...

    def passes(self, family: Family, n_components: int) -> Callable[[Factors], Sums]:
        """Return what makes a pass over all of them, at any parameters."""
        ...

    def labels(self, family: Family, parameters: MixtureParameters) -> Int[np.ndarray, "n"] | None:
        """Return the most probable cluster of every ensemble, also of those of weight 0; None of too many."""
        ...


START_SAMPLE = 8192
"""Ensembles from whose clusters a start is made where there are too many"""


def some_of(moments: "Moments | LargeMoments") -> Moments:
    """Return moments themselves or, of large ones, those of some ensembles at equal distances."""
    if isinstance(moments, Moments):
        return moments
    n = moments.n_samples
    return moments.take(np.arange(0, n, max(1, n // START_SAMPLE)))


def run_em_in_passes(
    family: Family,
    starts: MixtureParameters,
    moments: LargeMoments,
    limits: Limits,
    tol: Float[np.ndarray, ""],
    max_iter: Int[np.ndarray, ""],
    capacity: int,
) -> EMState:
    """Run EM from one start as :func:`degmm.inference.em.run_em` does, in a loop around passes."""
    dtype = moments.dtype
    total_weight = np.asarray(moments.total_weight, dtype)
    pass_ = moments.passes(family, starts.weights.shape[1])
    factors = _factored(family, jax.tree.map(lambda part: np.asarray(part)[0], starts))
    state: EMState | None = None
    while state is None or (int(state.status) == RUNNING and int(state.iteration) < max_iter):
        if state is not None:
            factors = _stepped(family, state.statistics, state.factors, limits)
        value, statistics = jax.tree.map(partial(np.asarray, dtype=dtype), pass_(factors))
        if state is None:
            state = EMState(
                iteration=np.asarray(-1, np.int32),
                factors=factors,
                log_likelihood=np.asarray(-np.inf, dtype),
                statistics=statistics,
                history=np.full(capacity, np.nan, dtype),
                status=np.asarray(RUNNING, np.int32),
                resting=np.asarray(False),
            )
        state = _advanced(state, factors, value, statistics, total_weight, tol)
    return jax.tree.map(lambda part: np.asarray(part)[None], state)


_advanced = jit(advanced)


def factored(family: Family, parameters: MixtureParameters, dtype: Any) -> Factors:
    """Return the factors that all pages share: LAPACK works once a pass, and in one thread."""
    with precision_of(dtype):
        return _factored(family, parameters)


@partial(jit, static_argnums=0)
def _factored(family: Family, parameters: MixtureParameters) -> Factors:
    return family.factor(parameters)


@partial(jit, static_argnums=0)
def _stepped(family: Family, statistics: Statistics, factors: Factors, limits: Limits) -> Factors:
    return family.factor(family.m_step(statistics, factors, limits))


# --- pages ---------------------------------------------------------------------------------------


def page_sums(family: Family, shape: tuple[int, int], factors: Factors, page: Moments) -> Sums:
    """Return the sums of a page of as many ensembles as blocks of this shape hold."""
    with precision_of(page.dtype):
        found = _page_sums(family, shape, factors, page)
        return jax.tree.map(partial(np.asarray, dtype=np.float64), found)


@partial(jit, static_argnums=(0, 1))
def _page_sums(
    family: Family, shape: tuple[int, int], factors: Factors, page: Moments
) -> tuple[Float[Array, ""], Statistics]:
    # What has weight 0 must not count, wherever it lies.
    used = page.weights > 0
    mean, scatter = jax.tree.map(lambda part: jnp.where(used, part, 0), (page.mean, page.scatter))
    page = page._replace(mean=mean, scatter=scatter)
    blocks = jax.tree.map(lambda part: jnp.moveaxis(part.reshape(*part.shape[:-1], *shape), -2, 0), page)
    return full_pass(family, factors, blocks)


def page_labels(family: Family, factors: Factors, page: Moments) -> Int[np.ndarray, "n"]:
    """Return the clusters of the ensembles of a page, in as few bytes as hold their numbers."""
    with precision_of(page.dtype):
        return np.asarray(_page_labels(family, label_type(len(factors.parameters.weights)), factors, page))


@partial(jit, static_argnums=(0, 1))
def _page_labels(family: Family, dtype: np.dtype, factors: Factors, page: Moments) -> Int[Array, "n"]:
    return log_joint(family, factors, page).argmax(axis=0).astype(dtype)


def label_type(n_components: int) -> np.dtype:
    """Return the smallest type of integers with a sign that holds the numbers of K clusters."""
    return np.min_scalar_type(-n_components)


def added(one: Sums, other: Sums) -> Sums:
    """Return the sums of two sets of ensembles together."""
    return jax.tree.map(np.add, one, other)


class PagedMoments:
    """Moments in a file, gone through by several threads, each with one page in memory."""

    def __init__(self, spilled: SpilledMoments, n_samples: int, total_weight: float) -> None:
        self._spilled = spilled
        self.n_samples, self.total_weight = n_samples, total_weight
        self.n_features, self.dtype = spilled.n_features, spilled.dtype
        self._ends = np.array([*accumulate(len(spilled.used(k)) for k in range(spilled.n_pages))])

    def take(self, index: Int[np.ndarray, "s"]) -> Moments:
        """Return the moments of some ensembles, by ascending place."""
        parts = []
        pages = np.searchsorted(self._ends, index, side="right")
        for k in np.unique(pages):
            first = self._ends[k - 1] if k else 0
            used = self._spilled.used(k)
            parts.append(self._spilled.page(k).take(used[index[pages == k] - first]))
        return joined(parts)

    def passes(self, family: Family, n_components: int) -> Callable[[Factors], Sums]:
        """Return what makes a pass over all of them, at any parameters."""
        spilled = self._spilled
        values = values_of_a_pass(self.n_features, n_components, spilled.form, spilled.scatter_size)
        shape = block_shape(spilled.page_size, values)

        def pass_(factors: Factors) -> Sums:
            def one(k: int) -> Sums:
                return page_sums(family, shape, factors, self._spilled.page(k))

            # in their order, so that rounding is the same in every run
            return reduce(added, in_threads(one, self._spilled.n_pages))

        return pass_

    def labels(self, family: Family, parameters: MixtureParameters) -> Int[np.ndarray, "n"]:
        """Return the most probable cluster of every ensemble, also of those of weight 0."""
        factors = factored(family, parameters, self.dtype)

        def one(k: int) -> Int[np.ndarray, "n"]:
            return page_labels(family, factors, self._spilled.page(k))

        return np.concatenate([*in_threads(one, self._spilled.n_pages)])[: self._spilled.n_stored]
