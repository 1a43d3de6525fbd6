"""Component families: what an exchangeable component is. One file a family, one line here each."""

from degmm.families.base import Family, MixtureParameters, Statistics
from degmm.families.covariance import STRUCTURES, CovarianceStructure
from degmm.families.independent import Independent

FAMILIES: dict[str, type[Family]] = {"independent": Independent}


def make_family(member_model: str, covariance_type: str) -> Family:
    """Return the family by its names.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    for name, value, known in (
        ("member_model", member_model, FAMILIES),
        ("covariance_type", covariance_type, STRUCTURES),
    ):
        if value not in known:
            raise ValueError(f"{name}: expected one of {', '.join(map(repr, known))}; got {value!r}")
    return FAMILIES[member_model](STRUCTURES[covariance_type])


__all__ = [
    "FAMILIES",
    "STRUCTURES",
    "CovarianceStructure",
    "Family",
    "MixtureParameters",
    "Statistics",
    "make_family",
]
