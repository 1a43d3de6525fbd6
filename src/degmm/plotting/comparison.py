"""The three pictures of a comparison."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import FancyArrowPatch

from degmm.clustering import Clustering
from degmm.datasets import MixtureTruth
from degmm.metrics import accuracy, matching
from degmm.plotting.animation import inference_animation
from degmm.plotting.clusters import clusters, ensembles
from degmm.plotting.projection import Projection
from degmm.plotting.style import new_figure, save_figure
from degmm.wording import counted

SHOWN_ENSEMBLES = 6
SHOWN_MEMBERS = 50


def draw_comparison(
    paths: Sequence[Path],
    X: np.ndarray,
    labels: np.ndarray,
    truth: MixtureTruth,
    clusterings: Sequence[Clustering],
    snapshots: Sequence[Any],
) -> tuple[Path, ...]:
    """Write the example, the results and the animation to three paths, and return the paths."""
    example, results, movie = paths
    # One point an ensemble: its first member, which is what GMM and DGMM see.
    points = X[:, 0].astype(np.float64)
    projection = Projection.of(points)
    deep = clusterings[-1]
    titles = [f"DEGMM, epoch {s.epoch}: accuracy {accuracy(labels, s.labels):.3f}" for s in snapshots]
    return (
        _example(example, X, points, labels, truth, projection),
        _results(results, X, points, labels, truth, clusterings, projection),
        inference_animation(
            movie,
            points,
            snapshots,
            colours=_matched_colours(labels, deep),
            titles=titles,
        ),
    )


def _example(
    path: Path,
    X: np.ndarray,
    points: np.ndarray,
    labels: np.ndarray,
    truth: MixtureTruth,
    projection: Projection,
) -> Path:
    K = len(truth.means)
    chosen = _a_few(labels, K)
    shared = len(projection.labels) == 2
    figure, (left, right) = new_figure(1, 2, size=(8.4, 3.9), sharex=True, sharey=shared)
    ensembles(
        left,
        X[chosen][:, :SHOWN_MEMBERS],
        projection=projection,
        colours=[int(k) for k in labels[chosen]],
        title=f"{counted(len(chosen), 'ensemble')} of {counted(X.shape[1], 'member')}",
    )
    clusters(
        right,
        points,
        labels,
        weights=truth.weights,
        means=truth.means,
        covariances=truth.within + truth.between,
        projection=projection,
        title=f"{counted(len(X), 'ensemble')} in {counted(K, 'cluster')}{'' if shared else ': density'}",
    )
    right.set_ylabel("")
    figure.set_layout_engine("constrained", wspace=0.12)
    figure.canvas.draw()
    _arrow_between(figure, left, right)
    return save_figure(figure, path)


def _results(
    path: Path,
    X: np.ndarray,
    points: np.ndarray,
    labels: np.ndarray,
    truth: MixtureTruth,
    clusterings: Sequence[Clustering],
    projection: Projection,
) -> Path:
    flat = len(projection.labels) == 1
    figure, axes = new_figure(2, 3, size=(9.6, 6.2), sharex=True, sharey=True)
    bayes, fitted = clusterings[0], clusterings[2:]
    panels = [
        ("True clusters", labels, bayes, range(len(truth.means))),
        *((c.name, c.labels, c, _matched_colours(labels, c)) for c in fitted),
    ]
    # Top row: the truth and the models of one member; below: those of all members.
    places, tops = [0, 1, 2, 4, 5], []
    for place, (name, found, clustering, colours) in zip(places, panels, strict=True):
        seen = "one member" if clustering.members == 1 else counted(clustering.members, "member")
        title = (
            f"{name}\n(K = {len(truth.means)})"
            if place == 0
            else f"{name}, {seen}\naccuracy {accuracy(labels, found):.3f}"
        )
        clusters(
            axes[place],
            points,
            found,
            weights=clustering.weights,
            means=clustering.means,
            covariances=clustering.covariances,
            projection=projection,
            colours=list(colours),
            title=title,
        )
        tops.append(axes[place].get_ylim()[1])
        axes[place].label_outer()
        axes[place].tick_params(labelbottom=True)
        axes[place].set_xlabel(projection.labels[0])
    axes[3].set_visible(False)
    axes[4].set_ylabel(projection.labels[1] if not flat else "density")
    axes[4].tick_params(labelleft=True)
    if flat:
        axes[0].set_ylim(0, max(tops))
    else:
        _limits(axes, projection.points(points))
    _legend(axes[3], len(X), X.shape[1], clusterings, labels, flat)
    return save_figure(figure, path)


def _matched_colours(labels: np.ndarray, clustering: Clustering) -> list[int]:
    """Return the colour number of each cluster: that of the true label it is matched to."""
    K = len(clustering.means)
    return [int(label) for label in matching(labels, clustering.labels, K)[:K]]


def _a_few(labels: np.ndarray, K: int) -> np.ndarray:
    """Return a few ensembles that show as many clusters as possible."""
    firsts = [np.flatnonzero(labels == k)[: max(1, SHOWN_ENSEMBLES // K)] for k in range(K)]
    return np.concatenate(firsts)[: max(SHOWN_ENSEMBLES, K)]


def _limits(axes: Sequence[Any], shown: np.ndarray) -> None:
    low, high = np.quantile(shown, [0.0005, 0.9995], axis=0)
    margin = 0.08 * np.where(high > low, high - low, 1)
    axes[0].set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes[0].set_ylim(low[1] - margin[1], high[1] + margin[1])


def _legend(
    hidden: Any, n: int, M: int, clusterings: Sequence[Clustering], labels: np.ndarray, flat: bool
) -> None:
    all_members, one_member = (accuracy(labels, c.labels) for c in clusterings[:2])
    shape = (
        "— its density, times its weight\n     (dark: the sum)"
        if flat
        else "◯ its 2-sigma ellipse\n     (dashed: no ensemble in it)"
    )
    text = (
        f"{counted(n, 'ensemble')} of {counted(M, 'member')}, each\nshown by its first member\n\n"
        f"■ mean of a cluster\n{shape}\n\n"
        f"Bayes oracle, one member: {one_member:.3f}\nBayes oracle, {counted(M, 'member')}: {all_members:.3f}"
    )
    hidden.set_visible(True)
    hidden.set_axis_off()
    note = hidden.text(
        0.0, 0.95, text, transform=hidden.transAxes, va="top", fontsize=9, color="#333333", linespacing=1.5
    )
    note.set_in_layout(False)


def _arrow_between(figure: Any, left: Any, right: Any) -> None:
    start, end = left.get_position(), right.get_position()
    height = (start.y0 + start.y1) / 2
    gap = end.x0 - start.x1
    arrow = FancyArrowPatch(
        (start.x1 + 0.1 * gap, height),
        (start.x1 + 0.55 * gap, height),
        transform=figure.transFigure,
        arrowstyle="-|>",
        mutation_scale=18,
        lw=2,
        color="#333333",
    )
    arrow.set_in_layout(False)
    figure.add_artist(arrow)
