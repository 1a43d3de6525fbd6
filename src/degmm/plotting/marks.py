"""What stands for a cluster in every picture: the square at its mean, its number, its ellipse, its legend."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from matplotlib.patheffects import withStroke

from degmm.plotting.style import PALETTE, colour_of, line_of, marker_of
from degmm.wording import percent

LEGEND_ROWS = 18


def cluster_legend(
    axes: Axes,
    labels: Int[np.ndarray, "n"],
    weights: Float[np.ndarray, "K"],
    colours: Sequence[int] | None = None,
) -> Axes:
    """Write beside the axes which colour is which cluster, and its weight: ``0 (40 %)``.

    Parameters
    ----------
    axes : matplotlib Axes
        On which the clusters were drawn.
    labels : ndarray of int, shape (n,)
        Cluster of each ensemble; one that has none is dashed, as in the picture.
    weights : ndarray, shape (K,)
    colours : sequence of int, optional
        Colour number of each cluster, as in :func:`degmm.plotting.clusters`.

    Returns
    -------
    matplotlib Axes
    """
    colours = range(len(weights)) if colours is None else colours
    used = np.isin(np.arange(len(weights)), labels)
    handles = [
        Line2D(
            [],
            [],
            color=colour_of(colour),
            marker=marker_of(colour),
            ms=5,
            ls=line_of(colour) if used[k] else "--",
            alpha=1 if used[k] else 0.4,
            label=f"{k} ({percent(float(weights[k]))})",
        )
        for k, colour in enumerate(colours)
    ]
    legend_beside(axes, handles, title="cluster (weight)", handlelength=3)
    return axes


def legend_beside(
    axes: Axes, handles: Sequence[Artist] | None = None, *, title: str = "", handlelength: float = 1.6
) -> None:
    """Write a legend to the right of the axes, of what was drawn there if no handles are given."""
    shown = axes.get_legend_handles_labels()[0] if handles is None else list(handles)
    axes.legend(
        handles=shown,
        title=title or None,
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        borderaxespad=0,
        ncols=-(-len(shown) // LEGEND_ROWS),
        fontsize=8,
        title_fontsize=8,
        frameon=False,
        handlelength=handlelength,
    )


def mark_means(
    axes: Axes,
    means: Float[np.ndarray, "K 2"],
    colours: Sequence[int],
    empty: Sequence[bool],
) -> None:
    """Draw a square at each mean, pale for a cluster without ensembles."""
    for (x, y), colour, pale in zip(means, colours, empty, strict=True):
        axes.plot(
            float(x),
            float(y),
            marker="s",
            ms=5.5,
            ls="none",
            color=colour_of(colour),
            mec="white",
            mew=0.9,
            alpha=0.35 if pale else 1,
            clip_on=False,
            scalex=False,
            scaley=False,
            zorder=4,
        )


def mark_within(
    axes: Axes,
    means: Float[np.ndarray, "K d"],
    within: Float[np.ndarray, "K d d"],
    colours: Sequence[int],
) -> None:
    """Draw how far the members of one ensemble are apart: thin ellipses, or bars on a single axis."""
    for mean, covariance, colour in zip(means, within, colours, strict=True):
        if mean.size == 2:
            ellipse(axes, mean, covariance, colour, thin=True)
            continue
        reach = 2 * float(np.sqrt(covariance[0, 0]))
        ends = [float(mean[0]) - reach, float(mean[0]) + reach]
        axes.plot(ends, [0, 0], color=colour_of(colour), lw=3, solid_capstyle="butt", clip_on=False, zorder=3)


def number_clusters(axes: Axes, places: Float[np.ndarray, "K 2"], colours: Sequence[int]) -> None:
    """Write each cluster's colour number at its place, if there are so many that colours repeat."""
    if max(colours) < len(PALETTE):
        return
    for (x, y), colour in zip(places, colours, strict=True):
        axes.annotate(
            str(colour),
            (float(x), float(y)),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=7.5,
            weight="bold",
            color=colour_of(colour),
            path_effects=[withStroke(linewidth=2, foreground="white")],
            annotation_clip=True,
            zorder=5,
        )


def ellipse(
    axes: Axes,
    mean: Float[np.ndarray, "2"],
    covariance: Float[np.ndarray, "2 2"],
    colour: int,
    *,
    pale: bool = False,
    thin: bool = False,
) -> None:
    """Draw the ellipse of two standard deviations."""
    values, vectors = np.linalg.eigh(covariance)
    width, height = 4 * np.sqrt(np.maximum(values[::-1], 0))
    angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
    patch = Ellipse(
        (float(mean[0]), float(mean[1])),
        width,
        height,
        angle=angle,
        fill=False,
        ec=colour_of(colour),
        lw=0.8 if thin else 1.5,
        ls="--" if pale else "-" if thin else line_of(colour),
        alpha=0.4 if pale else 1,
        zorder=3,
    )
    axes.add_patch(patch)
