"""What must not change a fit from given starts: the order of cases, members and variables, units, copies for weights."""

import warnings

import numpy as np
import pytest

from degmm import EGMM
from fuzz.cases import seeds

pytestmark = pytest.mark.slow

N, K = 40, 3
# covariances, members of an ensemble, members, variables
KINDS = [
    ("full", "independent", 4, 2),
    ("diag", "independent", 4, 3),
    ("tied", "independent", 1, 2),
    ("full", "shared_centre", 4, 2),
    ("spherical", "shared_centre", 4, 2),
    ("full", "independent", 3, 20),
]
WEIGHTS = np.repeat([1.0, 2.0, 3.0], [10, 20, 10])
"""Of the same sum in all cases, so that their copies are as many"""


def data(rng, M, D):
    """Return ensembles, some of whose members are absent, weights and starting responsibilities."""
    kind = rng.integers(3)
    X = 3 * rng.normal(size=(3, D))[rng.integers(3, size=N)][:, None] + rng.normal(size=(N, 1, D))
    noise = rng.normal(size=(N, M, D)) if kind else rng.standard_t(4, size=(N, M, D))
    X = X + noise
    X = np.round(4 * X) / 4 if kind == 2 else X
    if M > 1 and rng.uniform() < 0.5:
        absent = rng.uniform(size=(N, M)) < 0.3
        absent[np.arange(N), rng.integers(M, size=N)] = False
        X[absent] = np.nan
    distance = ((np.nanmean(X, axis=1)[:, None] - np.nanmean(X, axis=1)[:K]) ** 2).sum(axis=2) / D
    gamma = np.exp(-0.5 * (distance - distance.min(axis=1, keepdims=True))) + 0.05
    return X, rng.permutation(WEIGHTS), gamma / gamma.sum(axis=1, keepdims=True)


def fitted(kind, X, weights, gamma):
    covariance_type, member_model, _, _ = kind
    model = EGMM(
        K,
        covariance_type=covariance_type,
        member_model=member_model,
        init_params=gamma,
        tol=0,
        max_iter=4,
        reg_covar=1e-8,
        min_weight=1e-6,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return model.fit(X, sample_weight=weights)


def check_equal(one, other, scale=1.0, centre=0.0, order=None, log_unit=0.0):
    """Assert that one fit is the other, in the units and order of variables of the other."""
    D = one.means_.shape[1]
    order = np.arange(D) if order is None else order
    scale, centre = np.broadcast_to(scale, D), np.broadcast_to(centre, D)
    size = np.sqrt(np.abs(np.diagonal(one.covariances_, axis1=1, axis2=2)).max(axis=0))
    np.testing.assert_allclose(other.weights_, one.weights_, atol=1e-6)
    means = (other.means_ - centre) / scale
    assert (np.abs(means - one.means_[:, order]) <= 1e-6 * size[order] + 1e-9 * np.abs(centre / scale)).all()
    for name in ("within_covariances_", "between_covariances_"):
        found = getattr(other, name) / np.outer(scale, scale)
        wanted = getattr(one, name)[:, order][:, :, order]
        assert (np.abs(found - wanted) <= 1e-5 * np.outer(size, size)[order][:, order]).all(), name
    assert other.log_likelihood_ + log_unit == pytest.approx(one.log_likelihood_, rel=1e-6, abs=1e-3)


def of_cases(rng, kind, X, weights, gamma):
    order = rng.permutation(N)
    one, other = fitted(kind, X, weights, gamma), fitted(kind, X[order], weights[order], gamma[order])
    check_equal(one, other)
    assert (other.labels_ == one.labels_[order]).mean() > 0.95  # those between two clusters may change


def of_members(rng, kind, X, weights, gamma):
    mixed = np.stack([members[rng.permutation(len(members))] for members in X])
    check_equal(fitted(kind, X, weights, gamma), fitted(kind, mixed, weights, gamma))


def of_variables(rng, kind, X, weights, gamma):
    order = rng.permutation(X.shape[2])
    one, other = fitted(kind, X, weights, gamma), fitted(kind, X[..., order], weights, gamma)
    check_equal(one, other, order=order)


def of_units(rng, kind, X, weights, gamma):
    D = X.shape[2]
    # spherical covariances know a common unit alone
    scale = 10.0 ** rng.uniform(-20, 20, size=1 if kind[0] == "spherical" else D)
    scale = np.broadcast_to(scale * rng.choice([-1, 1], size=D), D)
    centre = rng.choice([0.0, 1e3]) * rng.normal(size=D) * np.abs(scale)
    one, other = fitted(kind, X, weights, gamma), fitted(kind, X * scale + centre, weights, gamma)
    members = (~np.isnan(X[..., 0])).sum(axis=1) @ weights
    check_equal(one, other, scale, centre, log_unit=members * np.log(np.abs(scale)).sum())


def of_copies(rng, kind, X, weights, gamma):
    copies = np.repeat(np.arange(N), weights.astype(int))
    one, other = fitted(kind, X, weights, gamma), fitted(kind, X[copies], None, gamma[copies])
    check_equal(one, other)


def of_blocks(rng, kind, X, weights, gamma):
    first = int(rng.integers(5, N - 5))
    one = fitted(kind, X, weights, gamma)
    check_equal(one, fitted(kind, iter([X[:first], X[first:]]), weights, gamma))


RELATIONS = [of_cases, of_members, of_variables, of_units, of_copies, of_blocks]


def test_equivariance():
    for seed in seeds():
        rng = np.random.default_rng(seed)
        kind = KINDS[seed % len(KINDS)]
        relation = RELATIONS[(seed // len(KINDS)) % len(RELATIONS)]
        try:
            relation(rng, kind, *data(rng, *kind[2:]))
        except Exception as error:
            raise AssertionError(f"seed {seed}, {relation.__name__}, {kind}") from error
