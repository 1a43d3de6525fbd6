"""Ensembles drawn from a random exchangeable mixture."""

from typing import Literal, NamedTuple

import numpy as np


class MixtureTruth(NamedTuple):
    """The parameters that a simulated mixture was drawn with, in the units of the data."""

    weights: np.ndarray
    """π_k, shape (K,)"""
    means: np.ndarray
    """μ_k, shape (K, D)"""
    within: np.ndarray
    """W_k, the covariance of the members within an ensemble, shape (K, D, D)"""
    between: np.ndarray
    """B_k, the covariance of the ensembles' centres, shape (K, D, D)"""


def make_exchangeable_mixture(
    n: int,
    M: int,
    D: int,
    K: int,
    seed: int = 0,
    covariance: Literal["diagonal", "full"] = "diagonal",
    between: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, MixtureTruth]:
    """Draw ensembles from a random exchangeable Gaussian mixture.

    The parameters are drawn first: π ~ Dirichlet(1), μ_k ~ N(0, I), and the covariance within an
    ensemble W_k = diag |N(0, 1)| (``"diagonal"``) or a Wishart matrix with D + 2 degrees of freedom
    and mean I (``"full"``). Then, for each ensemble, its cluster, its centre
    c_i ~ N(μ_k, between · W_k), and its members x_im ~ N(c_i, W_k). Every one of these has a random
    stream of its own, so that means and covariances are independent, and the same seed draws the
    same mixture whatever n and M are.

    Parameters
    ----------
    n, M, D, K : int
        Numbers of ensembles, members, variables and clusters.
    seed : int
        Seed of all draws.
    covariance : {"diagonal", "full"}
        How W_k is drawn.
    between : float
        B_k = between · W_k: 0 gives independent members, more gives members with a shared centre.

    Returns
    -------
    X : ndarray, shape (n, M, D)
    labels : ndarray of int, shape (n,)
    parameters : MixtureTruth

    Raises
    ------
    ValueError
        If a size is below 1, ``between`` is negative, or ``covariance`` is unknown.

    Examples
    --------
    >>> from degmm.datasets import make_exchangeable_mixture
    >>> X, labels, parameters = make_exchangeable_mixture(n=100, M=10, D=2, K=3, seed=0)
    >>> X.shape, parameters.means.shape
    ((100, 10, 2), (3, 2))
    """
    for name, value in {"n": n, "M": M, "D": D, "K": K}.items():
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    if not (np.isfinite(between) and between >= 0):
        raise ValueError(f"between: expected a number of at least 0, got {between}")
    if seed < 0:
        raise ValueError(f"seed: expected an integer of at least 0, got {seed}")
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(6)]
    for_weights, for_means, for_covariances, for_labels, for_centres, for_members = streams

    weights = for_weights.dirichlet(np.ones(K))
    means = for_means.normal(size=(K, D))
    if covariance == "diagonal":
        within = np.abs(for_covariances.normal(size=(K, D)))[:, :, None] * np.eye(D)
    elif covariance == "full":
        factor = for_covariances.normal(size=(K, D, D + 2)) / np.sqrt(D + 2)
        within = factor @ factor.transpose(0, 2, 1)
    else:
        raise ValueError(f"covariance: expected 'diagonal' or 'full', got {covariance!r}")

    root = np.linalg.cholesky(within)
    labels = for_labels.choice(K, size=n, p=weights)
    centres = means[labels]
    if between > 0:
        centres = centres + np.sqrt(between) * np.einsum(
            "nde,ne->nd", root[labels], for_centres.normal(size=(n, D))
        )
    X = for_members.normal(size=(n, M, D))
    for k in range(K):
        chosen = labels == k
        X[chosen] = X[chosen] @ root[k].T
    X += centres[:, None, :]
    return X, labels, MixtureTruth(weights, means, within, between * within)
