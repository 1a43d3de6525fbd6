import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from degmm import DEGMM, DGMM, EGMM
from degmm.datasets import make_exchangeable_mixture
from degmm.inference.solution import Result
from degmm.metrics import accuracy

SHORT = {"max_epochs": 60, "random_state": 0}


@pytest.fixture(scope="module")
def fitted(mixture):
    return DEGMM(3, max_epochs=400, random_state=0).fit(mixture[0])


def test_network_finds_the_mixture_and_its_posterior(mixture, fitted):
    X, labels, truth = mixture
    joint = oracles.log_densities(X, *truth)
    assert fitted.log_likelihood_ >= np.logaddexp.reduce(joint, axis=1).sum()
    assert accuracy(labels, fitted.labels_) >= accuracy(labels, joint.argmax(axis=1)) - 0.01
    assert fitted.kl_ < 0.01
    np.testing.assert_allclose(fitted.predict_proba(X), fitted.posterior(X), atol=0.1)
    em = EGMM(3, random_state=0).fit(X)
    assert fitted.log_likelihood_ == pytest.approx(em.log_likelihood_, abs=0.05)


def test_an_untrained_network_does_not(mixture):
    X, labels, truth = mixture
    settings = {"max_epochs": 1, "learning_rate": 1e-12, "warmup": 0, "polish": 0, "random_state": 0}
    with pytest.warns(ConvergenceWarning, match="short of the clusters that it started from"):
        untrained = DEGMM(3, **settings).fit(X)
    assert untrained.result_ is Result.UNTRAINED
    assert not untrained.converged_
    # Its clusters are equal, for which its probabilities are exact: the divergence alone would not tell.
    assert untrained.kl_ < 1e-6
    bayes = accuracy(labels, oracles.log_densities(X, *truth).argmax(axis=1))
    assert accuracy(labels, untrained.labels_) < bayes - 0.05


def test_score_is_the_density_of_the_reported_parameters(mixture, fitted):
    X = mixture[0]
    parameters = fitted.weights_, fitted.means_, fitted.within_covariances_, fitted.between_covariances_
    expected = oracles.mixture_log_density(X, *parameters)
    np.testing.assert_allclose(fitted.score_samples(X), expected, rtol=1e-9)
    assert fitted.log_likelihood_ == pytest.approx(expected.sum())


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_order_of_members_does_not_matter(fitted, mixture, seed):
    rng = np.random.default_rng(seed)
    X = mixture[0]
    mixed = np.stack([x[rng.permutation(len(x))] for x in X])
    np.testing.assert_allclose(fitted.predict_proba(mixed), fitted.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("M", [1, 4, 40])
def test_predicts_on_another_number_of_members(mixture, fitted, M):
    X, labels, truth = make_exchangeable_mixture(400, M, 2, 3, seed=1)
    np.testing.assert_array_equal(truth.means, mixture[2].means)
    bayes = accuracy(labels, oracles.log_densities(X, *truth).argmax(axis=1))
    gamma = fitted.predict_proba(X)
    np.testing.assert_allclose(gamma.sum(axis=1), 1)
    assert accuracy(labels, gamma.argmax(axis=1)) > bayes - 0.05


def test_absent_members(mixture, fitted):
    X = mixture[0].copy()
    X[:, 6:] = np.nan
    np.testing.assert_allclose(fitted.predict_proba(X), fitted.predict_proba(X[:, :6]), atol=1e-12)
    assert DEGMM(3, **SHORT).fit(X).result_ is Result.COMPLETED


@pytest.mark.filterwarnings("ignore:DEGMM. the network's probabilities")
@pytest.mark.parametrize("encoder", ["moments", "mlp"])
@pytest.mark.parametrize("objective", ["elbo", "likelihood"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_encoders_objectives_and_precisions(mixture, encoder, objective, dtype):
    X, labels, truth = mixture
    bayes = accuracy(labels, oracles.log_densities(X, *truth).argmax(axis=1))
    model = DEGMM(3, encoder=encoder, objective=objective, max_epochs=200, random_state=0).fit(
        X.astype(dtype)
    )
    assert accuracy(labels, model.labels_) > bayes - 0.05
    assert model.result_ is Result.COMPLETED
    assert model.means_.dtype == model.predict_proba(X).dtype == dtype
    assert all(np.isfinite(series).all() and len(series) == 200 for series in model.history_.values())


def test_polish_never_lowers_the_likelihood(mixture):
    X = mixture[0]
    plain = DEGMM(3, polish=0, **SHORT).fit(X)
    polished = DEGMM(3, polish=20, **SHORT).fit(X)
    assert polished.log_likelihood_ >= plain.log_likelihood_
    np.testing.assert_array_equal(polished.predict_proba(X), plain.predict_proba(X))
    assert plain.log_likelihood_ == pytest.approx(plain.history_["log_likelihood"][-1], abs=1e-2)


def test_penalty_shrinks_the_covariances(mixture):
    X = mixture[0]
    free = DEGMM(3, objective="likelihood", polish=0, max_epochs=300, random_state=0).fit(X)
    bound = DEGMM(3, objective="likelihood", polish=0, max_epochs=300, penalty=5.0, random_state=0).fit(X)

    def trace(model):
        return np.trace(model.covariances_, axis1=1, axis2=2).sum()

    assert trace(bound) < trace(free)


def test_one_member(mixture):
    X, labels, _ = mixture
    model = DGMM(3, random_state=0).fit(X[:, 0])
    same = DEGMM(3, random_state=0).fit(X[:, 0])
    np.testing.assert_allclose(model.predict_proba(X[:, 0]), same.predict_proba(X[:, :1]))
    assert accuracy(labels, model.labels_) > 0.6


def test_same_seed_same_result(mixture):
    one, other = (DEGMM(3, **SHORT).fit(mixture[0]) for _ in range(2))
    np.testing.assert_array_equal(one.predict_proba(mixture[0]), other.predict_proba(mixture[0]))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("batch_size", [None, 100])
def test_a_fit_compiles_each_of_its_steps_once(batch_size, compilations, monkeypatch):
    monkeypatch.setenv("DEGMM_CACHE", "off")  # none is spared by an earlier process
    X = make_exchangeable_mixture(n=290, M=7, D=3, K=5, seed=0)[0]
    settings = {"n_init": 4, "hidden": (9,), "batch_size": batch_size}
    DEGMM(5, max_epochs=5, random_state=0, **settings).fit(X)
    first = len(compilations)
    assert 0 < first <= 12
    other = {"max_epochs": 80, "learning_rate": 3e-3, "warmup": 0.2, "random_state": 1, "snapshots": 5}
    DEGMM(5, **other, **settings).fit(X[::-1, :6] * 3 + 2)
    allowed = 2  # the moments and the first network, which know the largest number of members
    assert len(compilations) - first <= allowed, compilations[first:]


def test_snapshots_and_progress(mixture, capsys):
    X = mixture[0]
    model = DEGMM(3, snapshots=8, progress=True, **SHORT).fit(X)
    epochs = [snapshot.epoch for snapshot in model.snapshots_]
    assert (epochs[0], epochs[-1]) == (0, 60)
    last = model.snapshots_[-1]
    np.testing.assert_array_equal(last.labels, model.labels_)
    np.testing.assert_allclose(last.means, model.means_, atol=0.3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("epoch 60/60: loss ")


def test_history_of_the_objective_rises(fitted):
    likelihood = fitted.history_["log_likelihood"] / 3000  # a member
    assert likelihood[-1] > likelihood[0]
    # With the evidence lower bound, loss = KL/M − log-likelihood, in data units.
    np.testing.assert_allclose(
        fitted.history_["loss"][100:], (fitted.history_["kl"] / 10 - likelihood)[100:], atol=1e-9
    )
