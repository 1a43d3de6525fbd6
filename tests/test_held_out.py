"""Spread calibrated on cases left out, and probabilities below a value."""

import numpy as np
import pytest
from scipy.stats import norm

from degmm.calibration import Forecast
from degmm.calibration.families import find_family
from degmm.calibration.held_out import left_out_by, spread_factor
from degmm.verification import coverage, flatness, pit


@pytest.mark.parametrize("n_networks", [2, 5, 7, 30])
def test_every_network_leaves_out_blocks_of_its_own(n_networks):
    n = 1000
    owner = left_out_by(np.ones(n), n_networks)
    assert set(owner) - {-1} == set(range(n_networks))
    shares = np.bincount(owner[owner >= 0], minlength=n_networks) / n
    assert (shares <= 0.21).all()
    assert (owner == -1).any() == (n_networks < 5)
    if n_networks >= 5:  # in turn
        starts = np.flatnonzero(np.diff(owner)) + 1
        assert len(starts) + 1 >= 20
        assert np.diff(starts).min() >= n // 40


def test_no_network_is_left_without_cases():
    weights = np.zeros(100)
    weights[:4] = 1  # all of them in the first block
    assert (left_out_by(weights, 5)[:4] == -1).all()
    assert (left_out_by(np.ones(100), 1) == -1).all()


def test_spread_factor_is_that_of_errors_too_wide():
    rng = np.random.default_rng(0)
    n = 20_000
    y, one = rng.normal(scale=1.3, size=n), np.ones((n, 1))
    factor = spread_factor(find_family("normal"), y, np.ones(n), one, [0 * one, one])
    assert factor == pytest.approx(1.3, abs=0.02)
    weights = np.where(np.abs(y) < 1, 1.0, 0.0)  # weights count: nothing but small errors
    assert spread_factor(find_family("normal"), y, weights, one, [0 * one, one]) < 1
    assert spread_factor(find_family("normal"), y, np.zeros(n), one, [0 * one, one]) == 1


def test_spread_factor_with_a_mass_at_zero():
    """Half of the observations at 0 or so: neither inside nor outside, but by the share of their mass."""
    rng = np.random.default_rng(1)
    n = 20_000
    location, one = rng.normal(size=(n, 1)), np.ones((n, 1))
    y = np.maximum(rng.logistic(location[:, 0], 1.2), 0)
    factor = spread_factor(find_family("censored_logistic"), y, np.ones(n), one, [location, one])
    assert factor == pytest.approx(1.2, abs=0.04)


def test_probability_below():
    location, scale = np.array([[-1.0], [0.5], [2.0]]), np.ones((3, 1))
    rain = Forecast(np.ones((3, 1)), location, scale, family="censored_logistic")
    y = np.array([0.0, 0.0, 1.5])
    np.testing.assert_allclose(rain.cdf(0.0), 1 / (1 + np.exp(location[:, 0])))
    np.testing.assert_array_equal(rain.cdf_below(y), [0, 0, rain.cdf(y)[2]])
    assert np.isnan(rain.cdf_below([np.nan, 1.0, 1.0])[0])
    normal = Forecast(np.ones((3, 1)), location, scale)
    np.testing.assert_allclose(normal.cdf_below(y), norm.cdf(y, location[:, 0]))


def test_transforms_of_much_zero_are_uniform():
    rng = np.random.default_rng(2)
    n = 4000
    location, one = rng.normal(-0.5, 1, (n, 1)), np.ones((n, 1))
    forecast = Forecast(one, location, 0.8 * one, family="censored_logistic")
    y = np.maximum(rng.logistic(location[:, 0], 0.8), 0)
    assert (y == 0).mean() > 0.4
    assert flatness(np.histogram(pit(forecast, y), 10, (0, 1))[0]).p_value > 1e-3
    assert coverage(forecast, y).coverage == pytest.approx(0.9, abs=0.015)
