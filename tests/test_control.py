"""The check for a member that is not exchangeable with the others."""

import numpy as np
import pytest
from conftest import real_file

from degmm import Ensemble, read_ensemble
from degmm.ensembles import unlike_members


def exchangeable(kind, n, M, rng, D=2):
    """Ensembles whose members differ in nothing but their label."""
    shape = (n, M, D)
    if kind == "t":
        X = rng.standard_t(3, shape)
    elif kind == "lognormal":
        X = np.exp(1.2 * rng.normal(size=shape))
    elif kind == "rain":
        X = np.maximum(rng.normal(size=shape) - 0.5, 0) ** 2
    elif kind == "persistent":  # a member's anomalies last for ten cases
        X = rng.normal(size=shape)
        for i in range(1, n):
            X[i] = 0.9 * X[i - 1] + np.sqrt(1 - 0.81) * X[i]
    else:
        X = rng.normal(size=shape)
    if kind == "spells":  # of large spread, the same for all members
        X = X * np.exp(np.sin(np.arange(n) / 9))[:, None, None]
    X = X + 3 * rng.normal(size=(n, 1, 1))
    if kind == "gaps":
        gone = rng.random((n, M)) < 0.3
        gone[:, -2:] = False
        X[gone] = np.nan
    return X


@pytest.mark.parametrize("kind", ["normal", "t", "lognormal", "rain", "persistent", "spells", "gaps"])
def test_exchangeable_members_are_alike(kind):
    rng = np.random.default_rng(1)
    for k in range(30):
        M, n = (4, 5, 11, 50)[k % 4], (40, 100, 365, 1000)[k // 8]
        assert not unlike_members(Ensemble.from_numpy(exchangeable(kind, n, M, rng)))


@pytest.mark.parametrize("kind", ["normal", "t", "rain", "spells", "gaps"])
@pytest.mark.parametrize(("factor", "n"), [(0.5, 365), (0.75, 2000), (1.5, 730)])
def test_a_control_of_another_spread_is_found(kind, factor, n):
    rng = np.random.default_rng(2)
    for M in (5, 11, 50):
        X = exchangeable(kind, n, M, rng, D=1)
        others = np.nanmean(np.delete(X, 2, axis=1), axis=1)
        X[:, 2] = others + factor * (X[:, 2] - others)
        (found,) = unlike_members(Ensemble.from_numpy(X, ["t2m"], members=np.arange(M) + 1))
        assert (found.place, found.label, found.variable) == (2, "3", "t2m")
        assert (found.ratio - 1) * (factor - 1) > 0
        if kind == "normal":
            assert abs(found.ratio - factor) < 0.15
        assert found.sentence().startswith(f"member 3 has {found.ratio:.2f} times the anomaly spread")


def test_the_variable_that_shows_it_most_is_named():
    rng = np.random.default_rng(3)
    X = exchangeable("normal", 1000, 11, rng)
    X[:, 0, 0] *= 0.7
    X[:, 0] = X[:, 1:].mean(axis=1) + (X[:, 0] - X[:, 1:].mean(axis=1)) * [0.7, 0.4]
    (found,) = unlike_members(Ensemble.from_numpy(X, ["t2m", "wind"]))
    assert found.variable == "wind"


def test_too_few_members_or_cases_say_nothing():
    rng = np.random.default_rng(4)
    X = exchangeable("normal", 1000, 5, rng)
    X[:, 0] *= 9
    assert unlike_members(Ensemble.from_numpy(X))
    assert not unlike_members(Ensemble.from_numpy(X[:, :3]))
    assert not unlike_members(Ensemble.from_numpy(X[:39]))
    assert not unlike_members(Ensemble.from_numpy(np.ones((100, 5, 1))))


def test_no_odd_one_where_many_differ():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(2000, 6, 1)) * np.array([1, 1, 1, 3, 3, 3])[:, None]
    assert not unlike_members(Ensemble.from_numpy(X))


def test_members_that_are_never_there_are_no_control():
    X = exchangeable("normal", 500, 8, np.random.default_rng(6))
    X[:, 3] = np.nan
    X[30:, 4] = np.nan
    assert not unlike_members(Ensemble.from_numpy(X))


def test_the_control_of_innsbruck_is_found_and_none_elsewhere():
    data = read_ensemble(real_file("innsbruck_gefs.nc"))
    (found,) = unlike_members(data)
    assert found.label == "0"
    assert 0.3 < found.ratio < 0.6
    assert not unlike_members(data.drop_control(0))
    assert not unlike_members(read_ensemble(real_file("germany_ecmwf_t2m.nc")))
    assert not unlike_members(read_ensemble(real_file("mediterranean_seas5_t2m.nc")))
    assert not unlike_members(
        read_ensemble(real_file("mediterranean_seas5_t2m.nc"), feature_dims=["lat", "lon"])
    )
