"""Small multiples of cluster means that are fields on a grid of latitudes and longitudes."""

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import CenteredNorm, Colormap, Normalize
from matplotlib.ticker import FuncFormatter, MaxNLocator

from degmm.plotting.style import entitle, new_figure
from degmm.wording import counted, percent

DEPARTURES, VALUES = "RdBu_r", "viridis"
"""Maps of colours, told apart with the common forms of colour blindness: a diverging and a sequential one"""
ABSENT = "#BDBDBD"
"""What NaN is drawn in, such as land; neither map has a grey of its own."""
PANEL_WIDTH = 2.8
"""Inches"""
MOST_COLUMNS = 3
STEPS, WIDE_STEPS = (1, 1.5, 2, 3, 5, 10), (1, 1.5, 3, 6, 9, 10)
"""Between degrees with a number; the latter, times a power of 10, where an axis spans more than 60 degrees"""


def cluster_fields(
    fields: Float[np.ndarray, "K y x"],
    latitude: Float[np.ndarray, "y"],
    longitude: Float[np.ndarray, "x"],
    *,
    weights: Float[np.ndarray, "K"] | None = None,
    titles: Iterable[str] | None = None,
    unit: str = "",
    anomalies: bool = True,
    axes: Axes | Sequence[Axes] | None = None,
) -> Sequence[Axes]:
    """Draw the mean field of each cluster, one panel a cluster, with one colour bar for all.

    Parameters
    ----------
    fields : ndarray, shape (K, n_lat, n_lon)
        A field a cluster, as ``model.decode(model.means_).reshape(K, n_lat, n_lon)``. What
        is NaN, or masked in a masked array, such as land, is drawn grey.
    latitude, longitude : ndarray, shape (n_lat,) and (n_lon,)
        Degrees north and east, in any order: north is drawn up and east to the right, and longitudes,
        which may run to 180 or to 360, are cut where the grid has its widest gap.
    weights : ndarray, shape (K,), optional
        Weights of the clusters in the mean of all and, as percentages, in the default titles; by
        default the clusters count alike.
    titles : iterable of str, optional
        One a cluster; by default their numbers, from 0 as in the other pictures.
    unit : str
        That of the fields, for the colour bar.
    anomalies : bool
        Draw how far each field departs from the weighted mean of all, in colours that diverge from 0;
        otherwise the fields themselves, as is the field of a single cluster, which departs from none.
    axes : matplotlib Axes or sequence of them, optional
        One a cluster, of one figure; by default axes of a new figure.

    Returns
    -------
    sequence of matplotlib Axes
        Their ``figure`` can be saved with :func:`degmm.plotting.save_figure`.

    Raises
    ------
    ValueError
        If a shape does not fit, a coordinate is not finite or appears twice, a weight is negative or
        all are 0, or the number of titles or axes is wrong.

    Notes
    -----
    Where a field is NaN the mean of all is that of the others.
    """
    fields = _numbers("fields", fields)
    if fields.ndim != 3 or 0 in fields.shape:
        raise ValueError(f"fields: expected the shape (K, n_lat, n_lon), got {fields.shape}")
    K = len(fields)
    north = _coordinate("latitude", latitude, fields.shape, 1)
    east = _coordinate("longitude", longitude, fields.shape, 2)
    share = _shares(weights, K)
    if titles is None:
        titles = [_title(k, None if weights is None else share[k]) for k in range(K)]
    titles = list(titles) if isinstance(titles, Iterable) and not isinstance(titles, str) else titles
    if not isinstance(titles, list) or len(titles) != K:
        raise ValueError(f"titles: expected one for each of {counted(K, 'cluster')}, got {titles!r}")

    anomalies = anomalies and K > 1
    columns, turned = _eastwards(east)
    rows = np.argsort(north)
    fields, north, east = fields[:, rows][:, :, columns], north[rows], turned
    shown = np.ma.masked_invalid(fields - _mean(fields, share) if anomalies else fields)
    colours, norm = _colours(shown, anomalies)

    if axes is None:
        axes = _new_axes(K, north, east)
    elif isinstance(axes, Axes):
        axes = [axes]
    if len(axes) != K:
        raise ValueError(f"axes: expected {K}, one per cluster, got {len(axes)}")
    x, y = _edges(east), np.clip(_edges(north), -90, 90)
    for k, panel in enumerate(axes):
        panel.set_facecolor(ABSENT)
        panel.pcolormesh(x, y, shown[k], cmap=colours, norm=norm, rasterized=True)
        entitle(panel, titles[k])
        _degrees(panel, x, y)
    _colour_bar(axes, colours, norm, unit, anomalies)
    return axes


def _numbers(name: str, values: Any) -> np.ndarray:
    try:
        given = np.ma.asarray(values)  # also of a list of masked arrays
        if given.dtype.kind == "c":
            raise ValueError("complex numbers; pass their real part, or their absolute values")
        if given.dtype.kind in "mM":
            raise ValueError("dates or durations; pass numbers, in a unit of yours")
        return np.ma.filled(given.astype(np.float64), np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: could not be read as an array of numbers ({error})") from error


def _coordinate(name: str, values: Any, shape: tuple[int, ...], axis: int) -> np.ndarray:
    degrees = _numbers(name, values)
    if degrees.shape != (shape[axis],):
        raise ValueError(
            f"{name}: expected the shape ({shape[axis]},) for fields of shape {shape}, got {degrees.shape}"
        )
    if not np.isfinite(degrees).all():
        raise ValueError(f"{name}: every number must be finite")
    if axis == 1 and np.abs(degrees).max() > 90:
        raise ValueError(
            f"{name}: expected degrees from -90 to 90, got {degrees[np.abs(degrees).argmax()]:g}"
        )
    if np.unique(degrees if axis == 1 else degrees % 360).size < degrees.size:
        raise ValueError(f"{name}: the same degree appears twice")
    return degrees


def _shares(weights: Any, K: int) -> np.ndarray:
    share = np.ones(K) if weights is None else _numbers("weights", weights)
    if share.shape != (K,):
        raise ValueError(f"weights: expected the shape ({K},), one per cluster, got {share.shape}")
    if not (np.isfinite(share).all() and (share >= 0).all() and share.any()):
        raise ValueError("weights: expected finite numbers from 0 upwards, and one above 0")
    return share / share.sum()


def _title(k: int, share: float | None) -> str:
    return f"cluster {k}" if share is None else f"cluster {k} ({percent(float(share))})"


def _mean(fields: np.ndarray, share: np.ndarray) -> np.ndarray:
    present = np.isfinite(fields)
    total = np.einsum("k,kyx->yx", share, present)
    return np.einsum("k,kyx->yx", share, np.where(present, fields, 0)) / np.where(total > 0, total, np.nan)


def _eastwards(east: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the order of columns from west to east, and their degrees, which never fall."""
    order = np.argsort(east % 360)
    around = east[order] % 360
    gaps = np.diff(around, prepend=around[-1] - 360)  # before each column
    # Of gaps that are equal, as around the whole globe, the one where the caller's grid starts.
    widest = np.flatnonzero(gaps > gaps.max() - 1e-6)
    first = next((i for i in widest if order[i] == 0), widest[0])
    order, around = np.roll(order, -first), np.roll(around, -first)
    around = around + 360 * (np.arange(len(around)) >= len(around) - first)
    return order, around - 360 * np.floor((around[0] + 180) / 360)


def _edges(centres: np.ndarray) -> np.ndarray:
    if len(centres) == 1:
        return centres[0] + np.array([-0.5, 0.5])
    middles = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middles[0]], middles, [2 * centres[-1] - middles[-1]]])


def _colours(shown: np.ma.MaskedArray[Any, Any], anomalies: bool) -> tuple[Colormap, Normalize]:
    if anomalies:
        furthest = float(np.abs(shown).max()) if shown.count() else 0.0
        return mpl.colormaps[DEPARTURES], CenteredNorm(0, furthest or 1.0)
    low, high = (float(shown.min()), float(shown.max())) if shown.count() else (0.0, 1.0)
    return mpl.colormaps[VALUES], Normalize(low, high if high > low else low + 1)


def _new_axes(K: int, north: np.ndarray, east: np.ndarray) -> Sequence[Axes]:
    columns = min(K, MOST_COLUMNS)
    rows = -(-K // columns)
    x, y = _edges(east), _edges(north)
    height = float(np.clip(PANEL_WIDTH * np.ptp(y) * _stretch(y) / np.ptp(x), 0.8, 5.0))
    size = (1.4 + PANEL_WIDTH * columns, 0.15 + (height + 0.55) * rows)
    figure, axes = new_figure(rows, columns, size=size, sharex=True, sharey=True)
    for spare in axes[K:]:
        figure.delaxes(spare)
    for above in axes[max(K - columns, 0) : K]:  # the lowest panel of each column
        above.tick_params(labelbottom=True)
    return axes[:K]


def _stretch(y: np.ndarray) -> float:
    """Return how much longer a degree north is drawn than a degree east, as it is in the middle."""
    return float(1 / max(np.cos(np.radians((y[0] + y[-1]) / 2)), 0.3))


def _degrees(panel: Axes, x: np.ndarray, y: np.ndarray) -> None:
    panel.set_aspect(_stretch(y))
    for axis, edges, letters in ((panel.xaxis, x, "EW"), (panel.yaxis, y, "NS")):
        steps = WIDE_STEPS if np.ptp(edges) > 60 else STEPS
        axis.set_major_locator(MaxNLocator(5, steps=steps))
        axis.set_major_formatter(FuncFormatter(lambda value, _, letters=letters: _degree(value, letters)))


def _degree(value: float, letters: str) -> str:
    """Return a degree with its direction; 0° and 180° have none on longitudes, and the equator has none."""
    if letters == "EW":
        value = (value + 180) % 360 - 180
    if value == 0 or (letters == "EW" and value == -180):
        return f"{abs(value):g}°"
    return f"{abs(value):g}°{letters[int(value < 0)]}"


def _colour_bar(axes: Sequence[Axes], colours: Colormap, norm: Normalize, unit: str, anomalies: bool) -> None:
    figure = axes[0].get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(
        ScalarMappable(norm, colours), ax=list(axes), location="right", aspect=25, pad=0.015
    )
    label = "departure from the mean" if anomalies else "mean of the cluster"
    bar.set_label(f"{label} [{unit}]" if unit else label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_linewidth(0.7)
