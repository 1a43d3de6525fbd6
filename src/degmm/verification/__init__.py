"""Ensembles and forecasts against what was observed: scores, calibration, and which of two is better."""

from degmm.verification.climatology import climatology_ensemble
from degmm.verification.comparison import DieboldMariano, diebold_mariano, skill_table
from degmm.verification.intervals import Coverage, central_interval, coverage, inside
from degmm.verification.pit import (
    Flatness,
    flatness,
    flatness_in_blocks,
    pit,
    pit_counts,
    reliability_index,
)
from degmm.verification.ranks import rank_counts, ranks
from degmm.verification.resampling import Interval, block_bootstrap, block_length_of
from degmm.verification.scores import crps_ensemble, energy_score, log_score, variogram_score
from degmm.verification.spread import SpreadSkill, spread_skill

__all__ = [
    "Coverage",
    "DieboldMariano",
    "Flatness",
    "Interval",
    "SpreadSkill",
    "block_bootstrap",
    "block_length_of",
    "central_interval",
    "climatology_ensemble",
    "coverage",
    "crps_ensemble",
    "diebold_mariano",
    "energy_score",
    "flatness",
    "flatness_in_blocks",
    "inside",
    "log_score",
    "pit",
    "pit_counts",
    "rank_counts",
    "ranks",
    "reliability_index",
    "skill_table",
    "spread_skill",
    "variogram_score",
]
