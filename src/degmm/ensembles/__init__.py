"""Ensemble data: the labelled type, validation of arrays, and readers of files."""

from degmm.ensembles.arrays import as_members, labelled, members_of, variable_names
from degmm.ensembles.climatology import Climatology
from degmm.ensembles.context import ContextRecipe
from degmm.ensembles.control import unlike_members
from degmm.ensembles.ensemble import Ensemble
from degmm.ensembles.reader import read_ensemble

__all__ = [
    "Climatology",
    "ContextRecipe",
    "Ensemble",
    "as_members",
    "labelled",
    "members_of",
    "read_ensemble",
    "unlike_members",
    "variable_names",
]
