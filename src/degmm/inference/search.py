"""The search for the best optimum: many short runs of EM, the best few continued, the best one kept."""

from dataclasses import dataclass
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from degmm.families.base import Family, Limits, MixtureParameters
from degmm.families.covariance import smallest_eigenvalues
from degmm.inference.em import CONVERGED, NON_FINITE, EMState, run_em
from degmm.inference.mixture import into_blocks
from degmm.inference.solution import Result, Solution
from degmm.inference.starts import START_METHODS, parameters_from_labels, starting_labels
from degmm.moments import Moments

SIDE_BY_SIDE = 8
"""Runs of EM in one compiled loop, and short runs that are continued."""
SHORT_ITERATIONS = 10
"""M-steps of a short run."""
SEARCH_SAMPLE = 8192
"""Starts are compared on at most this many ensembles."""
SEARCH_ITERATIONS = 300
"""M-steps at most of a run that is continued on a sample only."""


@dataclass(frozen=True)
class EMSettings:
    """What a fit by EM needs beside the data and the family."""

    n_components: int
    n_init: int
    method: str
    tol: float
    max_iter: int
    reg_covar: float

    @classmethod
    def checked(cls, *, method: str, **settings: Any) -> Self:
        """Return settings if there is a way to start named ``method``.

        Raises
        ------
        ValueError
            If there is none.
        """
        if method not in START_METHODS:
            raise ValueError(
                f"init_params: expected one of {', '.join(map(repr, START_METHODS))}; got {method!r}"
            )
        return cls(method=method, **settings)

    def limits(self, moments: Moments) -> Limits:
        """Return the bounds of the M-step; a component may be as small as one ensemble."""
        dtype = moments.mean.dtype
        smallest = 1 / max(moments.n_samples, self.n_components) / 10
        return Limits(np.asarray(self.reg_covar, dtype), np.asarray(smallest, dtype))


def search_em(family: Family, moments: Moments, settings: EMSettings, rng: np.random.Generator) -> Solution:
    """Fit by EM from ``settings.n_init`` starts.

    Every start is run for a few M-steps, the best few of them to convergence, and the best of
    these is kept. Where there are more ensembles than ``SEARCH_SAMPLE`` this is done on a random
    sample, and the winner is continued on all of them.
    """
    sample = _sample(moments, rng)
    best = short_runs(family, sample, settings, rng)
    if sample is moments:
        return best_run(family, best, moments, settings)
    limit = min(settings.max_iter, SEARCH_ITERATIONS)
    winner = best_run(family, best, sample, settings, max_iter=limit).parameters
    return best_run(family, jax.tree.map(lambda part: part[None], winner), moments, settings)


def short_runs(
    family: Family, moments: Moments, settings: EMSettings, rng: np.random.Generator
) -> MixtureParameters:
    """Return the parameters of the best short runs (first axis), the best one first."""
    K = settings.n_components
    moments = _sample(moments, rng)
    labels = starting_labels(settings.method, moments, K, settings.n_init, rng)
    side_by_side = min(SIDE_BY_SIDE, settings.n_init)
    limits, blocks = settings.limits(moments), into_blocks(moments, K)
    found = []
    for first in range(0, settings.n_init, side_by_side):
        # The last group is filled up with starts of the first: one shape, hence one compilation.
        group = np.take(labels, range(first, first + side_by_side), axis=0, mode="wrap")
        starts = parameters_from_labels(family, K, group, moments, limits)
        state = _run(family, starts, blocks, limits, settings, min(SHORT_ITERATIONS, settings.max_iter))
        found.append((state.parameters, np.asarray(state.log_likelihood)))
    if len(found) == 1:
        parameters, value = found[0]
    else:
        parameters = jax.tree.map(lambda *parts: np.concatenate(parts), *(p for p, _ in found))
        value = np.concatenate([v for _, v in found])
    parameters = MixtureParameters(*map(np.asarray, parameters))
    order = _ranking(parameters, value, settings.reg_covar)[:side_by_side]
    return MixtureParameters(*(part[order] for part in parameters))


def best_run(
    family: Family,
    starts: MixtureParameters,
    moments: Moments,
    settings: EMSettings,
    max_iter: int | None = None,
) -> Solution:
    """Run EM from each start to convergence and return the best solution."""
    max_iter = settings.max_iter if max_iter is None else max_iter
    blocks = into_blocks(moments, settings.n_components)
    state = _run(family, starts, blocks, settings.limits(moments), settings, max_iter)
    parameters = MixtureParameters(*map(np.asarray, state.parameters))
    values = np.asarray(state.log_likelihood, np.float64)
    k = _ranking(parameters, values, settings.reg_covar)[0]
    chosen = MixtureParameters(*(part[k] for part in parameters))
    n_iter = int(state.iteration[k])
    return Solution(
        parameters=chosen,
        log_likelihood=float(values[k]),
        n_iter=n_iter,
        history=np.asarray(state.history[k, : n_iter + 1], np.float64),
        result=_result(int(state.status[k]), chosen, settings),
    )


def _sample(moments: Moments, rng: np.random.Generator) -> Moments:
    n = moments.n_samples
    if n <= SEARCH_SAMPLE:
        return moments
    return moments.take(np.sort(rng.choice(n, SEARCH_SAMPLE, replace=False)))


def _run(
    family: Family,
    starts: MixtureParameters,
    blocks: Moments,
    limits: Limits,
    settings: EMSettings,
    max_iter: int,
) -> EMState:
    # The length of the history is the only size that depends on max_iter; it is rounded up.
    capacity = 2 ** int(np.ceil(np.log2(max(settings.max_iter, 1023) + 1)))
    dtype = blocks.mean.dtype
    return run_em(
        family,
        starts,
        blocks,
        limits,
        jnp.asarray(settings.tol, dtype),
        jnp.asarray(max_iter),
        capacity,
    )


def at_floor(parameters: MixtureParameters, reg_covar: float) -> np.ndarray:
    """Return whether a component's within-ensemble covariance sits at its floor."""
    smallest = smallest_eigenvalues(np.asarray(parameters.within))
    return np.any(smallest <= 1.001 * reg_covar, axis=-1)


def _ranking(parameters: MixtureParameters, values: np.ndarray, reg_covar: float) -> np.ndarray:
    """Rank runs by log-likelihood, those with a component at the floor last.

    The likelihood of a Gaussian mixture is unbounded: a component that shrinks on a few points
    raises it without limit. Such spurious optima are passed over (McLachlan & Peel 2000, §3.8),
    unless the data leave no other.
    """
    finite = np.isfinite(values) & np.isfinite(parameters.within).all(axis=(1, 2, 3))
    floored = np.ones(values.shape, bool)
    floored[finite] = at_floor(MixtureParameters(*(p[finite] for p in parameters)), reg_covar)
    return np.lexsort((-np.where(finite, values, -np.inf), floored, ~finite))


def _result(status: int, parameters: MixtureParameters, settings: EMSettings) -> Result:
    if status == NON_FINITE:
        return Result.NON_FINITE
    if at_floor(parameters, settings.reg_covar):
        return Result.AT_FLOOR
    if status == CONVERGED:
        return Result.CONVERGED
    return Result.COMPLETED if settings.tol == 0 else Result.MAX_ITERATIONS
