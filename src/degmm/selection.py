"""Choosing the number of clusters: criteria of the fit, and the density of ensembles held out."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils import Bunch

from degmm.ensembles import Ensemble, members_of
from degmm.estimators.base import BaseMixture
from degmm.estimators.checks import check_weights, generator

if TYPE_CHECKING:
    import pandas as pd

CRITERIA: dict[str, Callable[..., Any]] = {"bic": min, "aic": min, "icl": min, "held_out": max}
"""What is compared, and whether less or more is better."""


@dataclass(frozen=True, eq=False)
class Selection:
    """What :func:`select_components` returns."""

    table: "pd.DataFrame"
    """One row a number of components: log_likelihood (total), n_parameters, bic, aic, icl, held_out
    (mean log density of an ensemble held out, nats) with held_out_se, result, seconds"""
    best: dict[str, int]
    """The best number of components by ``bic``, ``aic``, ``icl`` and ``held_out``"""
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
        Fits side by side, as in joblib; −1 for one a core.

    Returns
    -------
    Selection

    Raises
    ------
    ValueError
        If ``components`` is empty or holds anything but integers of at least 1.
    """
    import pandas as pd
    from joblib import Parallel, delayed

    wanted = _checked_components(components)
    X = X if isinstance(X, Ensemble) else members_of(X)
    weights = check_weights(sample_weight, len(X))
    folds = [] if cv is None else list(check_cv(cv).split(np.zeros(len(X))))
    seeds = generator(estimator.get_params()["random_state"]).integers(2**31 - 1, size=len(wanted))

    def job(K: int, seed: int) -> Bunch:
        model = clone(estimator).set_params(n_components=K, random_state=int(seed))
        start = time.perf_counter()
        held_out = [
            clone(model).fit(X[train], sample_weight=weights[train]).score_samples(X[test])
            for train, test in folds
        ]
        model.fit(X, sample_weight=weights)
        row = {
            "log_likelihood": model.log_likelihood_,
            "n_parameters": model.n_parameters_,
            "bic": model.bic(X, sample_weight=weights),
            "aic": model.aic(X, sample_weight=weights),
            "icl": model.icl(X, sample_weight=weights),
            **_held_out(held_out, [weights[test] for _, test in folds]),
            "result": model.result_.name,
            "seconds": time.perf_counter() - start,
        }
        return Bunch(model=model, row=row)

    done = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(job)(K, seed) for K, seed in zip(wanted, seeds, strict=True)
    )
    rows = {K: one.row for K, one in zip(wanted, done, strict=True)}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("n_components")
    kept = [name for name in CRITERIA if folds or name != "held_out"]
    best = {name: CRITERIA[name]((row[name], K) for K, row in rows.items())[1] for name in kept}
    return Selection(table, best, {K: one.model for K, one in zip(wanted, done, strict=True)})


def _checked_components(components: Iterable[int]) -> list[int]:
    wanted = sorted(set(components))
    bad = [K for K in wanted if not isinstance(K, int | np.integer) or isinstance(K, bool) or K < 1]
    if bad or not wanted:
        raise ValueError(
            f"components: expected one or more integers of at least 1, got {bad[0] if bad else wanted!r}"
        )
    return [int(K) for K in wanted]


def _held_out(scores: list[np.ndarray], weights: list[np.ndarray]) -> dict[str, float]:
    """Return the weighted mean of the held-out log densities, and its standard error over the folds."""
    if not scores:
        return {"held_out": np.nan, "held_out_se": np.nan}
    sums = np.array([s.astype(np.float64) @ w for s, w in zip(scores, weights, strict=True)])
    totals = np.array([w.sum() for w in weights])
    mean = sums.sum() / totals.sum()
    spread = (sums / np.where(totals > 0, totals, 1)).std(ddof=1)
    return {"held_out": mean, "held_out_se": spread / np.sqrt(len(sums))}
