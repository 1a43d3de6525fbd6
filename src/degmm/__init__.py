"""DEGMM: exchangeable Gaussian mixtures for ensemble data, by EM and by deep inference.

Names are imported when first used, so that ``import degmm`` and ``degmm --help`` stay light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "GMM": "degmm.estimators",
    "EGMM": "degmm.estimators",
    "DGMM": "degmm.estimators",
    "DEGMM": "degmm.estimators",
    "DAGMM": "degmm.estimators",
    "Ensemble": "degmm.ensembles",
    "read_ensemble": "degmm.ensembles",
    "Comparison": "degmm.comparison",
    "compare": "degmm.comparison",
    "Selection": "degmm.selection",
    "select_components": "degmm.selection",
    "devices": "degmm.sharding",
    "load": "degmm.io",
    "save": "degmm.io",
}
_MODULES = ("calibration", "datasets", "plotting")

__all__ = [*_EXPORTS, *_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    if name in _MODULES:
        return import_module(f"degmm.{name}")
    raise AttributeError(f"module 'degmm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:  # for type checkers and editors; at run time __getattr__ imports
    from degmm import calibration as calibration
    from degmm import datasets as datasets
    from degmm import plotting as plotting
    from degmm.comparison import Comparison as Comparison
    from degmm.comparison import compare as compare
    from degmm.ensembles import Ensemble as Ensemble
    from degmm.ensembles import read_ensemble as read_ensemble
    from degmm.estimators import DAGMM as DAGMM
    from degmm.estimators import DEGMM as DEGMM
    from degmm.estimators import DGMM as DGMM
    from degmm.estimators import EGMM as EGMM
    from degmm.estimators import GMM as GMM
    from degmm.io import load as load
    from degmm.io import save as save
    from degmm.selection import Selection as Selection
    from degmm.selection import select_components as select_components
    from degmm.sharding import devices as devices
