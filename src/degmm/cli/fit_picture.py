"""The picture of ``degmm fit``: what is drawn of each ensemble, and the words that say so."""

from pathlib import Path
from typing import Any

import numpy as np

from degmm.ensembles import Ensemble
from degmm.wording import counted


def axis_names(model: Any, kept: Ensemble) -> list[str]:
    """Return what a model's means are about: the variables, or the codes of a model with a projection."""
    if model._projection is None:
        return list(kept.titles)
    return [f"code {d + 1}" for d in range(model.means_.shape[1])]


def _drawn(model: Any, kept: Ensemble) -> np.ndarray:
    """Return the members, or their codes, that a model's parameters are about; NaN where absent."""
    members = np.where(kept.mask[..., None], kept.values, np.nan)
    if model._projection is not None:
        members = model.encode(members[:, :1] if model._single_member else members)
    return members.astype(np.float64)


def draw_fit(path: Path, kept: Ensemble, model: Any) -> None:
    """Draw the clusters of a fitted model and its ensembles.

    A model of single members is drawn with the first member of each ensemble, which is what it saw; the
    others with the ensembles' means or, for one variable, whose density is drawn, with all members.
    """
    from degmm.plotting import Projection, cluster_legend, clusters, new_figure, save_figure

    members, names = _drawn(model, kept), axis_names(model, kept)
    n, flat = len(kept), len(names) == 1
    if model._single_member:
        points, shown = members[:, 0], counted(n, "first member")
        point = "first member of an ensemble"
    elif flat:
        points, shown = members, f"{counted(int(kept.counts.sum()), 'member')} of {counted(n, 'ensemble')}"
        point = "all members"
    else:
        points, shown = np.nanmean(members, axis=1), counted(n, "ensemble mean")
        point = "mean of an ensemble"
    note = (
        f"histogram: {'first members' if model._single_member else point}, stacked; lines: density × weight "
        f"of a cluster's members,\ndark: their sum; square: mean of a cluster"
        if flat
        else f"point: {point}; ellipse: 2 sigma of single members; square: mean of a cluster"
    )
    shared = bool(model.between_covariances_.any())
    if shared:
        note += ";\nbar" if flat else ";\nthin ellipse"
        note += ": 2 sigma of the members of one ensemble about their shared centre"
    if not np.isin(np.arange(model.n_components), model.labels_).all():
        note += "; dashed: no ensemble in it"
    projection = Projection.of(points.reshape(-1, len(names)), names)
    figure, (axes,) = new_figure(size=(6.6, 4.6))
    clusters(
        axes,
        points,
        model.labels_,
        weights=model.weights_,
        means=model.means_,
        covariances=model.covariances_,
        within=model.within_covariances_ if shared else None,
        projection=projection,
        title=f"{type(model).__name__}, K = {model.n_components}: {shown}",
    )
    cluster_legend(axes, model.labels_, model.weights_)
    figure.supxlabel(note, fontsize=7.5, color="#333333")
    save_figure(figure, path)


def weight_of_members(model: Any, kept: Ensemble) -> float:
    """Return how many members a model's log-likelihood is of, Σ w_i M_i."""
    counts = np.ones(len(kept)) if model._single_member else kept.counts
    return float(counts.sum() if kept.weights is None else counts @ kept.weights)


def draw_training(path: Path, kept: Ensemble, model: Any) -> None:
    """Draw how the training of a deep model went."""
    from degmm.plotting import new_figure, save_figure, training

    n_members = weight_of_members(model, kept)
    figure, axes = new_figure(2, 1, size=(6.0, 4.4), sharex=True)
    title = f"{type(model).__name__}, K = {model.n_components}: training"
    warmup = round(model.warmup * model.max_epochs)
    training(model.history_, n_members, warmup=warmup, kl=model.kl_, title=title, axes=axes)
    save_figure(figure, path)
