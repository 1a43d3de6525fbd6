"""Ensembles for the tests of fits to blocks, and what it is for two fits to be the same."""

from functools import cache

import numpy as np

from degmm import EGMM, spill
from degmm.datasets import make_exchangeable_mixture

PARAMETERS = ("weights_", "means_", "within_covariances_", "between_covariances_")
FITTED = (*PARAMETERS, "log_likelihood_")


@cache
def drifting():
    """Return X (3000, 8, 2) with absent members and offsets that drift from block to block, and weights."""
    X, _, _ = make_exchangeable_mixture(3000, 8, 2, 3, seed=1, covariance="full", between=0.3)
    X = X * [1.0, 20.0] + [273.15, 0.0] + np.linspace(0, 3, 3000)[:, None, None]
    rng = np.random.default_rng(0)
    absent = rng.uniform(size=(3000, 8)) < 0.2
    absent[:, 0] = False
    X[absent] = np.nan
    weights = rng.uniform(0, 2, size=3000)
    weights[::7] = 0
    X.flags.writeable = weights.flags.writeable = False
    return X, weights


@cache
def first_fit():
    """Return a model fitted to some of the ensembles, from which fits to all start."""
    return EGMM(3, random_state=0, n_init=4).fit(drifting()[0][:300])


def nothing_kept(patch):
    """Have moments of more than nothing go to a file, of pages of 1024 ensembles."""
    patch.setattr(spill, "KEPT_BYTES", 0)
    patch.setattr(spill, "PAGE_BYTES", 1)


def cut(X, sizes):
    """Return blocks of these sizes in turn, until X is used up."""
    blocks, at = [], 0
    while at < len(X):
        size = sizes[len(blocks) % len(sizes)]
        blocks.append(X[at : at + size])
        at += size
    return blocks


def assert_same_fit(one, other, rtol=1e-6):
    for name in FITTED:
        np.testing.assert_allclose(
            getattr(one, name), getattr(other, name), rtol=rtol, atol=1e-12, err_msg=name
        )
    np.testing.assert_array_equal(one.labels_, other.labels_)
    assert (one.n_iter_, one.result_, one.n_members_) == (other.n_iter_, other.result_, other.n_members_)
    np.testing.assert_allclose(one.history_["log_likelihood"], other.history_["log_likelihood"], rtol=rtol)
