"""Projections: learned maps of members of many variables to few, on which a mixture then works."""

from degmm.projections.base import Projection, encoded

__all__ = ["Projection", "encoded"]
