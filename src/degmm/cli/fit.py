"""``degmm fit``: from a file to clusters, a model and pictures."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from degmm.cli.fit_picture import axis_names, draw_fit, draw_training, weight_of_members
from degmm.cli.flags import translated
from degmm.cli.inputs import MOST_SHOWN, Cases, make_model, read_cases, seen_by
from degmm.cli.options import DataOptions
from degmm.cli.regime_pictures import draw_fields, draw_regimes, fields_of, has_times
from degmm.cli.session import Session
from degmm.cli.tables import with_spreads
from degmm.cli.waiting import waiting
from degmm.ensembles import Ensemble
from degmm.files import write_bytes
from degmm.io import HEAD, save
from degmm.results import clusters_dataset, netcdf_bytes, present_cases
from degmm.wording import counted

CLUSTERS = "clusters.nc"
DEPENDENT = 3.0
"""Ratio of variances of ensemble means beyond which a user hears of the shared-centre model."""


def run_fit(
    session: Session,
    file: Path,
    options: DataOptions,
    model_name: str,
    settings: dict[str, Any],
    anomalies: str | None,
    context: Sequence[str] | None,
    output: Path,
    format: str,
) -> None:
    """Read, report, fit, report, write.

    ``settings`` are arguments of the estimators by name; of those that the user did not give a model
    takes what it has.
    """
    model, unused = make_model(model_name, settings, session.given)
    if context and not hasattr(model, "max_epochs"):
        raise ValueError(f"context_of: model {model_name} has no such option")
    pictures = {name: f"{name}.{format}" for name in ("clusters", "regimes", "fields", "training")}
    with session.results(output, HEAD, CLUSTERS, *pictures.values(), input=file) as folder:
        cases = read_cases(session, file, options, anomalies)
        seen = seen_by(session, model, cases)
        _check_labels(cases, model.n_components)
        session.section = "Clusters"
        work = (
            f"fitting {type(model).__name__}, K = {model.n_components}, to {counted(len(seen), 'ensemble')}"
        )
        barred = hasattr(model, "max_epochs") and sys.stderr.isatty()  # whose bar says where it is
        with waiting(session.speaks and not barred, f"{work} of {counted(seen.n_features, 'variable')}"):
            model.fit(seen, **({"context": list(context)} if context else {}))
        clusters = netcdf_bytes(_clusters(cases, model, seen))
        _report_clusters(session, model, cases.kept)
        if not (model._single_member or model.between_covariances_.any()):
            _report_dependence(session, model, cases.kept)
        save(model, folder)
        write_bytes(folder / CLUSTERS, clusters)
        _draw(session, folder, model, cases.kept, seen, pictures)
        session.file(HEAD, "the model, for degmm predict and degmm.load")
        session.file(CLUSTERS, "cluster, probabilities and log density of every case")
        title = f"{type(model).__name__}, K = {model.n_components}, of {file.name}"
        session.record(folder, title, input=file, unused=unused)


def _check_labels(cases: Cases, K: int) -> None:
    """See before the fit, which may take hours, that its results can be stored with the cases' labels."""
    n = len(cases.kept)
    try:
        netcdf_bytes(
            clusters_dataset(
                cases.whole, present_cases(cases.whole), np.zeros(n, int), np.zeros((n, K)), np.zeros(n)
            )
        )
    except ValueError as error:
        raise ValueError(f"{cases.file}: its labels cannot be stored as NetCDF ({error})") from error


def _clusters(cases: Cases, model: Any, seen: Ensemble) -> Any:
    present = present_cases(cases.whole)
    return clusters_dataset(
        cases.whole, present, model.labels_, model.predict_proba(seen), model.score_samples(seen)
    )


def _draw(
    session: Session, folder: Path, model: Any, kept: Ensemble, seen: Ensemble, pictures: dict[str, str]
) -> None:
    with session.picture(pictures["clusters"], "The ensembles and the clusters."):
        draw_fit(folder / pictures["clusters"], kept, model)
    if has_times(kept):
        session.section = "Over time"
        caption = "Mean probability of each cluster, over time and over the year."
        with session.picture(pictures["regimes"], caption):
            draw_regimes(folder / pictures["regimes"], kept, model.predict_proba(seen))
    fields = fields_of(model, kept)
    if fields is not None:
        session.section = "Fields"
        caption = "Mean field of each cluster: departure from the mean of all."
        with session.picture(pictures["fields"], caption):
            draw_fields(folder / pictures["fields"], fields, model)
    if hasattr(model, "max_epochs"):
        session.section = "Training"
        caption = "Log-likelihood, and distance of the network from the exact posterior."
        with session.picture(pictures["training"], caption):
            draw_training(folder / pictures["training"], kept, model)


def _report_clusters(session: Session, model: Any, kept: Ensemble) -> None:
    name, deep = type(model).__name__, hasattr(model, "kl_")
    how = translated(model.result_.value, session.flags)
    session.note(f"{name}: {how} ({counted(model.n_iter_, 'epoch' if deep else 'iteration')})")
    n_members = weight_of_members(model, kept)
    session.note(f"log-likelihood a member: {model.log_likelihood_ / n_members:.4f} nats")
    if deep:
        session.note(f"KL of the network's γ from the exact posterior: {model.kl_:.2g} nats an ensemble")
    sizes = np.bincount(model.labels_, minlength=model.n_components)
    _cluster_table(session, model, axis_names(model, kept), sizes)
    empty = [str(k) for k in np.flatnonzero(sizes == 0)]
    if empty:
        which = f"cluster {empty[0]} is" if len(empty) == 1 else f"clusters {', '.join(empty)} are"
        used = model.n_components - len(empty)
        session.note(f"{which} empty: {used} of {model.n_components} used")


def _cluster_table(session: Session, model: Any, called: list[str], sizes: np.ndarray) -> None:
    K = model.n_components
    spreads = np.sqrt(np.diagonal(model.covariances_, axis1=1, axis2=2))
    about = np.sqrt(np.diagonal(model.within_covariances_, axis1=1, axis2=2))
    shared = bool(model.between_covariances_.any())
    title, columns = "clusters", []
    if len(called) <= MOST_SHOWN:
        title += ": mean ± spread of a member" + (" (in brackets: within an ensemble)" if shared else "")
        columns = [with_spreads(model.means_[:, d], spreads[:, d]) for d in range(len(called))]
    else:
        called = []
    if shared:
        columns = [
            [f"{one} ({width:.2g})" for one, width in zip(column, about[:, d], strict=True)]
            for d, column in enumerate(columns)
        ]
    rows = [
        (str(k), str(sizes[k]), f"{model.weights_[k]:.3f}", *(column[k] for column in columns))
        for k in range(K)
    ]
    records = [
        {
            "cluster": k,
            "size": sizes[k],
            "weight": model.weights_[k],
            "mean": dict(zip(called, model.means_[k], strict=False)),
            "spread": dict(zip(called, spreads[k], strict=False)),
            "spread_within": dict(zip(called, about[k], strict=False)),
        }
        for k in range(K)
    ]
    session.table(title, ("cluster", "size", "weight", *called), rows, records)


def _report_dependence(session: Session, model: Any, kept: Ensemble) -> None:
    """Say so where members are far more alike than independent ones would be."""
    ratio = model.mean_dispersion(kept) if kept.n_members > 1 else 1.0
    if ratio > DEPENDENT:
        session.note(
            f"within a cluster, ensemble means scatter with {ratio:.0f} times the variance that independent "
            "members would give them: the members of an ensemble are alike; try --member-model shared-centre"
        )
