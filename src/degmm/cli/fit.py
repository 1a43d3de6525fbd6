"""``degmm fit``: from a file to clusters, a model and a picture."""

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from degmm.cli.fit_picture import axis_names, draw_fit, draw_training
from degmm.cli.flags import FIT_FLAGS, in_flags, translated
from degmm.cli.inputs import make_model, members_seen, read_cases, report_data
from degmm.cli.tables import print_table, with_spreads
from degmm.ensembles import Ensemble
from degmm.files import output_folder, write_bytes
from degmm.io import HEAD, save
from degmm.results import clusters_netcdf, present_cases
from degmm.wording import counted

CLUSTERS = "clusters.nc"
DEPENDENT = 3.0
"""Ratio of variances of ensemble means beyond which a user hears of the shared-centre model."""


def run_fit(
    file: Path,
    model_name: str,
    output: Path,
    variables: Sequence[str] | None,
    member_dim: str | None,
    settings: dict[str, Any],
    given: Collection[str] = (),
    format: str = "png",
) -> None:
    """Read, report, fit, report, write.

    ``settings`` are arguments of the estimators by name, and ``given`` the names of those that the
    user gave; of the others a model takes what it has.
    """
    with in_flags(FIT_FLAGS | {"X": str(file)}):
        model = make_model(model_name, settings, given)
        data, kept = read_cases(file, variables, member_dim)
        _fit(file, model, data, kept, output, format)


def _fit(file: Path, model: Any, data: Ensemble, kept: Ensemble, output: Path, format: str) -> None:
    deep = hasattr(model, "max_epochs")
    picture, training = f"clusters.{format}", f"training.{format}"
    with output_folder(output, HEAD, CLUSTERS, picture, *([training] if deep else [])):
        report_data(file, data, kept)
        members = members_seen(file, model, kept)
        model.fit(dataclasses.replace(kept, values=members))
        # Made before the first file is written: what cannot be stored leaves no half of the results.
        clusters = clusters_netcdf(data, present_cases(data), model.labels_, model.predict_proba(members))
        _report_clusters(model, kept)
        if not (model._single_member or model.between_covariances_.any()):
            _report_dependence(model, kept)
        save(model, output)
        write_bytes(output / CLUSTERS, clusters)
        draw_fit(output / picture, kept, model)
        if deep:
            draw_training(output / training, kept, model)
    written = [CLUSTERS, picture, *([training] if deep else [])]
    print(f"wrote {output / HEAD} (and its arrays), {', '.join(str(output / name) for name in written)}")


def _report_clusters(model: Any, kept: Ensemble) -> None:
    name, deep = type(model).__name__, hasattr(model, "kl_")
    how = translated(model.result_.value, FIT_FLAGS)
    print(f"{name}: {how} ({counted(model.n_iter_, 'epoch' if deep else 'iteration')})")
    n_members = int(kept.counts.sum()) if not model._single_member else len(kept)
    print(f"log-likelihood a member: {model.log_likelihood_ / n_members:.4f} nats")
    if deep:
        print(f"KL of the network's γ from the exact posterior: {model.kl_:.2g} nats an ensemble")
    sizes = np.bincount(model.labels_, minlength=model.n_components)
    spreads = np.sqrt(np.diagonal(model.covariances_, axis1=1, axis2=2))
    called = axis_names(model, kept)
    columns = [with_spreads(model.means_[:, d], spreads[:, d]) for d in range(len(called))]
    title = "clusters: mean ± spread of a member"
    if model.between_covariances_.any():
        title += " (in brackets: within an ensemble)"
        about = np.sqrt(np.diagonal(model.within_covariances_, axis1=1, axis2=2))
        columns = [
            [f"{one} ({width:.2g})" for one, width in zip(column, about[:, d], strict=True)]
            for d, column in enumerate(columns)
        ]
    rows = [
        (str(k), str(sizes[k]), f"{model.weights_[k]:.3f}", *(column[k] for column in columns))
        for k in range(model.n_components)
    ]
    names = ("cluster", "size", "weight", *called)
    print_table(title, names, rows)
    empty = [str(k) for k in np.flatnonzero(sizes == 0)]
    if empty:
        which = f"cluster {empty[0]} is" if len(empty) == 1 else f"clusters {', '.join(empty)} are"
        used = model.n_components - len(empty)
        print(f"{which} empty: {used} of {model.n_components} used")


def _report_dependence(model: Any, kept: Ensemble) -> None:
    """Say so where members are far more alike than independent ones would be."""
    ratio = model.mean_dispersion(kept) if kept.n_members > 1 else 1.0
    if ratio > DEPENDENT:
        print(
            f"within a cluster, ensemble means scatter with {ratio:.0f} times the variance that independent "
            "members would give them: the members of an ensemble are alike; try --member-model shared-centre"
        )
