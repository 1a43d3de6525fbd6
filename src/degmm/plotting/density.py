"""The density of a single member under a fitted mixture, of one or two of its variables."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from sklearn.utils.validation import check_is_fitted

from degmm.density import MixtureDensity
from degmm.plotting.marks import legend_beside, mark_means, number_clusters
from degmm.plotting.regions import grid_lines, regions, window
from degmm.plotting.style import colour_of, entitle, line_of
from degmm.wording import percent

LEVELS = (0.5, 0.8, 0.95, 0.99)
CURVE = 0.999
"""Probability of the region over which a curve is drawn"""
LIGHTEST, DARKEST = 0.1, 0.5
"""Of the map of greys"""
POINTS = "#1F4E79"
MOST_POINTS = 3000
"""More would hide the density; a random sample is drawn."""
MOST_BINS = 60


def density(
    axes: Axes,
    model: Any,
    *,
    X: Any = None,
    show: str = "members",
    features: int | str | Sequence[int | str] = (0, 1),
    levels: Sequence[float] = LEVELS,
    colours: Sequence[int] | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the density of a single member, Σ_k π_k N(μ_k, W_k + B_k), in one or two variables.

    Two variables are drawn as the regions of highest density that hold 50, 80, 95 and 99 % of members,
    with a square at each component's mean; one variable as a curve (dark) with those of the components,
    times their weights.

    Parameters
    ----------
    axes : matplotlib Axes
    model : GMM, EGMM, DGMM or DEGMM
        Fitted, without a projection.
    X : Ensemble, xarray.DataArray or array-like, shape (n, M, D), optional
        Ensembles to draw behind the curves, as a histogram, or upon the regions, as faint points.
    show : {"members", "means"}
        Whether single members of X are drawn, which the density is of, or the means of ensembles, which
        scatter less.
    features : int, str, or one or two of them
        The variables, by position, or by name where the model knows names; by default the first two,
        or the only one.
    levels : sequence of float
        Probabilities of the regions, for two variables.
    colours : sequence of int, optional
        Colour number of each cluster, as in :func:`degmm.plotting.clusters`.
    title : str, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the variables are unknown or more than two, a level is not between 0 and 1, ``show`` is
        unknown, the number of colours is wrong, or X does not fit the model.
    """
    check_is_fitted(model)
    kept = _features(model, features)
    if show not in ("members", "means"):
        raise ValueError(f"show: expected 'members' or 'means', got {show!r}")
    held = sorted({float(level) for level in levels})
    if not held or not 0 < held[0] <= held[-1] < 1:
        raise ValueError(f"levels: expected probabilities between 0 and 1, got {levels!r}")
    K = model.n_components
    numbers = list(range(K) if colours is None else colours)
    if len(numbers) != K:
        raise ValueError(f"colours: expected {K}, one per cluster, got {len(numbers)}")
    mixture = _marginal(model, kept)
    points = None if X is None else _points(model, X, kept, show)
    names = _names(model, kept)
    axes.set_xlabel(names[0])
    if len(kept) == 1:
        _curve(axes, mixture, points, show, numbers)
        unit = names[0].partition(" [")[2].rstrip("]")
        inverse = f"1/({unit})" if set(unit) & set("/* ") else f"1/{unit}"
        axes.set_ylabel(f"density [{inverse}]" if unit else "density")
    else:
        _contours(axes, mixture, points, show, held, numbers)
        axes.set_ylabel(names[1])
    entitle(axes, title)
    return axes


def _features(model: Any, features: int | str | Sequence[int | str]) -> list[int]:
    """Return the positions of the variables."""
    chosen = [features] if isinstance(features, str | int | np.integer) else list(features)
    if len(chosen) > 2:
        raise ValueError(f"features: expected one or two variables, got {len(chosen)}")
    # The default has to do for a model of one variable.
    only = chosen == [0, 1] and model.n_features_in_ == 1
    return model._positions("features", [0] if only else chosen)


def _marginal(model: Any, kept: Sequence[int]) -> MixtureDensity:
    """Return the density of the variables kept, as one row."""
    weights, means, covariances = (
        np.asarray(part, np.float64)[None] for part in (model.weights_, model.means_, model.covariances_)
    )
    return MixtureDensity(weights / weights.sum(), means[..., kept], covariances[..., kept, :][..., kept])


def _names(model: Any, kept: Sequence[int]) -> list[str]:
    D = model.n_features_in_
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        names = [f"variable {d + 1}" for d in range(D)] if D > 1 else ["value"]
    if model.climatology_ is not None:
        names = [f"anomaly of {name}" for name in names]
    units = model._units or ("",) * D
    return [f"{names[d]} [{units[d]}]" if units[d] else str(names[d]) for d in kept]


def _points(model: Any, X: Any, kept: Sequence[int], show: str) -> Float[np.ndarray, "m p"]:
    """Return members that are present, or means of ensembles, of the variables kept."""
    members = model._validated(X).astype(np.float64)
    members[np.isnan(members).any(axis=2)] = np.nan
    points = np.nanmean(members, axis=1) if show == "means" else members.reshape(-1, members.shape[2])
    return points[~np.isnan(points).any(axis=1)][:, kept]


def _curve(
    axes: Axes, mixture: MixtureDensity, points: np.ndarray | None, show: str, colours: list[int]
) -> None:
    found = regions(mixture, [CURVE])
    low, high = float(found.low[0]), float(found.high[0])
    top = 0.0
    if points is not None:
        bins = int(np.clip(3 * np.cbrt(len(points)), 8, MOST_BINS))
        label = "members of X" if show == "members" else "ensemble means of X"
        heights = axes.hist(points[:, 0], bins, density=True, color="#D5D5D5", label=label)[0]
        top = float(np.max(heights))
        low, high = min(low, float(points.min())), max(high, float(points.max()))
    ends = window(low, high)
    x = grid_lines(mixture, 0, *ends)
    total = np.exp(mixture.logpdf(x[None, :, None])[0])
    peaks = []
    for k, colour in enumerate(colours):
        one = MixtureDensity(np.ones((1, 1)), mixture.means[:, [k]], mixture.covariances[:, [k]])
        each = mixture.weights[0, k] * np.exp(one.logpdf(x[None, :, None])[0])
        peaks.append(each.max())
        axes.plot(x, each, color=colour_of(colour), ls=line_of(colour), lw=1.4)
    axes.plot(x, total, color="#333333", lw=1.0, label="density")
    axes.set_xlim(*ends)
    # A very narrow component would flatten the histogram.
    highest = 1.05 * max(top, float(total.max()))
    axes.set_ylim(0, min(highest, 1.5 * top) if top else highest)
    centres = mixture.means[0, :, 0]
    mark_means(axes, np.column_stack([centres, np.zeros(len(centres))]), colours, [False] * len(centres))
    number_clusters(axes, np.column_stack([centres, peaks]), colours)
    legend_beside(axes, axes.get_legend_handles_labels()[0] + _components(mixture.weights[0], colours, "-"))


def _contours(
    axes: Axes,
    mixture: MixtureDensity,
    points: np.ndarray | None,
    show: str,
    levels: list[float],
    colours: list[int],
) -> None:
    found = regions(mixture, levels)
    low, high = found.low, found.high
    if points is not None:
        low, high = np.minimum(low, points.min(axis=0)), np.maximum(high, points.max(axis=0))
    ends = [window(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    x, y = (grid_lines(mixture, axis, *ends[axis]) for axis in (0, 1))
    at = np.stack(np.meshgrid(x, y), axis=-1)
    log_density = mixture.logpdf(at.reshape(1, -1, 2))[0].reshape(len(y), len(x))
    # Logarithms are near to parabolas, which contours between grid points suit better than bells.
    heights = [*found.levels[::-1], max(float(log_density.max()), float(found.levels[0])) + 1.0]
    greys = mpl.colormaps["Greys"](np.linspace(LIGHTEST, DARKEST, len(levels)))
    axes.contourf(x, y, log_density, levels=heights, colors=greys, zorder=0)
    axes.contour(
        x,
        y,
        log_density,
        levels=heights[:-1],
        colors="#555555",
        linestyles="solid",
        linewidths=0.6,
        zorder=0.5,
    )
    handles: list[Any] = [
        Patch(fc=grey, ec="#555555", lw=0.6, label=f"{100 * level:g} % of members")
        for grey, level in zip(greys[::-1], levels, strict=True)
    ]
    if points is not None:
        drawn = points
        if len(points) > MOST_POINTS:
            drawn = points[np.random.default_rng(0).choice(len(points), MOST_POINTS, replace=False)]
        label = "member of X" if show == "members" else "ensemble mean of X"
        look: Any = {"s": 3, "color": POINTS, "lw": 0, "alpha": 0.35, "rasterized": True}
        handles.append(axes.scatter(drawn[:, 0], drawn[:, 1], zorder=1, label=label, **look))
    axes.set_xlim(*ends[0])
    axes.set_ylim(*ends[1])
    mark_means(axes, mixture.means[0], colours, [False] * len(colours))
    number_clusters(axes, mixture.means[0], colours)
    legend_beside(axes, handles + _components(mixture.weights[0], colours, "none"))


def _components(weights: np.ndarray, colours: list[int], line: str) -> list[Any]:
    return [
        Line2D(
            [],
            [],
            color=colour_of(colour),
            ls=line_of(colour) if line == "-" else "none",
            marker="s",
            ms=5.5,
            mec="white",
            label=f"cluster {k} ({percent(float(weight))})",
        )
        for k, (weight, colour) in enumerate(zip(weights, colours, strict=True))
    ]
