"""Pictures of a fit whose cases have times, or whose variables are the points of a grid."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from degmm.ensembles import Ensemble
from degmm.ensembles.times import complete_times, month_of, times_of

NORTH, EAST = ("lat", "latitude"), ("lon", "longitude")


class Fields(NamedTuple):
    """Mean fields of the clusters on a grid of latitudes and longitudes."""

    means: Float[np.ndarray, "K y x"]
    latitude: Float[np.ndarray, "y"]
    longitude: Float[np.ndarray, "x"]
    unit: str


def has_times(kept: Ensemble) -> bool:
    """Return whether the cases have times, several of them and none missing."""
    times = complete_times(kept)
    return times is not None and np.unique(times).size > 1


def draw_regimes(path: Path, kept: Ensemble, responsibilities: np.ndarray) -> None:
    """Draw the clusters' mean probabilities over time and, of cases in several months, by month."""
    from degmm.plotting import new_figure, save_figure
    from degmm.plotting import responsibilities as draw

    times = times_of(kept, "pictures")
    rows = 2 if np.unique(month_of(times)).size > 1 else 1
    figure, axes = new_figure(rows, 1, size=(7.2, 2.5 * rows))
    for panel, by in zip(axes, ("time", "month"), strict=False):
        draw(panel, responsibilities, times, by=by)
    save_figure(figure, path)


def fields_of(model: Any, kept: Ensemble) -> Fields | None:
    """Return the mean fields, if the variables are the points of one grid of latitudes and longitudes."""
    layout = kept.layout
    if layout is None or len(layout.inner_dims) != 2 or np.unique(layout.features[:, 0]).size != 1:
        return None
    places = {dim.lower(): j for j, dim in enumerate(layout.inner_dims)}
    north = next((places[name] for name in NORTH if name in places), None)
    east = next((places[name] for name in EAST if name in places), None)
    if north is None or east is None:
        return None
    degrees = [_degrees(layout, j) for j in (north, east)]
    if any(axis is None for axis in degrees):
        return None
    latitude, longitude = (np.asarray(axis, np.float64) for axis in degrees)
    means = model.means_ if model._projection is None else model.decode(model.means_)
    grid = np.full((len(means), len(latitude), len(longitude)), np.nan)
    grid[:, layout.features[:, 1 + north], layout.features[:, 1 + east]] = means
    return Fields(grid, latitude, longitude, kept.units[0] if kept.units else "")


def draw_fields(path: Path, fields: Fields, model: Any) -> None:
    """Draw the mean fields of the clusters."""
    from degmm.plotting import cluster_fields, save_figure

    axes = cluster_fields(
        fields.means, fields.latitude, fields.longitude, weights=model.weights_, unit=fields.unit
    )
    figure: Any = axes[0].get_figure(root=True)
    save_figure(figure, path)


def _degrees(layout: Any, place: int) -> np.ndarray | None:
    name = layout.inner_dims[place]
    if name not in layout.template.coords:
        return None
    values = layout.template[name].to_numpy()
    return values if values.dtype.kind in "fiu" else None
