"""Results of sound inputs that must not change: numbers that an earlier version gave, and this one gives.

``python tests/test_pinned.py`` prints what the version that is imported gives. The pins are those of the commit
c8ec63f, before the faults found in trial were mended; docs/robustness.md lists the changes that were meant.
Starts are given, and the numbers of iterations fixed: neither the search for starts nor a rule of stopping is
pinned here.
"""

import json
import warnings

import numpy as np
import pytest

from degmm import DEGMM, EGMM, GMM
from degmm.calibration import EMOS, Forecast
from degmm.verification import (
    coverage,
    crps_ensemble,
    diebold_mariano,
    energy_score,
    pit,
    rank_counts,
    variogram_score,
)

EXACT = 1e-10
"""Relative, of what is computed in float64 in a given order of steps"""
TRAINED = 1e-6
"""Of a deep fit, whose start is searched for; its exact EM steps lead to the same optimum"""


def members(n=60, M=5, D=2, absent=False):
    """Ensembles of two kinds that overlap, with soft probabilities of the kinds as a start."""
    rng = np.random.default_rng(20)
    kind = np.arange(n) % 2
    centre = 3.0 * kind[:, None] * [1.0, -0.5] + 0.7 * rng.normal(size=(n, D))
    X = 10 + centre[:, None] + (1 + 0.5 * kind)[:, None, None] * rng.normal(size=(n, M, D))
    if absent:
        X[::3, 3:] = np.nan
        X[1, 1:, 0] = np.nan
    start = np.stack([0.2 + 0.6 * kind, 0.8 - 0.6 * kind], axis=1)
    return X, start


def cases(n=150, M=8):
    """Forecasts of a positive quantity, often small, and what was observed."""
    rng = np.random.default_rng(21)
    signal = rng.gamma(1.5, 2, size=n)
    X = np.maximum(signal[:, None] * rng.gamma(6, 1 / 5, size=(n, M)) - 0.8, 0)
    y = np.maximum(signal * rng.gamma(4, 1 / 4, size=n) - 0.8, 0)
    return X, y


def of_mixture(model, X, **options):
    """Return what a fitted mixture says, in a few numbers."""
    found = {
        "log likelihood": model.log_likelihood_,
        "weights": model.weights_,
        "means": model.means_,
        "within": model.within_covariances_,
        "between": model.between_covariances_,
        "score": model.score_samples(X[:3]),
        "gamma": model.predict_proba(X[:3])[:, 0],
        "next": model.predictive(X[:2]).logpdf(np.full((2, X.shape[-1]), 11.0)),
        "bic": model.bic(X, **options),
    }
    return {name: np.ravel(part) for name, part in found.items()}


def em(covariance_type="full", member_model="independent", absent=False):
    X, start = members(absent=absent)
    model = EGMM(
        2, covariance_type=covariance_type, member_model=member_model, init_params=start, tol=0, max_iter=12
    )
    return of_mixture(model.fit(X), X)


def single_members():
    X, start = members()
    weights = 1 + np.arange(len(X)) % 3
    model = GMM(2, init_params=start, tol=0, max_iter=12).fit(X[:, 0], sample_weight=weights)
    return of_mixture(model, X[:, 0], sample_weight=weights)


def deep():
    X, _ = members()
    X = np.where((np.arange(len(X)) % 2 == 1)[:, None, None], X + 8, X)
    model = DEGMM(2, max_epochs=20, polish=30, n_init=4, hidden=(4,), random_state=0).fit(X)
    found = of_mixture(model, X)
    return {name: found[name] for name in ("log likelihood", "weights", "means", "within")}


def emos(family):
    X, y = cases()
    if family == "normal":
        X, y = X + 280, y + 279
    model = EMOS(family).fit(X, y)
    forecast = model.predict(X[:3])
    return {
        "crps": np.ravel(model.crps_),
        "mean": forecast.mean(),
        "std": forecast.std(),
        "quantiles": np.ravel(forecast.quantile([0.1, 0.5, 0.95])),
        "cdf": forecast.cdf(y[:3]),
    }


def forecasts(family):
    """A mixture of two distributions of a family, whose parameters are given."""
    K = np.array([[0.3, 0.7], [0.6, 0.4]])
    places, scales = np.array([[1.0, 3.0], [0.5, 6.0]]), np.array([[0.5, 1.0], [0.4, 2.0]])
    shifts = {"shifts": np.full((2, 2), 0.2)} if family == "censored_gamma" else {}
    found = Forecast(K, places, scales, family=family, **shifts)
    y = np.array([0.8, 5.0])
    return {
        "mean": found.mean(),
        "std": found.std(),
        "crps": found.crps(y),
        "logpdf": found.logpdf(y),
        "cdf": found.cdf(y),
        "quantiles": np.ravel(found.quantile([0.3, 0.5, 0.95])),
    }


def scores():
    X, y = cases()
    X = X + 0.01 * np.random.default_rng(22).random(X.shape)  # no ties, which random numbers settle
    y = y + 0.005
    pairs = np.stack([X, np.roll(X, 1, axis=0)], axis=2), np.stack([y, np.roll(y, 1)], axis=1)
    found = crps_ensemble(X, y), crps_ensemble(X, y, fair=True)
    test = diebold_mariano(*found)
    held = coverage(X, y, 0.7)
    normal = Forecast(np.ones((len(y), 1)), X.mean(1)[:, None], X.std(1)[:, None] + 0.1)
    return {
        "crps": found[0][:5],
        "fair": found[1][:5],
        "means": [part.mean() for part in found],
        "energy": energy_score(*pairs)[:4],
        "variogram": variogram_score(*pairs)[:4],
        "ranks": rank_counts(X, y),
        "coverage": [held.coverage, held.nominal],
        "pit": pit(normal, y)[:4],
        "diebold_mariano": [test.statistic, test.p_value],
    }


FAMILIES = ("normal", "truncated_normal", "censored_logistic", "censored_gamma")
CASES = {
    "EM, full": em,
    "EM, diag": lambda: em("diag"),
    "EM, spherical": lambda: em("spherical"),
    "EM, tied": lambda: em("tied"),
    "EM, absent members": lambda: em(absent=True),
    "shared centres, full": lambda: em("full", "shared_centre"),
    "shared centres, diag, absent members": lambda: em("diag", "shared_centre", absent=True),
    "single members": single_members,
    "deep": deep,
    **{f"EMOS, {family}": lambda family=family: emos(family) for family in FAMILIES},
    **{f"forecast, {family}": lambda family=family: forecasts(family) for family in FAMILIES},
    "scores": scores,
}


def found_by(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a number of iterations that is fixed is no convergence
        return {name: np.ravel(part).astype(float).tolist() for name, part in CASES[case]().items()}


PINS = json.loads("""
{}
""")


@pytest.mark.parametrize("case", CASES)
def test_results_are_as_they_were(case):
    found, pinned = found_by(case), PINS[case]
    assert found.keys() == pinned.keys()
    for name, expected in pinned.items():
        scale = max(map(abs, expected))
        tolerance = TRAINED if case == "deep" else EXACT
        np.testing.assert_allclose(
            found[name], expected, rtol=tolerance, atol=tolerance * scale, err_msg=f"{case}: {name}"
        )


if __name__ == "__main__":
    for case in CASES:
        print(json.dumps({case: found_by(case)}))
