"""Ensembles and clusters in one or two dimensions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from degmm.plotting.marks import ellipse, mark_means, mark_within, number_clusters
from degmm.plotting.projection import Projection, numbers_and_names
from degmm.plotting.style import colour_of, entitle, line_of, marker_of

MOST_BINS = 40


def clusters(
    axes: Axes,
    points: Any,
    labels: Int[np.ndarray, "n"],
    *,
    weights: Float[np.ndarray, "K"],
    means: Float[np.ndarray, "K D"],
    covariances: Float[np.ndarray, "K D D"],
    within: Float[np.ndarray, "K D D"] | None = None,
    projection: Projection | None = None,
    colours: Sequence[int] | None = None,
    title: str | None = None,
) -> Axes:
    """Draw ensembles coloured by cluster, with each cluster's mean and 2-sigma ellipse.

    A single variable is drawn as a histogram stacked by cluster, with each cluster's density times its
    weight and, dark, their sum. It is that of single members: pass members, not their means.

    Parameters
    ----------
    axes : matplotlib Axes
    points : Ensemble, xarray.DataArray or ndarray, shape (n, D) or (n, M, D)
        One point an ensemble, or all members; those with NaN are left out.
    labels : ndarray of int, shape (n,)
        Cluster of each ensemble. A cluster may be empty: its mean and ellipse are drawn pale.
    weights, means, covariances : ndarray
        Parameters of the clusters, in the units of the points.
    within : ndarray, shape (K, D, D), optional
        Covariances of the members within an ensemble, where they share a centre: drawn as thin
        ellipses inside the others or, for a single variable, as bars of two standard deviations.
    projection : Projection, optional
        Which axes to show; by default both variables for D = 2, the first two principal axes beyond.
    colours : sequence of int, optional
        Colour number of each cluster, so that matched clusters look alike over several pictures.
    title : str, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If there is no point without NaN.
    """
    points, names = numbers_and_names(points)
    members = points if points.ndim == 3 else points[:, None]
    present = ~np.isnan(members).any(axis=2)
    if not present.any():
        raise ValueError("points: none is without NaN")
    points, labels = members[present], np.repeat(labels, present.sum(axis=1))
    projection = projection or Projection.of(points, names)
    K = len(means)
    colours = range(K) if colours is None else colours
    shown, centres = projection.points(points), projection.points(means)
    spreads = projection.covariances(covariances)
    draw = _one_dimension if shown.shape[1] == 1 else _two_dimensions
    draw(axes, shown, labels, weights, centres, spreads, list(colours))
    if within is not None:
        mark_within(axes, centres, projection.covariances(within), list(colours))
    axes.set_xlabel(projection.labels[0])
    entitle(axes, title)
    if shown.shape[1] == 2:
        axes.set_ylabel(projection.labels[1])
    return axes


def ensembles(
    axes: Axes,
    X: Any,
    *,
    projection: Projection | None = None,
    colours: Sequence[int] | None = None,
    title: str | None = None,
) -> Axes:
    """Draw a few ensembles: each member a point, each ensemble an ellipse of two standard deviations.

    Parameters
    ----------
    axes : matplotlib Axes
    X : Ensemble, xarray.DataArray or ndarray, shape (n, M, D)
        NaN marks an absent member; an ensemble without any is left out.
    projection, title
        As in :func:`clusters`.
    colours : sequence of int, optional
        Colour number of each ensemble.

    Returns
    -------
    matplotlib Axes
    """
    X, names = numbers_and_names(X)
    projection = projection or Projection.of(X.reshape(-1, X.shape[2]), names)
    colours = range(len(X)) if colours is None else colours
    for i, (members, colour) in enumerate(zip(X, colours, strict=True)):
        shown = projection.points(members[~np.isnan(members).any(axis=1)])
        if not len(shown):
            continue
        style: dict[str, Any] = {"color": colour_of(colour), "marker": marker_of(colour)}
        if shown.shape[1] == 1:
            height = np.full(len(shown), float(i))
            axes.plot([shown.min(), shown.max()], [i, i], color=colour_of(colour), lw=0.8, alpha=0.5)
            axes.scatter(shown[:, 0], height, s=12, lw=0, **style)
            continue
        axes.scatter(shown[:, 0], shown[:, 1], s=12, lw=0, alpha=0.85, **style)
        if len(shown) > 2:
            ellipse(axes, shown.mean(axis=0), np.cov(shown.T), colour)
    axes.set_xlabel(projection.labels[0])
    axes.set_ylabel("ensemble" if len(projection.labels) == 1 else projection.labels[1])
    if len(projection.labels) == 1:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    entitle(axes, title)
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
    empty = [not (labels == k).any() for k in range(len(means))]
    for k, colour in enumerate(colours):
        ellipse(axes, means[k], covariances[k], colour, pale=empty[k])
    mark_means(axes, means, colours, empty)
    number_clusters(axes, means, colours)


def _one_dimension(
    axes: Axes,
    points: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    colours: list[int],
) -> None:
    top = _histogram(axes, points[:, 0], labels, colours)
    axes.set_xlim(axes.get_xlim())
    grid = np.linspace(*axes.get_xlim(), 1000)
    sigma = np.sqrt(covariances[:, 0])
    z = (grid - means) / sigma
    densities = weights[:, None] * np.exp(-0.5 * z**2) / (sigma * np.sqrt(2 * np.pi))
    empty = [not (labels == k).any() for k in range(len(means))]
    for density, colour, pale in zip(densities, colours, empty, strict=True):
        line = "--" if pale else line_of(colour)
        axes.plot(grid, density, color=colour_of(colour), ls=line, lw=1.4)
    total = densities.sum(axis=0)
    axes.plot(grid, total, color="#333333", lw=0.9)
    # A very narrow component would flatten everything else.
    axes.set_ylim(0, min(1.05 * max(top, float(total.max())), 1.3 * top))
    axes.set_ylabel("density")
    mark_means(axes, np.column_stack([means[:, 0], np.zeros(len(means))]), colours, empty)
    # Numbers go to the peaks of the curves: at the axis they would lie upon each other.
    number_clusters(axes, np.column_stack([means[:, 0], densities.max(axis=1)]), colours)


def _histogram(axes: Axes, values: np.ndarray, labels: np.ndarray, colours: list[int]) -> float:
    """Draw a stacked histogram, as a density, and return its height."""
    low, high = float(values.min()), float(values.max())
    bins = int(np.clip(3 * np.cbrt(len(values)), 8, MOST_BINS))
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    scale = 1 / (len(values) * (edges[1] - edges[0]))
    # Stacked by colour, so that equal clusterings look equal however each model numbers its clusters.
    order = sorted(range(len(colours)), key=lambda k: colours[k])
    heights = scale * np.array([np.histogram(values[labels == k], edges)[0] for k in order])
    upper = heights.cumsum(axis=0)
    # From the top down: where a cluster has nothing, the outline of the one below it is seen.
    for k, above, height in zip(order[::-1], upper[::-1], heights[::-1], strict=True):
        colour = colour_of(colours[k])
        axes.stairs(above, edges, baseline=above - height, fill=True, color=colour, alpha=0.4, lw=0)
        axes.stairs(above, edges, color=colour, lw=0.8)
    return float(upper[-1].max())
