"""Calibration of ensemble forecasts: from members to predicted distributions that can be trusted."""

from degmm.calibration.blocked import RegimeSelection, cross_validated, select_regimes
from degmm.calibration.chunked import ChunkedForecast
from degmm.calibration.coupling import ecc, error_copula, schaake_shuffle
from degmm.calibration.emos import EMOS
from degmm.calibration.families import FAMILIES, PredictiveFamily, find_family
from degmm.calibration.forecast import Forecast
from degmm.calibration.regimes import RegimeEMOS

__all__ = [
    "EMOS",
    "FAMILIES",
    "ChunkedForecast",
    "Forecast",
    "PredictiveFamily",
    "RegimeEMOS",
    "RegimeSelection",
    "cross_validated",
    "ecc",
    "error_copula",
    "find_family",
    "schaake_shuffle",
    "select_regimes",
]
