"""The same quantities by another route: slow, plain and independent of the package's own algebra."""

import numpy as np
from scipy.special import logsumexp
from scipy.stats import multivariate_normal


def stacked_covariance(W: np.ndarray, B: np.ndarray, M: int) -> np.ndarray:
    """Return W ⊗ I + B ⊗ 11ᵀ for the members of an ensemble laid end to end; a vector is a diagonal."""
    W, B = (np.diag(part) if part.ndim == 1 else part for part in (np.asarray(W), np.asarray(B)))
    return np.kron(np.eye(M), W) + np.kron(np.ones((M, M)), B)


def log_densities(X: np.ndarray, weights, means, within, between) -> np.ndarray:
    """Return log π_k + log f_k(x_i) by scipy on the stacked M·D vector, shape (n, K); NaN members are left out."""
    out = np.empty((len(X), len(weights)))
    for i, members in enumerate(X):
        members = members[~np.isnan(members).any(axis=1)]
        for k in range(len(weights)):
            covariance = stacked_covariance(within[k], between[k], len(members))
            mean = np.tile(means[k], len(members))
            out[i, k] = np.log(weights[k]) + multivariate_normal(mean, covariance).logpdf(members.ravel())
    return out


def mixture_log_density(X: np.ndarray, weights, means, within, between) -> np.ndarray:
    """Return the log density of each ensemble under the mixture."""
    return logsumexp(log_densities(X, weights, means, within, between), axis=1)


def m_step(X: np.ndarray, gamma: np.ndarray):
    """Return (π, μ, W) of independent members by sums over single members; gamma is (n, K)."""
    K, D = gamma.shape[1], X.shape[2]
    weights, means, within = gamma.sum(0) / gamma.sum(), np.zeros((K, D)), np.zeros((K, D, D))
    for k in range(K):
        mass = 0.0
        for i, members in enumerate(X):
            for x in members[~np.isnan(members).any(axis=1)]:
                means[k] += gamma[i, k] * x
                mass += gamma[i, k]
        means[k] /= mass
        for i, members in enumerate(X):
            for x in members[~np.isnan(members).any(axis=1)]:
                within[k] += gamma[i, k] * np.outer(x - means[k], x - means[k]) / mass
    return weights, means, within
