"""Pictures: every function draws on Matplotlib axes that it is given, and returns them."""

from degmm.plotting.animation import inference_animation
from degmm.plotting.clusters import clusters, ensembles
from degmm.plotting.fields import cluster_fields
from degmm.plotting.marks import cluster_legend
from degmm.plotting.projection import Projection
from degmm.plotting.selection import plot_selection
from degmm.plotting.style import colour_of, new_figure, save_figure
from degmm.plotting.training import training

__all__ = [
    "Projection",
    "cluster_fields",
    "cluster_legend",
    "clusters",
    "colour_of",
    "ensembles",
    "inference_animation",
    "new_figure",
    "plot_selection",
    "save_figure",
    "training",
]
