"""The bootstrap of a fit: EM on resampled ensembles, started from the fit."""

import numpy as np
from jaxtyping import Float, Int

from degmm.families.base import Family, MixtureParameters
from degmm.families.covariance import dense
from degmm.inference.search import EMSettings, best_run
from degmm.inference.solution import Result, reorder
from degmm.moments import Moments


def resampling_counts(n: int, block_length: int, rng: np.random.Generator) -> Int[np.ndarray, "n"]:
    """Return how often each of n cases is drawn, in blocks of consecutive cases.

    Blocks start anywhere and go on at the first case after the last (the circular block bootstrap of
    Politis & Romano 1992); with length 1 this is the ordinary bootstrap.
    """
    starts = rng.integers(n, size=-(-n // block_length))
    drawn = (starts[:, None] + np.arange(block_length)).ravel()[:n] % n
    return np.bincount(drawn, minlength=n)


def bootstrap_parameters(
    family: Family,
    fitted: MixtureParameters,
    moments: Moments,
    settings: EMSettings,
    n_replicates: int,
    block_length: int,
    rng: np.random.Generator,
) -> MixtureParameters:
    """Return the parameters of each replicate (first axis), components matched to the fit's.

    Runs start from the fit, so that they stay at its optimum; components that change places are
    matched by the least total divergence between the densities of single members.
    """
    start = MixtureParameters(*(np.asarray(part)[None] for part in fitted))
    weights = np.asarray(moments.weights)
    replicates = []
    for _ in range(n_replicates):
        counts = resampling_counts(moments.n_samples, block_length, rng)
        resampled = moments._replace(weights=weights * counts.astype(weights.dtype))
        solution = best_run(family, start, resampled, settings)
        if solution.result is Result.NON_FINITE:
            raise ValueError(f"X: a fit to resampled ensembles failed; {solution.result.value}")
        found = solution.parameters
        replicates.append(reorder(found, _match(fitted, found)))
    return MixtureParameters(*map(np.stack, zip(*replicates, strict=True)))


def _match(fitted: MixtureParameters, found: MixtureParameters) -> Int[np.ndarray, "K"]:
    """Return the component of ``found`` that each of ``fitted`` corresponds to."""
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(_divergences(fitted, found))[1]


def _divergences(one: MixtureParameters, other: MixtureParameters) -> Float[np.ndarray, "K K"]:
    """Return KL(N(μ_k, W_k + B_k) ‖ N(μ'_l, W'_l + B'_l)) for all k and l."""
    _, means, within, between = (np.asarray(part, np.float64) for part in one)
    _, other_means, other_within, other_between = (np.asarray(part, np.float64) for part in other)
    covariances, other_covariances = dense(within + between), dense(other_within + other_between)
    precision = np.linalg.inv(other_covariances)
    shift = means[:, None] - other_means
    distance = np.einsum("kld,lde,kle->kl", shift, precision, shift)
    trace = np.einsum("lde,ked->kl", precision, covariances)
    logs = np.linalg.slogdet(other_covariances)[1] - np.linalg.slogdet(covariances)[1][:, None]
    return 0.5 * (distance + trace + logs - means.shape[1])
