"""Ensemble data: the labelled type, validation of arrays, and readers of files."""

from degmm.ensembles.arrays import as_members, members_of
from degmm.ensembles.ensemble import Ensemble
from degmm.ensembles.reader import read_ensemble

__all__ = ["Ensemble", "as_members", "members_of", "read_ensemble"]
