"""Findings of reviewers, each kept as the check that it would have failed."""

import numpy as np
import pytest

from degmm import EGMM, GMM, select_components
from degmm.datasets import make_exchangeable_mixture
from degmm.families.gaussian import floored_weights
from degmm.inference import search

FEW = {"n_init": 2, "random_state": 0}


def along_a_line(seed, likeness, scale=0.7, n=150, M=4, D=3):
    """Ensembles whose centres lie on a line, of highly correlated variables and 1 to M members."""
    rng = np.random.default_rng(seed)
    line = np.random.default_rng(99).normal(size=D)
    root = np.linalg.cholesky((1 - likeness) * np.eye(D) + likeness)
    X = rng.normal(size=(n, 1, 1)) * line + scale * rng.normal(size=(n, M, D)) @ root
    absent = rng.uniform(size=(n, M)) < 0.3
    absent[:, 0] = False
    X[absent] = np.nan
    return X


@pytest.mark.filterwarnings("ignore:.*maximum number")
@pytest.mark.parametrize("likeness", [0.9, 0.999, 0.99999])
def test_a_move_on_to_the_boundary_is_not_taken_for_the_end(likeness):
    settings = {"member_model": "shared_centre", "n_init": 1, "random_state": 0}
    elsewhere = EGMM(1, **settings).fit(along_a_line(2, likeness, 1.0))
    for seed in (52, 53, 60):
        X = along_a_line(seed, likeness)
        longest = EGMM(1, **settings, tol=0, max_iter=300).fit(X).log_likelihood_
        assert EGMM(1, **settings).fit(X).log_likelihood_ > longest - 0.1
        warm = EGMM(1, **{**settings, "init_params": elsewhere}).fit(X)
        assert warm.log_likelihood_ > longest - 0.1


def test_a_start_near_the_boundary_leaves_it():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 1, 1)) + 0.5 * rng.normal(size=(200, 4, 1))
    X[:50, 2:] = np.nan
    best = EGMM(1, member_model="shared_centre", **FEW).fit(X)
    start = EGMM(1, member_model="shared_centre", **FEW).fit(X)
    for tiny in (1e-3, 1e-6, 1e-9):
        start._parameters = start._parameters._replace(between=np.full((1, 1, 1), tiny))
        again = EGMM(1, member_model="shared_centre", init_params=start).fit(X)
        assert again.log_likelihood_ > best.log_likelihood_ - 0.1


def test_the_order_of_ensembles_is_of_no_matter_to_the_units():
    rng = np.random.default_rng(0)
    X = np.empty((2400, 4, 1))
    X[::2] = 0.01 * rng.normal(size=(1200, 4, 1))
    X[1::2] = 50 + 5 * rng.normal(size=(1200, 4, 1))
    one, other = (EGMM(2, random_state=0).fit(Y) for Y in (X, X[rng.permutation(2400)]))
    assert one.log_likelihood_ == pytest.approx(other.log_likelihood_, rel=1e-6)


@pytest.mark.filterwarnings("ignore:.* is what files have for missing values")
@pytest.mark.parametrize("fill", [1e12, 1e20, 1e30])
def test_a_fill_value_hides_nothing(fill):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 100)
    X = rng.normal(size=(300, 5, 2)) + np.array([-8, 0, 8.0])[labels][:, None, None]
    X[0, 0] = fill
    assert sorted(np.bincount(EGMM(4, random_state=0).fit(X).labels_, minlength=4)) == [1, 99, 100, 100]


@pytest.mark.parametrize("value", [0.0, 0.1, 273.15, 101325.0, 1e-8])
@pytest.mark.parametrize("n", [100, 200, 1000])
def test_a_constant_is_worth_the_same_whatever_it_is(value, n):
    X = make_exchangeable_mixture(n, 10, 1, 2, seed=0)[0]
    model = EGMM(2, n_init=2, random_state=0).fit(np.concatenate([X, 0 * X + value], axis=-1))
    plain = EGMM(2, n_init=2, random_state=0).fit(np.concatenate([X, 0 * X], axis=-1))
    np.testing.assert_allclose(np.sqrt(model.within_covariances_[:, 1, 1]), 1e-3, rtol=1e-3)
    assert model.log_likelihood_ == pytest.approx(plain.log_likelihood_, rel=1e-6)


def test_starts_that_fill_up_a_group_are_not_continued(monkeypatch):
    X = make_exchangeable_mixture(300, 10, 2, 6, seed=0)[0]
    kept = []
    short_runs = search.short_runs

    def spied(*arguments):
        kept.append(short_runs(*arguments))
        return kept[-1]

    monkeypatch.setattr(search, "short_runs", spied)
    EGMM(6, n_init=9, random_state=0).fit(X)
    assert len(np.unique(kept[0].means.reshape(len(kept[0].means), -1).round(9), axis=0)) == 8


def test_a_smallest_weight_that_binds_is_no_empty_component():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(450, 4, 1)), 8 + rng.normal(size=(50, 4, 1))])
    model = EGMM(2, min_weight=0.25, random_state=0).fit(X)
    assert model.converged_
    assert model.result_.name == "CONVERGED"
    assert model.weights_[1] == pytest.approx(0.25)


def test_no_weight_is_below_the_smallest():
    rng = np.random.default_rng(0)
    for K in (2, 3, 6, 12):
        for _ in range(50):
            mass, floor = rng.gamma(0.3, size=K), rng.uniform(0, 0.999 / K)
            weights = np.asarray(floored_weights(mass, floor), np.float64)
            assert weights.min() >= floor * (1 - 1e-4)
            assert weights.sum() == pytest.approx(1, abs=1e-5)
            above = weights > floor * (1 + 1e-4)  # the rest in proportion to their mass
            if above.any():
                assert np.ptp(weights[above] / mass[above]) <= 1e-3 * (weights[above] / mass[above]).max()
                assert (mass[~above] * (weights[above] / mass[above])[0] <= floor * (1 + 1e-3)).all()
    data = np.random.default_rng(1).normal(size=(60, 1))
    assert GMM(6, min_weight=0.16, n_init=1, max_iter=30, random_state=0).fit(data).weights_.min() > 0.1599


def test_dispersion_of_means_is_one_where_the_model_holds():
    rng = np.random.default_rng(0)
    X = 2 * rng.normal(size=(400, 1, 2)) + rng.normal(size=(400, 10, 2))
    X[:100, 6:] = np.nan
    shared = EGMM(1, member_model="shared_centre", **FEW).fit(X)
    assert shared.mean_dispersion(X) == pytest.approx(1, abs=0.01)
    independent = EGMM(1, **FEW).fit(X)
    counts = (~np.isnan(X[..., 0])).sum(axis=1)
    expected = (counts * (np.nanmean(X, axis=1) ** 2).sum(axis=1)).mean() / 2 / 5
    assert independent.mean_dispersion(X) == pytest.approx(expected, rel=0.1)


def test_too_little_data_is_refused():
    X = make_exchangeable_mixture(100, 5, 2, 3, seed=0)[0]
    model = EGMM(3, **FEW).fit(X)
    with pytest.raises(ValueError, match="X: 2 ensembles of positive weight are too few for 3"):
        model.bootstrap(X[:2], 5)
    with pytest.raises(ValueError, match="components: 13 components are too many for 12"):
        select_components(EGMM(**FEW), X[:12], range(1, 14))
    with pytest.raises(ValueError, match="m: expected a number of points"):
        model.predictive(X).sample(-1)
    with pytest.raises(ValueError, match="cannot hold; give that variable in another unit"):
        EGMM(2).fit(X * 1e-310)


@pytest.mark.filterwarnings("ignore:.*maximum number")
@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical", "tied"])
def test_at_the_floor_em_never_falls_and_is_never_below_independent_members(covariance_type):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = (rng.uniform(0, 1.5) * rng.normal(size=(60, 1, 3)) + rng.normal(size=(60, 4, 3))) @ rng.normal(
            size=(3, 3)
        )
        for reg_covar in (0.5, 0.05):
            settings = {"covariance_type": covariance_type, "reg_covar": reg_covar, **FEW}
            shared = EGMM(2, member_model="shared_centre", tol=0, max_iter=60, **settings).fit(X)
            rises = np.diff(shared.history_["log_likelihood"])
            assert rises.min() > -1e-10 * abs(shared.log_likelihood_)
            one = EGMM(1, member_model="shared_centre", tol=1e-10, **settings).fit(X).log_likelihood_
            assert one > EGMM(1, **settings).fit(X).log_likelihood_ - 1e-6
