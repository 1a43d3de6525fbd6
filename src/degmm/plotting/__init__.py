"""Pictures: every function draws on Matplotlib axes, and returns them; one writes an animation to a file."""

from degmm.plotting.animation import inference_animation
from degmm.plotting.calibration import coverage_in_time, forecast_density, regime_errors, scores_by_month
from degmm.plotting.clusters import clusters, ensembles
from degmm.plotting.density import density
from degmm.plotting.fields import cluster_fields
from degmm.plotting.marks import cluster_legend
from degmm.plotting.projection import Projection
from degmm.plotting.responsibilities import responsibilities
from degmm.plotting.selection import selection
from degmm.plotting.style import colour_of, new_figure, save_figure
from degmm.plotting.training import training
from degmm.plotting.verification import pit_histogram, rank_histogram, spread_skill

__all__ = [
    "Projection",
    "cluster_fields",
    "cluster_legend",
    "clusters",
    "colour_of",
    "coverage_in_time",
    "density",
    "ensembles",
    "forecast_density",
    "inference_animation",
    "new_figure",
    "pit_histogram",
    "rank_histogram",
    "regime_errors",
    "responsibilities",
    "save_figure",
    "scores_by_month",
    "selection",
    "spread_skill",
    "training",
]
