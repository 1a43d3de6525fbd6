"""What a model, or the truth, says of the clusters of ensembles: what jobs compare and pictures show."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from degmm.datasets import MixtureTruth


class Clustering(NamedTuple):
    """One model's answer, in the units of the data."""

    name: str
    members: int
    """Members of an ensemble that the model sees"""
    labels: Int[np.ndarray, "n"]
    log_likelihood: float
    """A member, in nats"""
    weights: Float[np.ndarray, "K"]
    means: Float[np.ndarray, "K D"]
    covariances: Float[np.ndarray, "K D D"]
    seconds: float | None
    """None for the oracle, which is not fitted"""
    kl: float = float("nan")
    """KL(γ ‖ posterior) of a network's γ, in nats per ensemble"""


def clustering_of(name: str, X: Float[np.ndarray, "n M D"], model: Any, seconds: float) -> Clustering:
    """Return the answer of a model that was fitted to X."""
    n, M, _ = X.shape
    return Clustering(
        name,
        M,
        model.labels_,
        model.log_likelihood_ / (n * M),
        model.weights_,
        model.means_,
        model.covariances_,
        seconds,
        getattr(model, "kl_", float("nan")),
    )


def oracle(X: Float[np.ndarray, "n M D"], truth: MixtureTruth, name: str) -> Clustering:
    """Cluster ensembles of independent members by Bayes' rule, with the parameters they were drawn with."""
    from degmm.families import MixtureParameters, make_family
    from degmm.inference.mixture import evaluate
    from degmm.moments import moments_of
    from degmm.precision import precision_of
    from degmm.scaling import Scaling

    n, M, D = X.shape
    moments = moments_of(X, np.ones(n), Scaling(np.zeros(D), np.ones(D)))
    with precision_of(X.dtype):
        parameters = MixtureParameters(*(np.asarray(part, X.dtype) for part in truth))
        log_density, responsibilities = evaluate(make_family("independent", "full"), parameters, moments)
    return Clustering(
        name,
        M,
        np.asarray(responsibilities).argmax(axis=0),
        float(np.asarray(log_density, np.float64).sum() / (n * M)),
        truth.weights,
        truth.means,
        truth.within + truth.between,
        None,
    )
