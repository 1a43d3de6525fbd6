"""Central intervals of forecasts, and which observations lie in them, against counting by hand."""

import numpy as np
import pytest
from scipy.stats import norm

from degmm.verification import central_interval, coverage, inside


class Normal:
    def __init__(self, mean):
        self.mean = np.asarray(mean, float)

    def cdf(self, y):
        return norm.cdf(np.asarray(y) - self.mean)

    def quantile(self, q):
        return self.mean[..., None] + norm.ppf(q)


def test_intervals_of_distributions():
    mean = np.arange(6.0).reshape(3, 2)
    low, high = central_interval(Normal(mean), 0.8)
    np.testing.assert_allclose(low, mean - norm.ppf(0.9))
    np.testing.assert_allclose(high, mean + norm.ppf(0.9))


def test_intervals_of_members_are_those_that_coverage_counts_by():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 30)), 1.3 * rng.normal(size=400)
    X[np.arange(30) >= rng.integers(1, 31, 400)[:, None]] = np.nan
    y[3] = np.nan
    low, high = central_interval(X, 0.9)
    some = (~np.isnan(X)).sum(axis=1) > 1
    assert np.isnan(low[~some]).all()
    assert (low[some] <= high[some]).all()
    held = inside(X, y, 0.9)
    used = some & ~np.isnan(y)
    np.testing.assert_array_equal(np.isnan(held.inside), ~used)
    np.testing.assert_array_equal(held.inside[used], ((y >= low) & (y <= high))[used])
    found = coverage(X, y, 0.9)
    assert found == (
        pytest.approx(held.inside[used].mean()),
        pytest.approx(held.nominal[used].mean()),
        used.sum(),
    )
    assert central_interval(np.array([[3.0, 1, 2]]), 0.5) == ([1], [3])  # a half is nearest to a level of ½
    assert inside(np.array([[3.0, 1, 2]]), [2.5], 0.5).nominal == [0.5]


def test_inside_of_distributions():
    y = np.array([[0.0, 5], [1.7, np.nan]])
    held = inside(Normal(np.zeros((2, 2))), y, 0.9)
    np.testing.assert_array_equal(held.inside, [[1, 0], [0, np.nan]])
    assert (held.nominal == 0.9).all()


@pytest.mark.parametrize("level", [0, 1, 1.5, True, "0.9"])
def test_a_bad_level(level):
    for call in (central_interval, lambda X, level: inside(X, np.zeros(3), level)):
        with pytest.raises(ValueError, match="level: expected a number between 0 and 1"):
            call(np.zeros((3, 2)), level)
