"""The estimators, in scikit-learn's form."""

from degmm.estimators.em import EGMM, GMM

__all__ = ["DAGMM", "DEGMM", "DGMM", "EGMM", "GMM"]


def __getattr__(name: str) -> object:
    # The deep estimators bring flax and optax; who fits by EM does not wait for them.
    if name == "DEGMM":
        from degmm.estimators.deep import DEGMM

        return DEGMM
    if name == "DAGMM":
        from degmm.estimators.dagmm import DAGMM

        return DAGMM
    if name == "DGMM":
        from degmm.estimators.deep_single import DGMM

        return DGMM
    raise AttributeError(f"module 'degmm.estimators' has no attribute {name!r}")
