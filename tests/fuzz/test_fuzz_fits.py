"""Fits of all models to hostile data: finite answers, a ValueError that names its argument, or a code of failure."""

import re
import traceback
import warnings
from collections import Counter

import numpy as np
import pytest
from sklearn.base import clone

from degmm import DAGMM, DEGMM, DGMM, EGMM, GMM
from degmm.calibration import EMOS, FAMILIES, RegimeEMOS
from fuzz import hostile
from fuzz.cases import seeds

pytestmark = pytest.mark.slow

N = 24
EM = {"n_init": 2, "max_iter": 6, "random_state": 0}
DEEP = {"n_init": 2, "max_epochs": 4, "hidden": (4,), "polish": 1, "random_state": 0}
# model, members, variables, precision: each is a program or two of its own
BY_EM = [
    (GMM(2, **EM), 1, 2, np.float64),
    (GMM(3, covariance_type="diag", **EM), 1, 2, np.float32),
    (EGMM(2, **EM), 4, 2, np.float64),
    (EGMM(2, **EM), 4, 2, np.float32),
    (EGMM(2, dtype="float32", **EM), 4, 2, np.float64),
    (EGMM(2, covariance_type="tied", member_model="shared_centre", **EM), 4, 2, np.float64),
    (EGMM(3, covariance_type="diag", member_model="shared_centre", **EM), 50, 2, np.float64),
    (EGMM(2, covariance_type="spherical", **EM), 50, 3, np.float32),
    (EGMM(2, **EM), 3, 40, np.float64),
]
BY_NETWORKS = [
    (DEGMM(2, **DEEP), 4, 2, np.float64),
    (DEGMM(2, encoder="deep_sets", projection="linear", latent_dim=1, **DEEP), 4, 3, np.float32),
    (DGMM(2, objective="likelihood", **DEEP), 1, 2, np.float32),
    (DAGMM(2, latent_dim=1, encoder_layers=(4,), max_epochs=3, random_state=0), 1, 3, np.float64),
]
NAMED = re.compile(r"(X\b|y|sample_weight|context|init_params|n_components|latent_dim|learning_rate)\b")
"""How the message of a refusal begins"""
FITTED = (
    "weights_",
    "means_",
    "within_covariances_",
    "between_covariances_",
    "covariances_",
    "log_likelihood_",
    "kl_",
    "offset_",
)


def refused(error):
    """Return True for a sentence that names its argument; anything else is a fault."""
    assert NAMED.match(str(error)), f"a message without an argument: {error}"
    assert "Input contains" not in str(error)
    return True


def check_model(model, X, used):
    """Assert that all that a fitted model has and says of the ensembles that it used is finite."""
    for name in FITTED:
        if hasattr(model, name):
            assert np.isfinite(getattr(model, name)).all(), f"{name} is not finite"
    assert model.weights_.sum() == pytest.approx(1, abs=1e-3)
    assert np.isfinite(model.history_.get("log_likelihood", 0)).all()
    assert len(model.labels_) == len(X)
    assert ((model.labels_ >= 0) & (model.labels_ < model.n_components)).all()
    X = X[used]
    for gamma in (model.predict_proba(X), model.posterior(X)):
        assert np.isfinite(gamma).all()
        np.testing.assert_allclose(gamma.sum(axis=1), 1, atol=1e-3)
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.bic(X))


def fit_case(model, M, D, dtype, seed):
    """Fit one case; return how it ended."""
    rng = np.random.default_rng(seed)
    X = hostile.members(rng, N, M, D)
    X = X if M == 1 else hostile.with_absent(rng, X)
    with np.errstate(over="ignore"):
        X = X.astype(dtype)
    weights = hostile.weights(rng, N)
    model = clone(model)
    streams = type(model) in (EGMM, GMM) and rng.uniform() < 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            model.fit(iter([X[:9], X[9:]]) if streams else X, sample_weight=weights)
        except ValueError as error:
            return refused(error) and "refused"
        if model.result_.name == "NON_FINITE":
            return "NON_FINITE"
        used = np.full(N, True) if weights is None else weights > 0
        check_model(model, X, used)
        if type(model) is EGMM and rng.uniform() < 0.1:
            try:
                found = model.bootstrap(X, 2, sample_weight=weights, random_state=0)
            except ValueError as error:
                return refused(error) and "refused"
            assert all(np.isfinite(part).all() for part in found.replicates.values())
    return model.result_.name


def all_cases(models, share, of_one):
    """Try all cases, and tell of all that fail at once; return how many ended how."""
    ends, faults = Counter(), []
    for seed in seeds(share):
        model, *others = models[seed % len(models)]
        try:
            ends[of_one(model, *others, seed)] += 1
        except Exception as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            faults.append(f"seed {seed}, {model}, {others}: {error!r:.200} in {at.name}, line {at.lineno}")
    print(dict(ends), *faults, sep="\n")
    assert not faults, "\n".join(faults[:5])
    assert ends["NON_FINITE"] <= 0.01 * sum(ends.values())


def test_fits_by_em():
    all_cases(BY_EM, 1.0, fit_case)


def test_fits_by_networks():
    all_cases(BY_NETWORKS, 0.05, fit_case)


CALIBRATIONS = [
    *(EMOS(name, max_iter=20, random_state=0) for name in FAMILIES),
    EMOS("censored_gamma", loss="likelihood", max_iter=20, random_state=0),
    RegimeEMOS(1, gate="deep", n_networks=2, hidden=4, max_steps=5, random_state=0),
]


def calibrate_case(model, seed):
    rng = np.random.default_rng(seed)
    X = hostile.members(rng, 60, 4, 1)[..., 0]
    y = X.mean(axis=1) + rng.choice([0.0, 1e-9, 1.0]) * np.abs(X).mean() * rng.normal(size=60)
    if rng.uniform() < 0.3:
        y = hostile.members(rng, 60, 1, 1)[:, 0, 0]
    if rng.uniform() < 0.2:
        X[rng.uniform(size=X.shape) < 0.3] = np.nan
        y[rng.uniform(size=60) < 0.2] = np.nan
    if FAMILIES[model.family].from_zero:
        X, y = np.abs(X), np.abs(y)
    model = clone(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            model.fit(X, y, sample_weight=hostile.weights(rng, 60))
        except ValueError as error:
            return refused(error) and "refused"
        if model.result_.name == "NON_FINITE":
            return "NON_FINITE"
        forecast = model.predict(X)
        some = ~np.isnan(X).all(axis=1)
        assert np.isfinite(model.crps_)
        for what in ("locations", "scales", "weights"):
            assert np.isfinite(getattr(forecast, what)[some]).all(), what
        for answer in (forecast.mean(), forecast.std(), forecast.quantile(0.5), forecast.crps(np.abs(y))):
            assert np.isfinite(answer[some & ~np.isnan(y)]).all()
    return model.result_.name


def test_calibrations():
    all_cases([(model,) for model in CALIBRATIONS], 0.2, calibrate_case)
