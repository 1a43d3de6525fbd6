"""Transforms, tests of flatness and coverage, on forecasts that are calibrated and on such that are not."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import chisquare, kstest, norm

from degmm.verification import (
    coverage,
    flatness,
    flatness_in_blocks,
    pit,
    pit_counts,
    ranks,
    reliability_index,
)


class Normal:
    """N(mean, sd²), which takes no NaN."""

    def __init__(self, mean, sd=1.0):
        self.mean, self.sd = mean, sd

    def cdf(self, y):
        assert not np.isnan(y).any()
        return norm.cdf(y, self.mean, self.sd)


class Rain:
    """0 with probability 0.6, else uniform on (0, 1]."""

    def cdf(self, y):
        return 0.6 + 0.4 * y

    def cdf_below(self, y):
        return np.where(y > 0, self.cdf(y), 0.0)


@pytest.fixture
def forecasts():
    rng = np.random.default_rng(0)
    mean = rng.normal(size=4000)
    y = mean + rng.normal(size=4000)
    y[::10] = np.nan
    return mean, y


def persistent(rng, n, rho):
    """Return standard normals, each with the correlation ``rho`` to the one before."""
    noise = rng.normal(size=n + 100) * np.sqrt(1 - rho**2)
    return lfilter([1], [1, -rho], noise)[100:]


def test_transforms_are_uniform_for_calibrated_forecasts(forecasts):
    mean, y = forecasts
    values = pit(Normal(mean), y)
    assert (np.isnan(values) == np.isnan(y)).all()
    np.testing.assert_allclose(values[1], norm.cdf(y[1] - mean[1]))
    assert kstest(values[~np.isnan(y)], "uniform").pvalue > 1e-3
    counts = pit_counts(Normal(mean), y, 20)
    assert counts.sum() == 3600
    assert flatness(counts).p_value > 1e-3
    assert flatness(pit_counts(Normal(mean, 0.6), y, 20)).p_value < 1e-6
    assert flatness(pit_counts(Normal(mean + 0.3), y, 20)).p_value < 1e-6


def test_transforms_are_drawn_at_point_masses():
    rng = np.random.default_rng(1)
    y = np.where(rng.uniform(size=5000) < 0.6, 0.0, rng.uniform(size=5000))
    values = pit(Rain(), y)
    assert kstest(values, "uniform").pvalue > 1e-3
    assert (values[y == 0] < 0.6).all()
    np.testing.assert_allclose(values[y > 0], 0.6 + 0.4 * y[y > 0])
    assert (pit(Rain(), y, seed=3) == pit(Rain(), y, seed=3)).all()
    assert (pit(Rain(), y, seed=3) != pit(Rain(), y, seed=4)).any()
    found = coverage(Rain(), y, 0.8)
    assert found.coverage == pytest.approx(0.8, abs=0.025)


def test_counts_at_the_ends():
    class Certain:
        def cdf(self, y):
            return np.array([0.0, 1.0, 1 + 1e-9])

    assert pit_counts(Certain(), np.zeros(3), 4).tolist() == [1, 0, 0, 2]
    assert pit(Certain(), np.zeros(3)).max() == 1


def test_reliability_index():
    assert reliability_index([5, 5, 5]) == 0
    assert reliability_index([9, 0, 0]) == pytest.approx(2 / 3 + 1 / 3 + 1 / 3)
    rng = np.random.default_rng(0)
    found = [reliability_index(rng.multinomial(2000, np.ones(20) / 20)) for _ in range(300)]
    assert np.mean(found) == pytest.approx(np.sqrt(2 * 19 / (np.pi * 2000)), rel=0.05)


def test_flatness_is_that_of_scipy():
    counts = [12, 7, 11, 30]
    expected = chisquare(counts)
    assert flatness(counts) == pytest.approx((expected.statistic, expected.pvalue))


def test_blocks_allow_for_persistence():
    rng = np.random.default_rng(2)
    alone, blocks = [], []
    for _ in range(150):
        values = norm.cdf(persistent(rng, 500, 0.8))
        alone.append(flatness(np.histogram(values, 10, (0, 1))[0]).p_value)
        blocks.append(flatness_in_blocks(values, n_replicates=199, random_state=rng).p_value)
    assert np.mean(np.array(alone) < 0.05) > 0.4
    assert np.mean(np.array(blocks) < 0.05) < 0.13
    independent = [
        flatness_in_blocks(rng.uniform(size=500), n_replicates=199, random_state=rng).p_value
        for _ in range(150)
    ]
    assert 0.0 < np.mean(np.array(independent) < 0.1) < 0.2


def test_blocks_find_what_is_not_uniform():
    rng = np.random.default_rng(3)
    values = norm.cdf(1.6 * persistent(rng, 2000, 0.6))
    values[::7] = np.nan
    found = flatness_in_blocks(values)
    assert found.p_value == 1 / 1001
    counts = np.histogram(values[~np.isnan(values)], 10, (0, 1))[0]
    assert found.statistic == pytest.approx(chisquare(counts).statistic)
    assert found == flatness_in_blocks(values)
    X, y = rng.normal(size=(600, 4)), 2 * rng.normal(size=600)
    y[5] = np.nan
    at = ranks(X, y)
    by_rank = flatness_in_blocks(at, 5, block_length=1)
    assert by_rank.statistic == pytest.approx(chisquare(np.bincount(at[at >= 0])).statistic)
    assert by_rank.p_value < 0.01


def test_coverage_of_distributions(forecasts):
    mean, y = forecasts
    found = coverage(Normal(mean), y, 0.9)
    inside = np.abs(y - mean) <= norm.ppf(0.95)
    assert found == (pytest.approx(inside.sum() / 3600), 0.9, 3600)
    assert found.coverage == pytest.approx(0.9, abs=0.02)
    assert coverage(Normal(mean, 0.6), y).coverage < 0.75
    both = coverage(Normal(np.stack([mean, mean], 1)), np.stack([y, mean], 1))
    assert both.coverage[0] == found.coverage
    assert (both.coverage[1], both.count.tolist()) == (1, [3600, 4000])


def test_coverage_of_ensembles_is_at_their_own_level():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(6000, 20))
    X, y = X[:, :19], X[:, 19].copy()
    y[:100] = np.nan
    found = coverage(X, y, 0.9)
    ordered = np.sort(X[100:], axis=1)
    inside = (y[100:] >= ordered[:, 0]) & (y[100:] <= ordered[:, -1])
    assert found == (pytest.approx(inside.mean()), pytest.approx(0.9), 5900)
    half = coverage(X, y, 0.5)
    inside = (y[100:] >= ordered[:, 4]) & (y[100:] <= ordered[:, -5])
    assert half == (pytest.approx(inside.mean()), pytest.approx(0.5), 5900)
    assert coverage(X[:, :9], y, 0.9).nominal == pytest.approx(0.8)
    # Varying numbers, and ties of rounded values, leave the level what it says.
    X[np.arange(19) >= rng.integers(1, 20, 6000)[:, None]] = np.nan
    mixed = coverage(np.rint(X), np.rint(y), 0.8)
    assert mixed.count == (~np.isnan(y) & ((~np.isnan(X)).sum(axis=1) > 1)).sum()
    assert mixed.coverage == pytest.approx(mixed.nominal, abs=0.02)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: pit(Normal(np.zeros(3)), np.full(3, np.nan)), "y: there is no observation"),
        (lambda: pit(Normal(np.zeros((2, 1))), np.zeros(2)), r"y: the forecast has probabilities \(2, 2\)"),
        (lambda: pit_counts(Normal(0), np.zeros(2), 1), "bins: expected an integer of at least 2"),
        (lambda: pit(Normal(0), np.zeros(2), -1), "seed: expected an integer"),
        (lambda: reliability_index([1]), "counts: expected at least two"),
        (lambda: flatness([0, 0]), "counts: expected"),
        (lambda: flatness([-1, 2]), "counts: expected"),
        (lambda: flatness_in_blocks([0.5, 1.5]), r"values: transforms lie in \[0, 1\]"),
        (lambda: flatness_in_blocks(np.array([3, 10]), 10), "values: rank 10 with bins=10"),
        (lambda: flatness_in_blocks(np.array([-1, -1])), "values: there is none"),
        (lambda: flatness_in_blocks(np.array(["a"])), "values: expected numbers"),
        (lambda: flatness_in_blocks([0.5], random_state=-1), "random_state: expected"),
        (lambda: flatness_in_blocks([0.5], block_length=0), "block_length: expected"),
        (lambda: coverage(np.zeros((3, 2)), np.zeros(3), 1), "level: expected a number between"),
        (lambda: coverage(np.zeros((3, 1)), np.zeros(3)), "y: no observation has an ensemble"),
    ],
)
def test_bad_arguments(call, match):
    with pytest.raises(ValueError, match=match):
        call()
