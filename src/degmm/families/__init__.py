"""Component families: what an exchangeable component is. One file a family, one line here each."""

from collections.abc import Callable

import numpy as np

from degmm.choices import find
from degmm.families.base import Family, MixtureParameters, Statistics
from degmm.families.covariance import STRUCTURES, CovarianceStructure
from degmm.families.independent import Independent
from degmm.families.varying_counts import shared_centre

FAMILIES: dict[str, Callable[[CovarianceStructure, np.ndarray | None], Family]] = {
    "independent": lambda covariance, counts: Independent(covariance),
    "shared_centre": shared_centre,
}


def make_family(member_model: str, covariance_type: str, counts: np.ndarray | None = None) -> Family:
    """Return the family by its names, with the M-step for these numbers of members.

    Parameters
    ----------
    member_model, covariance_type : str
        Names in ``FAMILIES`` and ``STRUCTURES``; hyphens stand for underscores.
    counts : ndarray, shape (n,), optional
        Numbers of members of the ensembles to fit; not needed for densities, which are the same.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    name = member_model.replace("-", "_") if isinstance(member_model, str) else member_model
    family = find("member_model", name, FAMILIES)
    return family(find("covariance_type", covariance_type, STRUCTURES), counts)


__all__ = [
    "FAMILIES",
    "STRUCTURES",
    "CovarianceStructure",
    "Family",
    "MixtureParameters",
    "Statistics",
    "make_family",
]
