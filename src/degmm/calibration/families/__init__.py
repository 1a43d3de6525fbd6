"""Predictive families: the kinds of distribution of an observed value. One file a family, one line here."""

from typing import Any

from degmm.calibration.families.base import PredictiveFamily
from degmm.calibration.families.censored_gamma import CENSORED_GAMMA
from degmm.calibration.families.censored_logistic import CENSORED_LOGISTIC
from degmm.calibration.families.normal import NORMAL
from degmm.calibration.families.truncated_normal import TRUNCATED_NORMAL
from degmm.choices import find

FAMILIES: dict[str, PredictiveFamily] = {
    family.name: family for family in (NORMAL, TRUNCATED_NORMAL, CENSORED_LOGISTIC, CENSORED_GAMMA)
}


def find_family(name: Any) -> PredictiveFamily:
    """Return the family of this name; hyphens stand for underscores.

    Raises
    ------
    ValueError
        If there is none.
    """
    return find("family", name.replace("-", "_") if isinstance(name, str) else name, FAMILIES)


__all__ = ["FAMILIES", "PredictiveFamily", "find_family"]
