"""The search for the best optimum: many short runs of EM, the best continued, and moves away from it."""

from dataclasses import dataclass, replace
from typing import Any, Self

import jax
import numpy as np

from degmm.choices import find
from degmm.families.base import Family, Limits, MixtureParameters
from degmm.families.covariance import WIDE_FEATURES, at_floor
from degmm.inference.blocks import into_blocks
from degmm.inference.em import CONVERGED, EM_SPECS, NON_FINITE, EMState, run_em
from degmm.inference.large import LargeMoments, run_em_in_passes
from degmm.inference.mixture import evaluate
from degmm.inference.moves import split_and_merge
from degmm.inference.reduced import directions_of, least_share, reduced, reduced_family
from degmm.inference.solution import Result, Solution
from degmm.inference.starts import (
    START_METHODS,
    parameters_from_labels,
    parameters_from_responsibilities,
    starting_labels,
)
from degmm.moments import Moments, padded
from degmm.processes import from_first, gathered, largest, sample_of_all, total
from degmm.sharding import alone, n_local, on_devices

EMPTY = 0.1
"""A component that has less of the ensembles than this part of one is empty."""
SIDE_BY_SIDE = 8
"""Runs of EM in one compiled loop, and short runs that are continued."""
SHORT_ITERATIONS, REDUCED_SHORT_ITERATIONS = 10, 8
"""M-steps of a short run, in all directions and in few."""
SEARCH_SAMPLE = 8192
"""Starts are compared on at most this many ensembles …"""
REDUCED_SAMPLE, REDUCED_SHARE, REDUCED_ITERATIONS = 1024, 256, 40
"""… of so many, or so many for each component, and run for so many M-steps at most, where they are in few
directions."""
SEARCH_ITERATIONS = 300
"""M-steps at most of a run that is continued on a sample only."""
MOVE_ITERATIONS = 40
"""M-steps at most after a split and a merge, before it is kept or dropped."""
MOVE_ROUNDS = 8
"""Most splits and merges that are kept."""
UNSOUND = (Result.AT_FLOOR, Result.NON_FINITE)
"""Ends of a run that another start may avoid"""
LONGEST_HISTORY = 2**16
"""Iterations beyond this many leave no trace in the history."""


@dataclass(frozen=True)
class EMSettings:
    """What a fit by EM needs beside the data and the family."""

    n_components: int
    n_init: int
    method: str
    tol: float
    max_iter: int
    reg_covar: float
    min_weight: float | None = None
    """Smallest weight of a component; None for a tenth of one ensemble's"""
    least_share: float = 0.0
    """Runs with a component of a smaller weight are passed over as those at the floor are"""
    short: int = SHORT_ITERATIONS
    """M-steps of a short run"""

    @classmethod
    def checked(cls, *, method: str, **settings: Any) -> Self:
        """Return settings if there is a way to start named ``method``, and raise ValueError if not."""
        find("init_params", method, START_METHODS)
        return cls(method=method, **settings)

    def limits(self, moments: Moments | LargeMoments) -> Limits:
        """Return the bounds of the M-step; by default a component may be as small as one ensemble."""
        dtype = moments.dtype
        size, n = total((moments.total_weight, moments.n_samples))
        smallest = EMPTY / max(size, n, self.n_components) if self.min_weight is None else self.min_weight
        return Limits(np.asarray(self.reg_covar, dtype), np.asarray(smallest, dtype))


def search_em(
    family: Family, moments: Moments | LargeMoments, settings: EMSettings, rng: np.random.Generator
) -> Solution:
    """Fit by EM from ``settings.n_init`` starts.

    The winner of the search on a sample is continued on all ensembles, if there are more of them. Of many
    variables the search goes in few directions, and only its winner is run in all.
    """
    sample, whole = _sample(moments, rng)
    if moments.n_features <= WIDE_FEATURES:
        solution = _searched(family, sample, settings, rng, None if whole else SEARCH_ITERATIONS)
        return solution if whole else _continued(family, solution, moments, settings)
    start = _start_in_few_directions(family, sample, settings, rng)
    solution = best_run(family, start, moments, settings)
    if solution.result in UNSOUND and _may_avoid_floor(family, sample, settings):
        # all directions tell which starts do
        fewer = replace(settings, n_init=min(settings.n_init, SIDE_BY_SIDE))
        other = _searched(family, sample, fewer, rng, None if whole else SEARCH_ITERATIONS)
        other = other if whole else _continued(family, other, moments, settings)
        solution = solution if other.result in UNSOUND else other
    return solution


def _may_avoid_floor(family: Family, sample: Moments, settings: EMSettings) -> bool:
    """Return whether a single component of all ensembles is above the floor: if not, one of K never is."""
    with alone():
        one = np.ones((1, sample.n_samples), sample.dtype)
        parameters = parameters_from_responsibilities(family, one, sample, settings.limits(sample))
    return not at_floor(parameters.within[0], settings.reg_covar, family.covariance).any()


def search_on_sample(
    family: Family, moments: Moments | LargeMoments, settings: EMSettings, rng: np.random.Generator
) -> Solution:
    """Return the best solution on at most ``SEARCH_SAMPLE`` ensembles."""
    sample, whole = _sample(moments, rng)
    most = None if whole else SEARCH_ITERATIONS
    if moments.n_features <= WIDE_FEATURES:
        return _searched(family, sample, settings, rng, most)
    start = _start_in_few_directions(family, sample, settings, rng)
    with alone():
        return from_first(best_run(family, start, sample, settings, max_iter=most))


def _continued(
    family: Family, solution: Solution, moments: Moments | LargeMoments, settings: EMSettings
) -> Solution:
    winner = jax.tree.map(lambda part: part[None], solution.parameters)
    return best_run(family, winner, moments, settings)


def _searched(
    family: Family,
    sample: Moments,
    settings: EMSettings,
    rng: np.random.Generator,
    most: int | None,
    judge: Moments | None = None,
) -> Solution:
    """Return the best solution on a sample, of runs of ``most`` M-steps; None for the user's own limit.

    Every start is run for a few M-steps, the best few of them to convergence; the best of these is
    improved by splits and merges while they help: on the ensembles of ``judge``, if those are more. All this
    is done on one device, and in each of several processes alike.
    """
    with alone():
        best = short_runs(family, sample, settings, rng)
        limit = settings.max_iter if most is None else min(settings.max_iter, most)
        solution = best_run(family, best, sample, settings, max_iter=limit)
        solution = _moved(family, solution, sample, settings, limit, judge)
    return from_first(solution)


def _start_in_few_directions(
    family: Family, sample: Moments, settings: EMSettings, rng: np.random.Generator
) -> MixtureParameters:
    """Return one start (first axis): the clusters that a search finds where ensembles vary most."""
    with alone():
        few = reduced(sample, directions_of(sample, settings.n_components))
        n = few.n_samples
        some = few
        size = max(REDUCED_SAMPLE, REDUCED_SHARE * settings.n_components)
        if n > size:
            some = few.take(np.sort(rng.choice(n, size, replace=False)))
        plain = reduced_family(family)
        enough = replace(settings, least_share=least_share(family, sample), short=REDUCED_SHORT_ITERATIONS)
        found = _searched(plain, some, enough, rng, REDUCED_ITERATIONS, None if some is few else few)
        responsibilities = evaluate(plain, found.parameters, few)[1]
        limits = settings.limits(sample)
        return from_first(parameters_from_responsibilities(family, responsibilities, sample, limits))


def short_runs(
    family: Family, moments: Moments, settings: EMSettings, rng: np.random.Generator
) -> MixtureParameters:
    """Return the parameters of the best short runs (first axis), the best one first."""
    K = settings.n_components
    labels = starting_labels(settings.method, moments, K, settings.n_init, rng)
    side_by_side = min(SIDE_BY_SIDE, settings.n_init)
    limits, blocks = settings.limits(moments), into_blocks(moments, K)
    found = []
    for first in range(0, settings.n_init, side_by_side):
        # The last group is filled up with starts of the first: one shape, hence one compilation.
        group = np.take(labels, range(first, first + side_by_side), axis=0, mode="wrap")
        starts = parameters_from_labels(family, K, group, blocks, limits)
        state = _run(family, starts, blocks, limits, settings, min(settings.short, settings.max_iter))
        found.append((state.parameters, np.asarray(state.log_likelihood)))
    parameters, value = found[0]
    if len(found) > 1:
        parameters = jax.tree.map(lambda *parts: np.concatenate(parts), *(p for p, _ in found))
        value = np.concatenate([v for _, v in found])
    # without those that filled up the last group
    parameters = MixtureParameters(*(np.asarray(part)[: settings.n_init] for part in parameters))
    value = np.asarray(value)[: settings.n_init]
    order = _ranking(family, parameters, value, settings)[:side_by_side]
    return MixtureParameters(*(part[order] for part in parameters))


def best_run(
    family: Family,
    starts: MixtureParameters,
    moments: Moments | LargeMoments,
    settings: EMSettings,
    max_iter: int | None = None,
) -> Solution:
    """Run EM from each start to convergence and return the best solution."""
    max_iter = settings.max_iter if max_iter is None else max_iter
    limits = settings.limits(moments)
    blocks: Moments | LargeMoments = moments
    if isinstance(moments, Moments):
        moments = padded(moments, largest(moments.n_samples))
        blocks = into_blocks(moments, settings.n_components, n_local())
    state = _run(family, starts, blocks, limits, settings, max_iter)
    state = jax.tree.map(np.asarray, state)
    parameters = state.parameters
    values = np.asarray(state.log_likelihood, np.float64)
    k = _ranking(family, parameters, values, settings)[0]
    chosen = MixtureParameters(*(part[k] for part in parameters))
    n_iter = int(state.iteration[k])
    status = int(state.status[k])
    return Solution(
        parameters=chosen,
        log_likelihood=float(values[k]),
        n_iter=n_iter,
        history=np.asarray(state.history[k, : n_iter + 1], np.float64),
        result=_result(family, status, chosen, np.asarray(state.statistics.weight[k]), settings),
        converged=status == CONVERGED,
    )


def _moved(
    family: Family,
    solution: Solution,
    moments: Moments,
    settings: EMSettings,
    max_iter: int,
    judge: Moments | None,
) -> Solution:
    """Split and merge clusters while that raises the likelihood."""
    K, side_by_side = settings.n_components, min(SIDE_BY_SIDE, settings.n_init)
    if K < 3 or solution.result is Result.NON_FINITE:
        return solution
    limits, blocks = settings.limits(moments), into_blocks(moments, K)

    def value(found: Solution) -> float:
        if judge is None:
            return found.log_likelihood
        return float(np.asarray(judge.weights, np.float64) @ evaluate(family, found.parameters, judge)[0])

    least = max(settings.tol, 1e-6) * float(np.sum((moments if judge is None else judge).weights))
    best = value(solution)
    for _ in range(MOVE_ROUNDS):
        responsibilities = evaluate(family, solution.parameters, moments)[1]
        labels = split_and_merge(family, responsibilities, moments, blocks, limits, side_by_side)
        if not len(labels):
            break
        labels = np.take(labels, range(side_by_side), axis=0, mode="wrap")
        starts = parameters_from_labels(family, K, labels, blocks, limits)
        tried = best_run(family, starts, moments, settings, min(MOVE_ITERATIONS, max_iter))
        order = _ranking(
            family,
            MixtureParameters(*map(np.stack, zip(solution.parameters, tried.parameters, strict=True))),
            np.array([solution.log_likelihood, tried.log_likelihood]),
            settings,
        )
        if order[0] == 0 or value(tried) - best < least:
            break
        copies = jax.tree.map(lambda part: np.repeat(part[None], side_by_side, axis=0), tried.parameters)
        solution = best_run(family, copies, moments, settings, max_iter)
        best = value(solution)
    return solution


def _sample(moments: Moments | LargeMoments, rng: np.random.Generator) -> tuple[Moments, bool]:
    """Return at most ``SEARCH_SAMPLE`` ensembles of those of all processes, and whether these are all."""
    chosen, n = sample_of_all(moments.n_samples, SEARCH_SAMPLE, rng)
    if chosen is None and isinstance(moments, Moments):
        return gathered(moments, -1), True
    chosen = np.arange(n) if chosen is None else chosen
    return gathered(moments.take(chosen), -1), n <= SEARCH_SAMPLE


def _run(
    family: Family,
    starts: MixtureParameters,
    blocks: Moments | LargeMoments,
    limits: Limits,
    settings: EMSettings,
    max_iter: int,
) -> EMState:
    # The length of the history is the only size that depends on max_iter; it is rounded up.
    wanted = np.clip(settings.max_iter, 1023, LONGEST_HISTORY - 1)
    dtype = blocks.dtype
    arguments: tuple[Any, ...] = (
        family,
        starts,
        blocks,
        limits,
        np.asarray(settings.tol, dtype),
        np.asarray(min(max_iter, 2**31 - 2), np.int32),
        2 ** int(np.ceil(np.log2(wanted + 1))),
    )
    if isinstance(blocks, Moments):
        return on_devices(run_em, arguments, EM_SPECS)
    return run_em_in_passes(*arguments)


def _ranking(
    family: Family, parameters: MixtureParameters, values: np.ndarray, settings: EMSettings
) -> np.ndarray:
    """Rank runs by log-likelihood, those with a component at the floor, or too small a one, last.

    The likelihood of a Gaussian mixture is unbounded: a component that shrinks on a few points
    raises it without limit. Such spurious optima are passed over (McLachlan & Peel 2000, §3.8),
    unless the data leave no other.
    """
    within = np.asarray(parameters.within)
    finite = np.isfinite(values) & np.isfinite(within.reshape(len(within), -1)).all(axis=1)
    floored = np.asarray(parameters.weights).min(axis=-1) < settings.least_share
    floored[finite] |= at_floor(within[finite], settings.reg_covar, family.covariance).any(axis=-1)
    return np.lexsort((-np.where(finite, values, -np.inf), floored, ~finite))


def _result(
    family: Family, status: int, parameters: MixtureParameters, mass: np.ndarray, settings: EMSettings
) -> Result:
    if status == NON_FINITE:
        return Result.NON_FINITE
    if at_floor(parameters.within, settings.reg_covar, family.covariance).any():
        return Result.AT_FLOOR
    if (mass <= 1.001 * EMPTY).any():
        return Result.EMPTY_COMPONENT
    if status == CONVERGED:
        return Result.CONVERGED
    return Result.COMPLETED if settings.tol == 0 else Result.MAX_ITERATIONS
