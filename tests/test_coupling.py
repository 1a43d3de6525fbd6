"""Ensemble copula coupling and the Schaake shuffle."""

import numpy as np
import pytest
import scoringrules as sr

from degmm import Ensemble
from degmm.calibration import EMOS, Forecast, ecc, error_copula, schaake_shuffle
from degmm.calibration.coupling import ranks_within
from degmm.verification import pit


@pytest.fixture(scope="module")
def correlated():
    """Raw ensembles of four correlated variables, biased and too narrow, observations, and a forecast."""
    rng = np.random.default_rng(0)
    n, M, D = 600, 20, 4
    root = np.linalg.cholesky(0.85 ** np.abs(np.subtract.outer(range(D), range(D))))
    centre = rng.normal(0, 2, (n, 1, D))
    X = centre + 1 + 0.6 * rng.normal(size=(n, M, D)) @ root.T
    y = (centre + rng.normal(size=(n, 1, D)) @ root.T)[:, 0]
    return X, y, EMOS().fit(X, y).predict(X)


def test_ranks_and_values_are_kept(correlated):
    X, _, forecast = correlated
    coupled = ecc(forecast, X)
    assert coupled.shape == X.shape
    assert (coupled.argsort(axis=1) == X.argsort(axis=1)).all()
    assert (np.sort(coupled, axis=1) == forecast.to_ensemble(X.shape[1])).all()
    drawn = ecc(forecast, X, "random", random_state=0)
    assert (drawn.argsort(axis=1) == X.argsort(axis=1)).all()
    assert (drawn == ecc(forecast, X, how="random", random_state=0)).all()
    assert (drawn != ecc(forecast, X, how="random", random_state=1)).any()


def test_coupling_improves_multivariate_scores(correlated):
    X, y, forecast = correlated
    rng = np.random.default_rng(1)
    loose = rng.permuted(forecast.to_ensemble(X.shape[1]), axis=1)
    sets = {"raw": X, "loose": loose, "ecc": ecc(forecast, X), "schaake": schaake_shuffle(forecast, y[:20])}
    energy = {k: sr.es_ensemble(y, v, backend="numpy").mean() for k, v in sets.items()}
    variogram = {k: sr.vs_ensemble(y, v, backend="numpy").mean() for k, v in sets.items()}
    assert energy["ecc"] < energy["loose"] < energy["raw"]
    assert variogram["ecc"] < variogram["loose"]


def test_absent_members_stay_absent(correlated):
    X, _, forecast = correlated
    X = X[:5].copy()
    X[0, 3, 1], X[1, 5:], X[2] = np.nan, np.nan, np.nan
    coupled = ecc(forecast[:5], X)
    assert (np.isnan(coupled).all(axis=2) == np.isnan(X).any(axis=2)).all()
    assert (np.isnan(coupled).any(axis=2) == np.isnan(X).any(axis=2)).all()
    present = np.delete(np.arange(20), 3)
    assert (coupled[0, present].argsort(axis=0) == X[0, present].argsort(axis=0)).all()
    np.testing.assert_allclose(np.sort(coupled[1, :5], axis=0), forecast[1:2].to_ensemble(5)[0])


def test_equal_members_are_ordered_at_random():
    X = np.zeros((2000, 3, 1))
    ranks = ranks_within(X, 0)
    assert (np.sort(ranks, axis=1) == np.arange(3)[None, :, None]).all()
    counts = np.bincount(ranks[:, 0, 0], minlength=3)
    assert (np.abs(counts - 2000 / 3) < 100).all()
    assert (ranks == ranks_within(X, 0)).all()
    assert (ranks != ranks_within(X, 1)).any()


def test_shuffle_takes_the_ranks_of_past_observations(correlated):
    _, y, forecast = correlated
    past = y[:12].copy()
    past[3, 0] = np.nan
    shuffled = schaake_shuffle(forecast, past)
    assert shuffled.shape == (600, 11, 4)
    kept = np.delete(past, 3, axis=0)
    assert (shuffled.argsort(axis=1) == kept.argsort(axis=0)).all()
    own = np.stack([y[i : i + 7] for i in range(590)])
    assert (schaake_shuffle(forecast[:590], own).argsort(axis=1) == own.argsort(axis=1)).all()
    with pytest.raises(ValueError, match="past_observations: no date"):
        schaake_shuffle(forecast, np.full((3, 4), np.nan))


def test_single_variable_and_labels(correlated):
    X, _, forecast = correlated
    single = ecc(forecast.margin(0), X[..., 0])
    assert single.shape == (600, 20)
    assert (ecc(forecast.margin(0), X[..., :1])[..., 0] == single).all()
    assert schaake_shuffle(forecast.margin(0), np.arange(5.0)).shape == (600, 5)
    data = Ensemble.from_numpy(X[:3], list("abcd"), coords={"case": np.arange(3) + 7})
    theta = (forecast[:3].weights, forecast[:3].locations, forecast[:3].scales)
    coupled = ecc(Forecast(*theta, labels=data, variables=tuple("abcd")), data)
    assert coupled.dims == ("case", "member", "variable")
    assert coupled["variable"].values.tolist() == list("abcd")
    assert coupled["case"].values.tolist() == [7, 8, 9]


def test_bad_input_is_named(correlated):
    X, _, forecast = correlated
    with pytest.raises(ValueError, match=r"X: expected shape \(600, M, 4\)"):
        ecc(forecast, X[:10])
    with pytest.raises(ValueError, match="how: expected one of 'quantiles', 'random'"):
        ecc(forecast, X, "best")
    infinite = X.copy()
    infinite[2, 1, 3] = np.inf
    with pytest.raises(ValueError, match="X: infinite value at case 2, member 1, variable 3"):
        ecc(forecast, infinite)


def test_copula_of_errors_orders_where_the_raw_ensemble_cannot():
    """Raw members of independent variables, whose errors depend: only past errors tell so."""
    rng = np.random.default_rng(3)
    n, M, D = 3000, 30, 3
    root = np.linalg.cholesky(0.7 * np.ones((D, D)) + 0.3 * np.eye(D))
    centre = rng.normal(0, 2, (n, 1, D))
    X = centre + rng.normal(size=(n, M, D))
    y = (centre + rng.normal(size=(n, 1, D)) @ root.T)[:, 0]
    past, new = slice(0, 2000), slice(2000, n)
    model = EMOS().fit(X[past], y[past])
    forecast = model.predict(X[new])
    transforms = pit(model.predict(X[past]), y[past])
    joined = error_copula(forecast, transforms, M, random_state=0)
    assert joined.shape == (1000, M, D)
    np.testing.assert_array_equal(np.sort(joined, axis=1), forecast.to_ensemble(M))
    assert (joined == error_copula(forecast, transforms, M, random_state=0)).all()
    scores = {}
    for name, members in {"errors": joined, "raw": ecc(forecast, X[new])}.items():
        scores[name] = [s(y[new], members, backend="numpy").mean() for s in (sr.es_ensemble, sr.vs_ensemble)]
    assert scores["errors"][0] < 0.995 * scores["raw"][0]
    assert scores["errors"][1] < 0.9 * scores["raw"][1]
    inner = (joined - joined.mean(axis=1, keepdims=True)).reshape(-1, D)
    np.testing.assert_allclose(np.corrcoef(inner.T)[np.triu_indices(D, 1)], 0.65, atol=0.03)
    single = error_copula(forecast.margin(0), transforms[:, 0], 7)
    assert single.shape == (1000, 7)
    with pytest.raises(ValueError, match=r"transforms: expected shape \(t, 3\)"):
        error_copula(forecast, transforms[:, :2])
    with pytest.raises(ValueError, match="transforms: expected probabilities"):
        error_copula(forecast, y[past])
    with pytest.raises(ValueError, match="transforms: no case"):
        error_copula(forecast, np.full((4, 3), np.nan))
