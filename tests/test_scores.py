"""Scores by their definitions, in loops over cases and members."""

import numpy as np
import pytest
from scipy.stats import norm

from degmm import Ensemble
from degmm.calibration import Forecast
from degmm.density import MixtureDensity
from degmm.verification import (
    coverage,
    crps_ensemble,
    energy_score,
    log_score,
    pit,
    ranks,
    scores,
    variogram_score,
)


def test_what_is_masked_is_missing():
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(30, 6)), rng.normal(size=30)
    X[4, 1] = X[5] = y[7] = np.nan
    masked_X, masked_y = np.ma.masked_invalid(X), np.ma.masked_invalid(y)
    masked_X.data[masked_X.mask], masked_y.data[masked_y.mask] = 1e4, -9999
    forecast = Forecast(*np.stack([np.ones(30), np.zeros(30), np.ones(30)])[..., None])
    for of in (crps_ensemble, ranks, lambda X, y: forecast.crps(y), lambda X, y: pit(forecast, y)):
        found = of(masked_X, masked_y)
        np.testing.assert_array_equal(found, of(X, y))
        assert np.isnan(found[7]) or found[7] == -1
    assert coverage(forecast, masked_y) == coverage(forecast, y)


def test_a_forecast_of_another_package():
    class Uniform:
        labels = ("u",)

        def cdf(self, y):
            return np.clip(y, 0, 1)

    y = np.linspace(0.1, 0.9, 9)
    np.testing.assert_array_equal(pit(Uniform(), y), y)


@pytest.fixture
def cases():
    """Members of three variables, some absent, and observations, some missing."""
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(40, 6, 3)), rng.normal(size=(40, 3))
    X[:, 2:][rng.uniform(size=(40, 4)) < 0.4] = np.nan
    X[3, 2, 1] = np.nan  # one variable of a member
    X[5], X[6, 1:], X[6, 0], y[7, 2] = np.nan, np.nan, 1.0, np.nan
    return X, y


def by_definition(X, y, norm_of, fair):
    out = []
    for members, observed in zip(X, y, strict=True):
        members = members[~np.isnan(members).any(axis=1)]
        M = len(members)
        if 1 + fair > M or np.isnan(observed).any():
            out.append(np.nan)
            continue
        first = sum(norm_of(x - observed) for x in members) / M
        second = sum(norm_of(x - z) for x in members for z in members)
        out.append(first - second / (2 * M * (M - 1) if fair else 2 * M * M))
    return np.array(out)


@pytest.mark.parametrize("fair", [False, True])
def test_crps_and_energy_score(cases, fair, monkeypatch):
    X, y = cases
    expected = by_definition(X, y, np.linalg.norm, fair)
    assert np.isnan(expected).sum() == (3 if fair else 2)
    np.testing.assert_allclose(energy_score(X, y, fair), expected, rtol=1e-12)
    one = by_definition(X[..., :1], y[:, :1], np.linalg.norm, fair)
    np.testing.assert_allclose(crps_ensemble(X[..., 0], y[:, 0], fair), one, atol=1e-13)
    np.testing.assert_allclose(crps_ensemble(X[..., :1], y[:, 0], fair), one, atol=1e-13)
    each = [by_definition(X[..., [d]], y[:, [d]], np.linalg.norm, fair) for d in range(3)]
    data = Ensemble.from_numpy(X, observations=y)
    np.testing.assert_allclose(crps_ensemble(data, data.observations, fair), np.stack(each, 1), atol=1e-13)
    monkeypatch.setattr(scores, "BLOCK", 100)  # few cases at a time
    np.testing.assert_allclose(energy_score(X, y, fair), expected, rtol=1e-12)


@pytest.mark.parametrize("p", [0.5, 2])
def test_variogram_score(cases, p):
    X, y = cases
    expected = np.full(40, np.nan)
    for i in range(40):
        members = X[i][~np.isnan(X[i]).any(axis=1)]
        if len(members) and not np.isnan(y[i]).any():
            expected[i] = sum(
                (np.mean(np.abs(members[:, d] - members[:, e]) ** p) - abs(y[i, d] - y[i, e]) ** p) ** 2
                for d in range(3)
                for e in range(3)
            )
    assert np.isnan(expected).sum() == 2
    np.testing.assert_allclose(variogram_score(X, y, p), expected, rtol=1e-12)


def test_the_fair_score_does_not_depend_on_the_number_of_members():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(40_000, 20)), rng.normal(size=40_000)
    expected = 1 / np.sqrt(np.pi)  # of N(0, 1) for its own draws
    assert crps_ensemble(X, y, fair=True).mean() == pytest.approx(expected, abs=0.01)
    assert crps_ensemble(X[:, :3], y, fair=True).mean() == pytest.approx(expected, abs=0.01)
    # E|X − X'| = 2/√π of it is added at M = 3, a third of the half
    assert crps_ensemble(X[:, :3], y).mean() == pytest.approx(expected * 4 / 3, abs=0.01)


def test_log_score():
    means = np.array([[[0.0, 1]], [[2, 3]], [[4, 5]]])
    density = MixtureDensity(np.ones((3, 1)), means, np.tile(np.eye(2), (3, 1, 1, 1)))
    y = np.array([[0.5, 1], [2, np.nan], [4, 7]])
    expected = [-norm.logpdf([0.5, 0]).sum(), np.nan, -norm.logpdf([0, 2]).sum()]
    np.testing.assert_allclose(log_score(density, y), expected)

    class Normal:
        def logpdf(self, y):
            if np.isnan(y).any():
                raise ValueError("no NaN here")
            return norm.logpdf(y, [0, 1, 2])

    np.testing.assert_allclose(log_score(Normal(), [0, np.nan, 1]), -norm.logpdf([0, np.nan, -1]))
    with pytest.raises(ValueError, match="y: there is no observation"):
        log_score(Normal(), [np.nan] * 3)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: crps_ensemble(np.zeros((2, 3)), np.zeros(3)), r"y: expected one observation per case"),
        (lambda: crps_ensemble(np.zeros((2, 3, 2)), np.zeros((2, 3))), r"y: expected shape \(2, 2\)"),
        (lambda: energy_score(np.zeros((2, 3)), np.zeros((2, 1))), r"X: expected members of D variables"),
        (lambda: energy_score(np.full((2, 3, 1), np.inf), np.zeros((2, 1))), "X: infinite"),
        (lambda: variogram_score(np.zeros((2, 3, 1)), np.zeros((2, 1)), p=0), "p: expected a number"),
        (lambda: variogram_score(np.zeros((2, 3, 1)), np.zeros((2, 1)), p="a"), "p: expected a number"),
    ],
)
def test_bad_arguments(call, match):
    with pytest.raises(ValueError, match=match):
        call()
