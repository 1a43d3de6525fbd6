"""Members are exchangeable: no result depends on the order in which they come."""

import numpy as np
import pytest

from degmm import EGMM
from degmm.standard_units import rough_sample, standardised_moments


def heavy(n, M, D, dtype=np.float64):
    X = np.random.default_rng(0).standard_cauchy(size=(n, M, D))
    X[np.random.default_rng(1).uniform(size=(n, M)) < 0.1] = np.nan
    X[:, 0] = np.where(np.isnan(X[:, 0]), 0, X[:, 0])
    return X.astype(dtype)


def shuffled(X, seed=2):
    return (
        np.random.default_rng(seed)
        .permuted(X.view(f"V{X.shape[2] * X.itemsize}")[..., 0], axis=1)
        .view(X.dtype)
        .reshape(X.shape)
    )


@pytest.mark.parametrize(("n", "M", "D"), [(300, 30, 2), (1500, 40, 2), (400, 60, 1), (300, 70, 120)])
def test_units_do_not_depend_on_the_order_of_members(n, M, D):
    X = heavy(n, M, D)
    other = shuffled(X)
    assert not np.array_equal(X, other, equal_nan=True)
    one, two = (standardised_moments(part, np.ones(n))[1] for part in (X, other))
    np.testing.assert_allclose(one.centre, two.centre, rtol=1e-10)
    np.testing.assert_allclose(one.scale, two.scale, rtol=1e-10)


def test_fits_of_heavy_tails_do_not_depend_on_the_order_of_members():
    X = heavy(250, 30, 2)
    one, two = (EGMM(2, n_init=4, random_state=0).fit(part) for part in (X, shuffled(X)))
    assert one.log_likelihood_ == pytest.approx(two.log_likelihood_, rel=1e-9)
    np.testing.assert_array_equal(one.labels_, two.labels_)


def test_all_members_count_while_they_are_few():
    X = heavy(100, 20, 3)
    assert len(rough_sample(X, np.ones(100))) == (~np.isnan(X).any(axis=2)).sum()
    weights = np.where(np.arange(100) < 50, 1.0, 0.0)
    assert len(rough_sample(X, weights)) == (~np.isnan(X[:50]).any(axis=2)).sum()


def test_the_members_that_are_taken_are_present_ones():
    X = heavy(1500, 40, 2)
    sample = rough_sample(X, np.ones(1500))
    assert len(sample) == 1000 * 20
    assert np.isfinite(sample).all()
