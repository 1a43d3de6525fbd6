import jax
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from degmm import EGMM, GMM
from degmm.clustering import oracle
from degmm.datasets import make_exchangeable_mixture
from degmm.inference import em
from degmm.inference.solution import Result
from degmm.metrics import accuracy, adjusted_rand_index


def start_of(X, K, seed=0):
    """Return random but not hopeless responsibilities."""
    rng = np.random.default_rng(seed)
    distance = ((X.mean(axis=1)[:, None] - X[rng.choice(len(X), K, replace=False), 0]) ** 2).sum(axis=2)
    weights = np.exp(-0.5 * distance) + 0.05
    return weights / weights.sum(axis=1, keepdims=True)


class FromResponsibilities(GaussianMixture):
    """scikit-learn's mixture, started from given responsibilities."""

    start = None

    def _initialize_parameters(self, X, random_state, xp=None):
        self._initialize(X, self.start)


@pytest.mark.parametrize("structure", ["full", "diag", "spherical", "tied"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-6), (np.float32, 1e-4)])
def test_one_member_equals_scikit_learn(structure, dtype, tolerance):
    X, _, _ = make_exchangeable_mixture(1000, 1, 3, 3, seed=2, covariance="full")
    gamma = start_of(X, 3)
    peer = FromResponsibilities(3, covariance_type=structure, tol=0, max_iter=200, reg_covar=1e-12)
    peer.start = gamma
    with pytest.warns(match="did not converge"):
        peer.fit(X[:, 0])
    settings = {"covariance_type": structure, "init_params": gamma, "tol": 0, "max_iter": 200}
    ours = EGMM(3, **settings).fit(X.astype(dtype))
    assert ours.n_iter_ == 200
    total = peer.score_samples(X[:, 0]).sum()
    assert ours.score_samples(X.astype(dtype)).astype(float).sum() == pytest.approx(total, rel=tolerance)
    order = np.argsort(-peer.weights_)
    np.testing.assert_allclose(ours.weights_, peer.weights_[order], rtol=100 * tolerance)
    np.testing.assert_allclose(ours.means_, peer.means_[order], atol=200 * tolerance)
    single = GMM(3, **settings).fit(X[:, 0])
    assert single.log_likelihood_ == pytest.approx(total, rel=tolerance)
    assert single.n_parameters_ == peer._n_parameters()
    assert GMM(3, **settings).fit(X[:, 0]).bic(X[:, 0]) == pytest.approx(peer.bic(X[:, 0]), rel=1e-6)
    assert GMM(3, **settings).fit(X[:, 0]).aic(X[:, 0]) == pytest.approx(peer.aic(X[:, 0]), rel=1e-6)


@pytest.mark.parametrize("structure", ["full", "diag", "spherical", "tied"])
def test_score_is_the_density_of_the_reported_parameters(structure):
    """In data units, by scipy, with absent members and unequal scales."""
    X, _, _ = make_exchangeable_mixture(200, 6, 3, 2, seed=3, covariance="full")
    X = X * [1.0, 7.0, 0.1] + [0, 273.15, 5]
    X[0, :5] = X[4, 2, 1] = np.nan
    model = EGMM(2, covariance_type=structure, random_state=0).fit(X)
    parameters = (model.weights_, model.means_, model.within_covariances_, model.between_covariances_)
    expected = oracles.mixture_log_density(X, *parameters)
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-8)
    assert model.log_likelihood_ == pytest.approx(expected.sum(), rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["full", "diag", "spherical", "tied"]))
def test_likelihood_never_falls(seed, structure):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(50, 4, 2)) + rng.normal(size=(50, 1, 2)) * rng.uniform(0, 3)
    X[rng.uniform(size=(50, 4)) < 0.2] = np.nan
    X[:, 0] = rng.normal(size=(50, 2))
    gamma = rng.dirichlet(np.ones(3), size=50)
    model = EGMM(3, covariance_type=structure, init_params=gamma, tol=0, max_iter=60).fit(X)
    history = model.history_["log_likelihood"]
    assert np.diff(history).min() > -1e-8 * abs(history).max()


def test_best_start_reaches_the_truth():
    X, labels, truth = make_exchangeable_mixture(1000, 10, 2, 3, seed=4)
    model = EGMM(3, random_state=0).fit(X)
    joint = oracles.log_densities(X[:50], *truth)
    assert model.converged_
    assert model.score_samples(X[:50]).sum() > np.logaddexp.reduce(joint, axis=1).sum() - 5
    assert adjusted_rand_index(labels, model.labels_) > 0.97


def test_weight_2_is_the_ensemble_twice():
    X, _, _ = make_exchangeable_mixture(100, 5, 2, 2, seed=5)
    gamma = start_of(X, 2)
    weights = np.where(np.arange(100) % 3 == 0, 2.0, 1.0)
    twice = np.concatenate([np.arange(100), np.flatnonzero(weights == 2)])
    settings = {"tol": 0, "max_iter": 30}
    one = EGMM(2, init_params=gamma, **settings).fit(X, sample_weight=weights)
    other = EGMM(2, init_params=gamma[twice], **settings).fit(X[twice])
    np.testing.assert_allclose(one.means_, other.means_, rtol=1e-10)
    assert one.log_likelihood_ == pytest.approx(other.log_likelihood_, rel=1e-12)


def test_order_of_members_and_ensembles_does_not_matter():
    X, _, _ = make_exchangeable_mixture(120, 6, 2, 2, seed=6)
    gamma, rng = start_of(X, 2), np.random.default_rng(0)
    order = rng.permutation(120)
    mixed = np.stack([x[rng.permutation(6)] for x in X])
    one = EGMM(2, init_params=gamma).fit(X)
    other = EGMM(2, init_params=gamma[order]).fit(mixed[order])
    np.testing.assert_allclose(one.means_, other.means_, rtol=1e-9)
    np.testing.assert_allclose(one.predict_proba(X), one.predict_proba(mixed), atol=1e-10)


def test_relabelled_start_gives_the_same_clusters():
    X, _, _ = make_exchangeable_mixture(120, 6, 2, 3, seed=6)
    gamma = start_of(X, 3)
    one = EGMM(3, init_params=gamma).fit(X)
    other = EGMM(3, init_params=gamma[:, [2, 0, 1]]).fit(X)
    np.testing.assert_array_equal(one.labels_, other.labels_)
    assert (np.diff(one.weights_) <= 0).all()


def test_affine_map_of_the_data_moves_the_fit_with_it():
    X, _, _ = make_exchangeable_mixture(150, 6, 2, 2, seed=7)
    gamma, scale, offset = start_of(X, 2), np.array([1e-5, 1e6]), np.array([3.0, -1e7])
    one = EGMM(2, init_params=gamma).fit(X)
    other = EGMM(2, init_params=gamma).fit(X * scale + offset)
    np.testing.assert_allclose(other.means_, one.means_ * scale + offset, rtol=1e-7)
    jacobian = 150 * 6 * np.log(scale).sum()
    assert other.log_likelihood_ == pytest.approx(one.log_likelihood_ - jacobian, rel=1e-7)


def test_warm_start_from_a_fitted_model():
    X, _, _ = make_exchangeable_mixture(300, 6, 2, 3, seed=8)
    first = EGMM(3, random_state=0).fit(X)
    assert EGMM(3, init_params=first).fit(X).n_iter_ <= 2
    # The start is in data units, whatever the scale of the data it is used on.
    moved = EGMM(3, init_params=first, tol=1e-9).fit(np.concatenate([X, X + 0.01]))
    np.testing.assert_allclose(moved.means_, first.means_ + 0.005, atol=0.01)


def test_same_seed_same_result():
    X, _, _ = make_exchangeable_mixture(300, 6, 2, 4, seed=9)
    one, other = (EGMM(4, random_state=3).fit(X) for _ in range(2))
    np.testing.assert_array_equal(one.means_, other.means_)
    np.testing.assert_array_equal(one.labels_, other.labels_)


def test_random_starts_and_few_of_them():
    X, labels, _ = make_exchangeable_mixture(300, 10, 2, 2, seed=10)
    model = EGMM(2, init_params="random", n_init=10, random_state=0).fit(X)
    assert adjusted_rand_index(labels, model.labels_) > 0.9
    assert EGMM(2, n_init=1, random_state=0).fit(X).log_likelihood_ <= model.log_likelihood_ + 1e-3


def test_many_ensembles_are_searched_on_a_sample():
    X, labels, _ = make_exchangeable_mixture(20_000, 4, 2, 3, seed=11)
    model = EGMM(3, random_state=0).fit(X)
    assert model.converged_
    assert model.labels_.shape == (20_000,)
    gamma = np.eye(3)[labels]
    truth = EGMM(3, init_params=gamma).fit(X)
    assert model.log_likelihood_ == pytest.approx(truth.log_likelihood_, abs=5)


def test_result_codes():
    X, _, _ = make_exchangeable_mixture(200, 5, 2, 3, seed=12)
    gamma = start_of(X, 3)
    with pytest.warns(ConvergenceWarning, match="maximum number of iterations"):
        assert EGMM(3, init_params=gamma, max_iter=2).fit(X).result_ is Result.MAX_ITERATIONS
    done = EGMM(3, init_params=gamma, max_iter=4, tol=0).fit(X)
    assert done.result_ is Result.COMPLETED
    assert (done.n_iter_, len(done.history_["log_likelihood"])) == (4, 5)
    constant = X.copy()
    constant[..., 1] = 2.5
    with pytest.warns(ConvergenceWarning) as found:
        model = EGMM(2, random_state=0).fit(constant)
    (said,) = (str(one.message) for one in found)  # once
    assert said.startswith("EGMM: a component's covariance sits at the floor reg_covar: ")
    assert said.endswith(
        "(n = 200 ensembles of 5 members, D = 2 variables); leave out variables that hardly vary or that follow "
        "from others, or lower n_components, or take covariance_type='diag'"
    )
    assert found[0].filename == __file__
    assert model.result_ is Result.AT_FLOOR
    assert np.isfinite(model.log_likelihood_)
    assert np.isfinite(model.covariances_).all()


def test_spurious_clusters_of_a_few_points_are_passed_over():
    """Two equal points would give a component at the floor a spike of likelihood."""
    X, _, _ = make_exchangeable_mixture(300, 1, 2, 2, seed=13)
    X[:3] = X[0]
    model = GMM(3, random_state=0).fit(X)
    assert model.result_ is not Result.AT_FLOOR


def test_no_recompilation_for_other_data_of_the_same_shape():
    X, _, _ = make_exchangeable_mixture(130, 6, 2, 2, seed=14)
    EGMM(2, random_state=0).fit(X)
    before = em.run_em.programs_made
    assert before > 0
    EGMM(2, random_state=1, tol=1e-3, max_iter=50, reg_covar=1e-5).fit(X[::-1] + 3)
    assert em.run_em.programs_made == before


def test_global_precision_is_left_alone():
    X, _, _ = make_exchangeable_mixture(60, 4, 2, 2, seed=15)
    assert not jax.config.jax_enable_x64
    model = EGMM(2, random_state=0).fit(X)
    assert model.means_.dtype == np.float64
    assert EGMM(2, random_state=0).fit(X.astype(np.float32)).means_.dtype == np.float32
    assert EGMM(2, dtype="float32", random_state=0).fit(X).predict_proba(X).dtype == np.float32
    assert not jax.config.jax_enable_x64


@pytest.mark.slow
@pytest.mark.parametrize(("n", "D", "K", "seed"), [(1000, 2, 8, 4), (2000, 4, 12, 4), (2000, 4, 12, 7)])
def test_many_clusters_reach_the_truth(n, D, K, seed):
    """Draws on which restarts alone end below the true parameters' likelihood (benchmarks/hard_mixtures.py)."""
    X, labels, truth = make_exchangeable_mixture(n, 10, D, K, seed=seed)
    bayes = oracle(X, truth, "Bayes")
    model = EGMM(K, random_state=0).fit(X)
    assert model.log_likelihood_ >= bayes.log_likelihood * n * 10
    assert accuracy(labels, model.labels_) > accuracy(labels, bayes.labels) - 0.01
