"""The clusters over the epochs of a training."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg

from degmm.files import write_bytes
from degmm.plotting.clusters import clusters
from degmm.plotting.projection import Projection
from degmm.plotting.style import new_figure

FRAME_MS = 120
LAST_FRAME_MS = 2500


def inference_animation(
    path: str | Path,
    points: Float[np.ndarray, "n D"],
    snapshots: Sequence[Any],
    *,
    colours: Sequence[int] | None = None,
    titles: Sequence[str] | None = None,
    most_points: int = 2000,
) -> Path:
    """Write an animated GIF of the clusters at each snapshot of a training.

    Parameters
    ----------
    path : str or Path
        Where to write.
    points : ndarray, shape (n, D)
        One point an ensemble.
    snapshots : sequence
        ``snapshots_`` of a deep estimator that was fitted with ``snapshots`` > 0.
    colours : sequence of int, optional
        Colour number of each cluster.
    titles : sequence of str, optional
        A title for each snapshot; by default its epoch.
    most_points : int
        At most so many ensembles are drawn.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If there is no snapshot.
    """
    from PIL import Image

    if not snapshots:
        raise ValueError("snapshots: none were kept; fit with snapshots=40")
    shown = np.unique(np.linspace(0, len(points) - 1, min(len(points), most_points)).astype(int))
    projection = Projection.of(points)
    figure, (axes,) = new_figure(size=(5.2, 4.4), dpi=100)
    canvas = FigureCanvasAgg(figure)
    frames = []
    for i, snapshot in enumerate(snapshots):
        axes.clear()
        clusters(
            axes,
            points[shown],
            snapshot.labels[shown],
            weights=snapshot.weights,
            means=snapshot.means,
            covariances=snapshot.covariances,
            projection=projection,
            colours=colours,
            title=titles[i] if titles else f"epoch {snapshot.epoch}",
        )
        if len(projection.labels) == 2:  # a histogram has its own
            _fix_limits(axes, projection.points(points[shown]))
        canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
        frames.append(picture.quantize(64, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))
        # The layout is settled by the first frame; it need not be solved again for the others.
        figure.set_layout_engine("none")
    buffer = io.BytesIO()
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]
    frames[0].save(
        buffer, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, disposal=1
    )
    path = Path(path)
    write_bytes(path, buffer.getvalue())
    return path


def _fix_limits(axes: Any, shown: np.ndarray) -> None:
    low, high = shown.min(axis=0), shown.max(axis=0)
    margin = 0.06 * np.where(high > low, high - low, 1)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
