"""Encoders, context, batches, validation and subsets of members of the deep models."""

import signal
import subprocess
import sys
import time

import numpy as np
import oracles
import pytest
from flax import nnx

from degmm import DEGMM, EGMM, load, save
from degmm.datasets import make_exchangeable_mixture
from degmm.inference.batches import Ensembles, random_subset
from degmm.inference.stepwise import averaged
from degmm.metrics import accuracy
from degmm.nets import ENCODERS, Encoder
from degmm.standard_units import standardised_moments

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
BRIEF = {"max_epochs": 20, "n_init": 4, "random_state": 0}


class Linear(Encoder):
    """A user's own encoder: the mean alone."""

    def __init__(self, sizes, *, rngs):
        super().__init__(sizes, rngs=rngs)
        self.layer = nnx.Linear(sizes.n_features, sizes.n_components, rngs=rngs)

    def __call__(self, inputs):
        return inputs.counts[:, None] * self.layer(inputs.mean)


class Covariances(Encoder):
    """A user's own encoder: the second moments alone."""

    def __init__(self, sizes, *, rngs):
        super().__init__(sizes, rngs=rngs)
        n = sizes.n_features * (sizes.n_features + 1) // 2
        self.layer = nnx.Linear(n, sizes.n_components, rngs=rngs)

    def __call__(self, inputs):
        return inputs.counts[:, None] * self.layer(inputs.variance)


def test_encoders_see_covariances_whatever_those_of_the_clusters_are():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6, 2)) @ [[1, 0.9], [0, 0.4]]
    for kind in ("full", "diag"):
        model = DEGMM(2, covariance_type=kind, encoder=Covariances, max_epochs=20, random_state=0).fit(X)
        np.testing.assert_array_equal(model.labels_, model.predict(X))
        np.testing.assert_allclose(model.predict_proba(X).argmax(axis=1), model.labels_)


@pytest.fixture(scope="module")
def seasons():
    """Two clusters that overlap in the members, whose prior follows a context."""
    rng = np.random.default_rng(0)
    n = 4000
    context = rng.uniform(-3, 3, size=(n, 2))
    probability = 1 / (1 + np.exp(-4 * context[:, 0]))
    labels = (rng.uniform(size=n) < probability).astype(int)
    X = np.array([-0.25, 0.25])[labels][:, None, None] + rng.normal(size=(n, 5, 1))
    density = -0.5 * ((X[:, None, :, 0] - np.array([-0.25, 0.25])[:, None]) ** 2).sum(axis=2)
    prior = np.log(np.column_stack([1 - probability, probability]))
    bayes = accuracy(labels, (density + prior).argmax(axis=1))
    without = accuracy(labels, density.argmax(axis=1))
    return X, labels, context, bayes, without


@pytest.mark.parametrize("encoder", sorted(ENCODERS))
def test_absent_members_and_order(encoder):
    X = make_exchangeable_mixture(60, 6, 2, 2, seed=0)[0]
    X[:, 4:] = np.nan
    X[0, 1] = np.nan
    model = DEGMM(2, encoder=encoder, **BRIEF).fit(X)
    gamma = model.predict_proba(X)
    np.testing.assert_allclose(gamma.sum(axis=1), 1)
    np.testing.assert_allclose(model.predict_proba(X[:, :4]), gamma, atol=1e-9)
    if encoder != "mlp":
        np.testing.assert_allclose(model.predict_proba(X[:, ::-1]), gamma, atol=1e-9)
        assert model.predict_proba(np.concatenate([X, X[:, :1]], axis=1)).shape == gamma.shape


@pytest.mark.parametrize("encoder", ["moments", pytest.param("deep_sets", marks=pytest.mark.slow)])
@pytest.mark.parametrize("K", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_networks_reach_the_posterior_before_any_polish(encoder, K):
    X = make_exchangeable_mixture(1000, 10, 2, K, seed=0)[0]
    em = EGMM(K, random_state=0).fit(X)
    model = DEGMM(K, encoder=encoder, polish=0, random_state=0).fit(X)
    assert model.kl_ < 0.01
    assert model.log_likelihood_ / X[..., 0].size > em.log_likelihood_ / X[..., 0].size - 1e-3
    assert model.weights_.min() > 0.5 * em.weights_.min()
    untrained = DEGMM(
        K, encoder=encoder, polish=0, max_epochs=1, warmup=0, learning_rate=1e-12, random_state=0
    ).fit(X)
    # Its probabilities are those of equal clusters, and exact for them; the likelihood tells.
    assert untrained.log_likelihood_ / X[..., 0].size < em.log_likelihood_ / X[..., 0].size - 0.1
    exact = em.posterior(X)
    assert (exact * (np.log(exact + 1e-300) - np.log(untrained.predict_proba(X)))).sum(axis=1).mean() > 0.5


def test_shared_centres_with_spreads_of_a_regime():
    """Regimes that differ in spread alone, narrow beside the centres' scatter, as forecasts are."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=1500)
    width = np.array([0.03, 0.12])[labels][:, None, None]
    X = rng.normal(size=(1500, 1, 2)) + width * rng.normal(size=(1500, 20, 2))
    model = DEGMM(2, member_model="shared_centre", polish=0, random_state=0).fit(X)
    assert model.kl_ < 0.01
    assert accuracy(labels, model.labels_) > 0.99


def test_a_context_tells_clusters_apart(seasons, tmp_path):
    X, labels, context, bayes, without = seasons
    model = DEGMM(2, max_epochs=300, random_state=0).fit(X, context=context)
    assert accuracy(labels, model.predict(X, context=context)) > bayes - 0.02
    assert bayes > without + 0.1
    assert model.kl_ < 0.05
    np.testing.assert_allclose(model.posterior(X, context=context).sum(axis=1), 1)
    plain = EGMM(2, random_state=0).fit(X)
    assert model.score(X, context=context) > plain.score(X) + 0.05
    assert model.aic(X, context=context) < plain.aic(X)
    assert model.n_parameters_ > plain.n_parameters_ + 100  # those of the prior's network
    assert model.log_likelihood_ == pytest.approx(model.score_samples(X, context=context).sum())
    assert model.predictive(X[:5], context=context[:5]).weights.shape == (5, 2)
    np.testing.assert_allclose(model.weights_.sum(), 1)
    again = load(save(model, tmp_path / "model"))
    np.testing.assert_array_equal(
        again.predict_proba(X, context=context), model.predict_proba(X, context=context)
    )
    np.testing.assert_array_equal(
        again.score_samples(X, context=context), model.score_samples(X, context=context)
    )
    with pytest.raises(ValueError, match="context: this DEGMM was fitted with a context of 2 columns"):
        model.predict(X)
    with pytest.raises(ValueError, match="context: expected 2 columns as in the fit, got 1"):
        model.score(X, context=context[:, 0])


@pytest.mark.parametrize("encoder", ["moments", "deep_sets"])
def test_batches_reach_what_all_ensembles_reach(encoder):
    X = make_exchangeable_mixture(1000, 10, 2, 3, seed=0)[0]
    em = EGMM(3, random_state=0).fit(X)
    settings = {"encoder": encoder, "batch_size": 150, "max_epochs": 60, "polish": 0, "random_state": 0}
    model = DEGMM(3, **settings).fit(X)
    assert model.kl_ < 0.01
    assert model.log_likelihood_ > em.log_likelihood_ - 1
    same = DEGMM(3, **settings).fit(X)
    np.testing.assert_array_equal(same.means_, model.means_)
    many = DEGMM(3, **{**settings, "batch_size": 4, "max_epochs": 3}).fit(X)  # several chunks an epoch
    assert np.isfinite(many.log_likelihood_)
    assert len(many.history_["loss"]) == 3


@pytest.mark.parametrize("member_model", ["independent", "shared_centre"])
def test_averaging_parameters_averages_statistics(member_model):
    """Two halves, averaged, are the whole: with the weights of their sizes."""
    X = make_exchangeable_mixture(400, 6, 2, 2, seed=0, between=0.5)[0]
    gamma = np.random.default_rng(0).dirichlet([1, 1], size=400)
    family = EGMM(2, member_model=member_model, n_init=1).fit(X)._fitted_family

    def parameters(part):
        from degmm.inference.search import EMSettings
        from degmm.inference.starts import parameters_from_responsibilities

        moments = standardised_moments(X, np.ones(400))[0].take(part)
        limits = EMSettings(2, 1, "random", 0.0, 1, 1e-9).limits(moments)
        found = parameters_from_responsibilities(family, gamma[part].T, moments, limits)
        return type(found)(*(np.asarray(p)[0] for p in found))

    both = averaged(family, parameters(np.arange(100)), parameters(np.arange(100, 400)), np.float64(0.75))
    for one, other in zip(both, parameters(np.arange(400)), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_validation_keeps_the_best_network_and_stops_early():
    X, labels, truth = make_exchangeable_mixture(400, 10, 2, 3, seed=1)
    model = DEGMM(
        3, validation_fraction=0.25, patience=20, learning_rate=0.3, max_epochs=400, random_state=0
    ).fit(X)
    held = model.history_["validation"]
    assert model.n_iter_ == len(held) < 400
    assert np.argmax(held[40:]) + 40 <= len(held) - 20
    bayes = accuracy(labels, oracles.log_densities(X, *truth).argmax(axis=1))
    assert accuracy(labels, model.labels_) > bayes - 0.05
    assert model.log_likelihood_ == pytest.approx(model.score_samples(X).sum())


def test_an_encoder_of_ones_own(tmp_path):
    X = make_exchangeable_mixture(100, 6, 2, 2, seed=0)[0]
    model = DEGMM(2, encoder=Linear, **BRIEF).fit(X)
    save(model, tmp_path)
    with pytest.raises(ValueError, match="the model has its own encoder, Linear; pass that class"):
        load(tmp_path)
    again = load(tmp_path, encoder=Linear)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    with pytest.raises(ValueError, match="expected a class such as Linear, not an instance"):
        DEGMM(2, encoder=Linear(model._sizes, rngs=nnx.Rngs(0)), **BRIEF).fit(X)


def test_subsets_of_members():
    X = make_exchangeable_mixture(200, 8, 2, 2, seed=0)[0]
    X[:20, 5:] = np.nan
    moments, scaling = standardised_moments(X, np.ones(200))
    seen = random_subset(Ensembles(moments, scaling, X), X, np.random.default_rng(0))
    counts = np.asarray(seen.moments.counts)
    assert counts.min() == 1
    assert (counts <= np.asarray(moments.counts)).all()
    np.testing.assert_array_equal(seen.chosen.sum(axis=1), counts)
    assert not (seen.chosen & np.isnan(X[..., 0])).any()
    shown = np.where(seen.chosen[..., None], (X - scaling.centre) / scaling.scale, np.nan)
    np.testing.assert_allclose(np.asarray(seen.moments.mean).T, np.nanmean(shown, axis=1), atol=1e-9)


@pytest.mark.slow
def test_networks_that_saw_fewer_members_serve_fewer():
    X, _, truth = make_exchangeable_mixture(1000, 10, 2, 3, seed=3)
    model = DEGMM(3, member_subsets=3, random_state=0).fit(X)
    for M in (5, 20, 50):
        Y, labels, _ = make_exchangeable_mixture(4000, M, 2, 3, seed=3)
        bayes = accuracy(labels, oracles.log_densities(Y, *truth).argmax(axis=1))
        assert accuracy(labels, model.predict(Y)) > bayes - 0.005


def test_networks_that_saw_fewer_members_keep_their_clusters():
    """Two clusters that overlap in few members do not become one."""
    X = make_exchangeable_mixture(1000, 10, 2, 8, seed=2)[0]
    em = EGMM(8, random_state=0).fit(X)
    model = DEGMM(8, member_subsets=4, polish=0, random_state=0).fit(X)
    assert model.kl_ < 0.01
    assert model.weights_.min() > 0.5 * em.weights_.min()
    Y = make_exchangeable_mixture(2000, 5, 2, 8, seed=2)[0]
    assert accuracy(em.predict(Y), model.predict(Y)) > 0.97


def test_the_best_of_networks_side_by_side_is_kept(mixture):
    X = mixture[0]
    settings = {"max_epochs": 30, "n_init": 4, "polish": 0, "random_state": 0}
    one = DEGMM(3, **settings).fit(X)
    best = DEGMM(3, n_networks=4, snapshots=3, **settings).fit(X)
    assert best.history_["loss"][-1] < one.history_["loss"][-1]
    np.testing.assert_array_equal(best.snapshots_[-1].labels, best.labels_)
    again = DEGMM(3, n_networks=4, validation_fraction=0.2, batch_size=64, **settings)
    assert len(again.fit(X).history_["validation"]) == again.n_iter_


def test_heavy_ensembles_count_for_more_in_batches():
    X, labels, _ = make_exchangeable_mixture(150, 6, 2, 3, seed=0)
    weights = np.where(labels == 2, 20.0, 1.0)
    settings = {"max_epochs": 60, "n_init": 4, "polish": 0, "snapshots": 2, "random_state": 0}
    models = [DEGMM(3, batch_size=b, **settings).fit(X, sample_weight=weights) for b in (None, 5)]
    one, other = (model.snapshots_[-1].weights.max() for model in models)
    assert one == pytest.approx(other, abs=0.1)
    assert one > 0.75


def test_a_training_that_stopped_early_is_not_taken_up_again(tmp_path):
    X = make_exchangeable_mixture(400, 10, 2, 3, seed=1)[0]
    settings = {"validation_fraction": 0.25, "patience": 20, "learning_rate": 0.3, "max_epochs": 400}
    settings |= {"checkpoint": tmp_path, "checkpoint_every": 10, "snapshots": 8, "random_state": 0}
    model = DEGMM(3, **settings).fit(X)
    assert model.n_iter_ < 400
    assert model.snapshots_[-1].epoch == model.n_iter_
    assert model.snapshots_[-1].labels.shape == (400,)
    again = DEGMM(3, **settings).fit(X)
    assert again.n_iter_ == model.n_iter_
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_bad_context_and_encoders_are_refused():
    X = make_exchangeable_mixture(60, 4, 2, 2, seed=0)[0]
    dates = np.array(["2020-01-01"] * 60, "datetime64[D]")
    for context, message in (
        (np.full((60, 1), 0.25), "column 0 does not vary"),
        (1e300 * np.arange(60.0), r"context: value 1e\+300 at ensemble 1, column 0"),
        (dates, "context: expected numbers, got datetime64"),
    ):
        with pytest.raises(ValueError, match=message):
            DEGMM(2, **BRIEF).fit(X, context=context)

    class Wide(Linear):
        def __call__(self, inputs):
            return super().__call__(inputs)[:, :1]

    with pytest.raises(ValueError, match="encoder: Wide gives scores of shape"):
        DEGMM(2, encoder=Wide, **BRIEF).fit(X)


TRAINING = """
import sys, numpy as np
from degmm import DEGMM
from degmm.datasets import make_exchangeable_mixture
X = make_exchangeable_mixture(300, 6, 2, 3, seed=0)[0]
batch = int(sys.argv[2]) or None
model = DEGMM(3, n_init=4, max_epochs=400, batch_size=batch, checkpoint_every=20, random_state=0)
model.set_params(checkpoint=sys.argv[1] or None).fit(X)
np.savez(sys.argv[3], means=model.means_, within=model.within_covariances_, gamma=model.predict_proba(X))
"""


@pytest.mark.slow
@pytest.mark.parametrize("batch", [0, 100])
def test_a_killed_training_goes_on_to_the_same_end(batch, tmp_path):
    def process(folder, result):
        command = [sys.executable, "-c", TRAINING, str(folder), str(batch), str(tmp_path / result)]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    whole = process("", "whole.npz")
    assert whole.wait() == 0
    states = tmp_path / "training" / "states"
    killed = process(tmp_path / "training", "killed.npz")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (states / "40").exists() and not (states / "60").exists():
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed.npz").exists()
    assert not (states / "400").exists()
    assert process(tmp_path / "training", "resumed.npz").wait() == 0
    with np.load(tmp_path / "whole.npz") as one, np.load(tmp_path / "resumed.npz") as other:
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_checkpoints_of_another_training_are_refused(tmp_path):
    X = make_exchangeable_mixture(60, 6, 2, 2, seed=0)[0]
    settings = {**BRIEF, "checkpoint": tmp_path / "training", "checkpoint_every": 5}
    model = DEGMM(2, **settings).fit(X)
    again = DEGMM(2, **settings).fit(X)  # taken up at its end
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    for other, data in (
        (DEGMM(2, **{**settings, "learning_rate": 0.1}), X),
        (DEGMM(2, **settings), X + 1e-3),
    ):
        with pytest.raises(ValueError, match="holds a training on other data or with other settings"):
            other.fit(data)
    with pytest.raises(ValueError, match="random_state: expected an integer"):
        DEGMM(2, **{**settings, "random_state": None}).fit(X)
    for path in (tmp_path / "training" / "states" / "20").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be read"):
        DEGMM(2, **settings).fit(X)
    (tmp_path / "training" / "fit.json").write_text("{")
    with pytest.raises(ValueError, match=r"fit\.json is damaged"):
        DEGMM(2, **settings).fit(X)
