"""Choosing the number of clusters: criteria of the fit, and the density of ensembles held out."""

import time
import warnings
from collections.abc import Iterable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing

from degmm.ensembles import as_members, labelled
from degmm.estimators.base import BaseMixture
from degmm.estimators.checks import check_components, check_weights, generator
from degmm.inference.solution import Result
from degmm.processes import need_one_process
from degmm.shortage import SHORT
from degmm.wording import counted

if TYPE_CHECKING:
    import pandas as pd

CRITERIA = {"bic": -1, "aic": -1, "icl": -1, "held_out": 1}
"""What is compared; −1 where less is better, 1 where more is"""


SHORTLY = ("n_init", "max_iter", "max_epochs")
"""Settings that are 1 in a fit which only shows whether there can be one"""


@dataclass(frozen=True, eq=False)
class Selection:
    """What :func:`select_components` returns."""

    table: "pd.DataFrame"
    """One row a number of components: log_likelihood (total), n_parameters, bic, aic, icl, held_out
    (mean log density of an ensemble held out, nats) with held_out_se, result (how the fit to all
    ensembles ended, a name in :class:`degmm.inference.solution.Result`), seconds"""
    best: dict[str, int]
    """The best number of components by ``bic``, ``aic``, ``icl`` and ``held_out``; a criterion that is
    finite for no number is left out"""
    models: dict[int, BaseMixture]
    """The model fitted to all ensembles, by number of components"""


def select_components(
    estimator: BaseMixture,
    X: Any,
    components: Iterable[int] = range(1, 9),
    *,
    cv: Any = 5,
    sample_weight: Any = None,
    n_jobs: int | None = -1,
) -> Selection:
    """Fit a mixture with several numbers of components and compare them.

    n ensembles, not n·M members, are the independent units of the criteria. Cases that follow each
    other in time are not independent: an integer ``cv`` cuts them into blocks of consecutive cases,
    as they are in X, so that neighbours are not on both sides (docs/selection.md).

    A fit that goes wrong does not warn: the column ``result`` of the table says how it ended.

    Parameters
    ----------
    estimator : GMM, EGMM, DGMM or DEGMM
        The settings of the fits; its own ``n_components`` is not used.
    X : Ensemble, xarray.DataArray or array-like, shape (n, M, D)
        Ensembles.
    components : iterable of int
        Numbers of components to compare.
    cv : int, splitter, iterable or None
        Cross-validation as in scikit-learn; None leaves ``held_out`` empty.
    sample_weight : array-like, shape (n,), optional
        Weights of the ensembles.
    n_jobs : int, optional
        Processes, as in joblib: each compares one number of components at a time; −1 for one per core.
        All is done in this process where there is one core or one number of components and, unless a
        positive number is given, on an accelerator, whose memory a process takes for itself.

    Returns
    -------
    Selection

    Raises
    ------
    TypeError
        If the estimator is none of this package.
    ValueError
        If the estimator is a DAGMM, ``components`` is empty or holds anything but integers of at least 1,
        ``cv`` does not fit the data, ``n_jobs`` is 0 or no integer, or a fit refuses its settings or X.
    """
    import pandas as pd
    from joblib import Parallel, delayed

    if not isinstance(estimator, BaseMixture):
        kind = f"the class {estimator.__name__}" if isinstance(estimator, type) else type(estimator).__name__
        raise TypeError(f"estimator: expected a GMM, EGMM, DGMM or DEGMM, got {kind}")
    if not estimator._densities_compare:
        raise ValueError(
            f"estimator: the densities of a {type(estimator).__name__} are those of its own codes, which no "
            "two fits share, so they cannot choose n_components; compare how well it finds known anomalies"
        )
    need_one_process("select_components", "call it in one process, outside degmm.devices")
    wanted = check_components(components)
    X = labelled(X)
    n = as_members(X).shape[0]
    weights = check_weights(sample_weight, n, X)
    if wanted[-1] > n:
        raise ValueError(
            f"components: {wanted[-1]} components are too many for {n} ensembles; leave them out"
        )
    folds = _folds(cv, n)
    for fold, (train, _) in enumerate(folds):
        left = int((weights[train] > 0).sum())
        if wanted[-1] > left:
            raise ValueError(
                f"components: {wanted[-1]} components are too many for the {counted(left, 'ensemble')} that "
                f"fold {fold} of cv leaves to fit; leave them out, or take more folds"
            )
    workers = _workers(n_jobs, len(wanted))
    seeds = generator(estimator.get_params()["random_state"]).integers(2**31 - 1, size=len(wanted))
    models = [
        clone(estimator).set_params(n_components=K, random_state=int(seed))
        for K, seed in zip(wanted, seeds, strict=True)
    ]
    # Processes, for fits in threads take turns (compilation/turns.py). The largest mixtures take longest
    # and go first.
    try:
        done = Parallel(n_jobs=workers, prefer="processes")(
            delayed(_compared)(model, X, weights, folds) for model in reversed(models)
        )
    except BrokenProcessPool as error:
        raise MemoryError(
            f"{SHORT}the system has ended one of {workers} processes, as it does where memory runs out; take "
            "fewer at once (n_jobs=1), fewer variables or covariance_type='diag'"
        ) from error
    fitted = {model.n_components: model for model, _ in reversed(done)}
    rows = {model.n_components: row for model, row in reversed(done)}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("n_components")
    return Selection(table, _best(table), fitted)


def _compared(
    model: BaseMixture, X: Any, weights: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[BaseMixture, dict[str, Any]]:
    """Return the model fitted to all ensembles, and its row of the table."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        _fitted(model, X, weights, "")
        held_out = []
        for fold, (train, test) in enumerate(folds):
            where = f" without fold {fold}, to {counted(len(train), 'ensemble')}"
            fitted = _fitted(clone(model), _safe_indexing(X, train), weights[train], where)
            broken = fitted.result_ is Result.NON_FINITE
            held_out.append(
                np.full(len(test), np.nan) if broken else fitted.score_samples(_safe_indexing(X, test))
            )
    broken = model.result_ is Result.NON_FINITE  # and says nothing of X: its row is empty
    return model, {
        "log_likelihood": np.nan if broken else model.log_likelihood_,
        "n_parameters": model.n_parameters_,
        **{
            name: np.nan if broken else getattr(model, name)(X, sample_weight=weights)
            for name in ("bic", "aic", "icl")
        },
        **_held_out(held_out, [weights[test] for _, test in folds]),
        "result": model.result_.name,
        "seconds": time.perf_counter() - start,
    }


def _fitted(model: BaseMixture, X: Any, weights: np.ndarray, where: str) -> BaseMixture:
    """Fit a model; where it cannot be fitted, say whether that is due to its number of components."""
    try:
        return model.fit(X, sample_weight=weights)
    except ValueError as error:
        K = model.n_components
        try:
            one = clone(model).set_params(n_components=1)
            one.set_params(**{name: 1 for name in SHORTLY if name in one.get_params()})
            one.fit(X, sample_weight=weights)
        except ValueError:  # nor can one alone
            if not where:
                raise error from None
            raise ValueError(f"cv: the fit{where}, failed: {error}") from error
        raise ValueError(f"components: K = {K} cannot be fitted{where}: {error}") from error


def _folds(cv: Any, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the cases to train on and those to test on, fold by fold."""
    if cv is None:
        return []
    try:
        return list(check_cv(cv).split(np.zeros(n)))
    except ValueError as error:
        raise ValueError(f"cv: {error}") from error


def _workers(n_jobs: Any, n_fits: int) -> int:
    """Return the number of processes to use."""
    import jax
    from joblib import effective_n_jobs

    sound = n_jobs is None or (isinstance(n_jobs, Integral) and not isinstance(n_jobs, bool) and n_jobs != 0)
    if not sound:
        raise ValueError(
            f"n_jobs: expected a number of processes, −1 for one per core, or None; got {n_jobs!r}"
        )
    if jax.default_backend() != "cpu" and (n_jobs is None or n_jobs < 0):
        return 1
    return min(effective_n_jobs(n_jobs), n_fits)


def _best(table: "pd.DataFrame") -> dict[str, int]:
    """Return the number of components, the smallest of equals, at which each criterion is best."""
    components = table.index.to_numpy(int)
    best = {}
    for name, sign in CRITERIA.items():
        values = sign * table[name].to_numpy(float)
        if not np.isnan(values).all():
            best[name] = int(components[np.nanargmax(values)])
    return best


def _held_out(scores: list[np.ndarray], weights: list[np.ndarray]) -> dict[str, float]:
    """Return the weighted mean of the held-out log densities, and its standard error over the folds."""
    if not scores:
        return {"held_out": np.nan, "held_out_se": np.nan}
    sums = np.array([s.astype(np.float64) @ w for s, w in zip(scores, weights, strict=True)])
    totals = np.array([w.sum() for w in weights])
    sums, totals = sums[totals > 0], totals[totals > 0]  # a fold of weight 0 says nothing
    mean = sums.sum() / totals.sum()
    if len(sums) == 1:
        return {"held_out": mean, "held_out_se": np.nan}
    spread = (sums / totals).std(ddof=1)
    return {"held_out": mean, "held_out_se": spread / np.sqrt(len(sums))}
