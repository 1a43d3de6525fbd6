"""Ensembles and clusters in one or two dimensions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse

from degmm.plotting.projection import Projection
from degmm.plotting.style import colour_of, marker_of


def clusters(
    axes: Axes,
    points: Float[np.ndarray, "n D"],
    labels: Int[np.ndarray, "n"],
    *,
    weights: Float[np.ndarray, "K"],
    means: Float[np.ndarray, "K D"],
    covariances: Float[np.ndarray, "K D D"],
    projection: Projection | None = None,
    colours: Sequence[int] | None = None,
    title: str | None = None,
) -> Axes:
    """Draw one point an ensemble, coloured by cluster, with each cluster's mean and 2-sigma ellipse.

    Parameters
    ----------
    axes : matplotlib Axes
    points : ndarray, shape (n, D)
        One point an ensemble.
    labels : ndarray of int, shape (n,)
        Cluster of each ensemble. A cluster may be empty: its mean and ellipse are drawn pale.
    weights, means, covariances : ndarray
        Parameters of the clusters, in the units of the points.
    projection : Projection, optional
        Which axes to show; by default both variables for D = 2, the first two principal axes beyond.
    colours : sequence of int, optional
        Colour number of each cluster, so that matched clusters look alike over several pictures.
    title : str, optional

    Returns
    -------
    matplotlib Axes
    """
    projection = projection or Projection.of(points)
    K = len(means)
    colours = range(K) if colours is None else colours
    shown, centres = projection.points(points), projection.points(means)
    spreads = projection.covariances(covariances)
    draw = _one_dimension if shown.shape[1] == 1 else _two_dimensions
    draw(axes, shown, labels, weights, centres, spreads, list(colours))
    axes.set_xlabel(projection.labels[0])
    if title is not None:
        axes.set_title(title)
    if shown.shape[1] == 2:
        axes.set_ylabel(projection.labels[1])
    return axes


def ensembles(
    axes: Axes,
    X: Float[np.ndarray, "n M D"],
    *,
    projection: Projection | None = None,
    colours: Sequence[int] | None = None,
    title: str | None = None,
) -> Axes:
    """Draw a few ensembles: each member a point, each ensemble an ellipse of two standard deviations.

    Parameters
    ----------
    axes : matplotlib Axes
    X : ndarray, shape (n, M, D)
    projection, title
        As in :func:`clusters`.
    colours : sequence of int, optional
        Colour number of each ensemble.

    Returns
    -------
    matplotlib Axes
    """
    projection = projection or Projection.of(X.reshape(-1, X.shape[2]))
    colours = range(len(X)) if colours is None else colours
    for i, (members, colour) in enumerate(zip(X, colours, strict=True)):
        shown = projection.points(members[~np.isnan(members).any(axis=1)])
        style: dict[str, Any] = {"color": colour_of(colour), "marker": marker_of(colour)}
        if shown.shape[1] == 1:
            height = np.full(len(shown), float(i))
            axes.plot([shown.min(), shown.max()], [i, i], color=colour_of(colour), lw=0.8, alpha=0.5)
            axes.scatter(shown[:, 0], height, s=12, lw=0, **style)
            continue
        axes.scatter(shown[:, 0], shown[:, 1], s=12, lw=0, alpha=0.85, **style)
        if len(shown) > 2:
            _ellipse(axes, shown.mean(axis=0), np.cov(shown.T), colour_of(colour))
    axes.set_xlabel(projection.labels[0])
    axes.set_ylabel("ensemble" if len(projection.labels) == 1 else projection.labels[1])
    if title is not None:
        axes.set_title(title)
    axes.autoscale_view()
    return axes


def _two_dimensions(
    axes: Axes,
    points: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    colours: list[int],
) -> None:
    size = float(np.clip(125 / np.sqrt(len(points)), 1.2, 16))
    # Drawn in a fixed shuffled order, so that no cluster hides the others.
    order = np.random.default_rng(0).permutation(len(points))
    for marker in sorted({marker_of(c) for c in colours}):
        chosen = order[np.isin(labels[order], [k for k, c in enumerate(colours) if marker_of(c) == marker])]
        tints = [colour_of(colours[k]) for k in labels[chosen]]
        axes.scatter(
            points[chosen, 0],
            points[chosen, 1],
            s=size,
            c=tints,
            marker=marker,
            lw=0,
            alpha=0.55,
            rasterized=True,
        )
    for k in range(len(means)):
        empty = not (labels == k).any()
        _ellipse(axes, means[k], covariances[k], colour_of(colours[k]), pale=empty)
        axes.plot(
            *means[k],
            marker="s",
            ms=5.5,
            color=colour_of(colours[k]),
            mec="white",
            mew=0.9,
            alpha=0.35 if empty else 1,
            zorder=4,
        )


def _one_dimension(
    axes: Axes,
    points: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    colours: list[int],
) -> None:
    values = points[:, 0]
    low, high = values.min(), values.max()
    edges = np.linspace(low, high if high > low else low + 1, 41)
    groups = [values[labels == k] for k in range(len(means))]
    scale = np.full(len(values), 1 / (len(values) * (edges[1] - edges[0])))
    axes.hist(
        groups,
        edges.tolist(),
        weights=[scale[: len(group)] for group in groups],
        stacked=True,
        color=[colour_of(c) for c in colours],
        alpha=0.45,
        lw=0,
    )
    top = axes.get_ylim()[1]
    grid = np.linspace(edges[0], edges[-1], 400)
    for k in range(len(means)):
        sigma = float(np.sqrt(covariances[k, 0, 0]))
        density = (
            weights[k] * np.exp(-0.5 * ((grid - means[k, 0]) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        )
        axes.plot(grid, density, color=colour_of(colours[k]), lw=1.4)
        axes.plot(
            means[k, 0],
            0,
            marker="s",
            ms=6,
            color=colour_of(colours[k]),
            mec="white",
            clip_on=False,
            zorder=4,
        )
    # A very narrow component would flatten everything else.
    axes.set_ylim(0, 1.25 * top)
    axes.set_ylabel("density")


def _ellipse(
    axes: Axes, mean: np.ndarray, covariance: np.ndarray, colour: str, *, pale: bool = False
) -> None:
    values, vectors = np.linalg.eigh(covariance)
    width, height = 4 * np.sqrt(np.maximum(values[::-1], 0))
    angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
    patch = Ellipse(
        (float(mean[0]), float(mean[1])),
        width,
        height,
        angle=angle,
        fill=False,
        ec=colour,
        lw=1.5,
        ls="--" if pale else "-",
        alpha=0.4 if pale else 1,
        zorder=3,
    )
    axes.add_patch(patch)
