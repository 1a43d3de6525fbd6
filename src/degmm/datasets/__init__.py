"""Generated ensembles with known truth."""

from degmm.datasets.lorenz96 import make_lorenz96
from degmm.datasets.mixture import MixtureTruth, make_exchangeable_mixture

__all__ = ["MixtureTruth", "make_exchangeable_mixture", "make_lorenz96"]
