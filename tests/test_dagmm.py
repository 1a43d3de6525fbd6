"""DAGMM: the mixture of codes against scipy, anomalies, controls, hard data, files."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score

from degmm import DAGMM, load, save, select_components
from degmm.inference.dagmm import train
from degmm.inference.solution import Result

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
BRIEF = {"n_components": 2, "max_epochs": 60, "random_state": 0}


def surface(n, rng, D=12):
    """Rows near a curved surface of 2 dimensions, in two clusters."""
    latent = rng.normal(size=(n, 2)) + 3 * rng.integers(2, size=(n, 1))
    maps = np.random.default_rng(9).normal(size=(2, 2, D))
    return np.tanh(latent @ maps[0]) + 0.3 * latent @ maps[1] + 0.1 * rng.normal(size=(n, D))


@pytest.fixture(scope="module")
def rows():
    """Training rows, and test rows of which the last 100 are anomalies: variables of different rows."""
    rng = np.random.default_rng(0)
    test = surface(600, rng)
    test[500:] = np.stack([rng.permutation(column) for column in test[:500].T], axis=1)[:100]
    return surface(1500, rng), test, np.arange(600) >= 500


@pytest.fixture(scope="module")
def fitted(rows):
    return DAGMM(2, latent_dim=2, max_epochs=300, random_state=0).fit(rows[0])


def test_the_energy_is_that_of_the_mixture_of_codes(rows, fitted):
    z = fitted.encode(rows[1])
    terms = [
        np.log(weight) + multivariate_normal(mean, covariance).logpdf(z)
        for weight, mean, covariance in zip(fitted.weights_, fitted.means_, fitted.covariances_, strict=True)
    ]
    np.testing.assert_allclose(fitted.energy(rows[1]), -logsumexp(terms, axis=0), atol=1e-6)


def test_the_mixture_is_that_of_all_training_rows(rows, fitted):
    gamma, z = fitted.predict_proba(rows[0]), fitted.encode(rows[0])
    np.testing.assert_allclose(fitted.weights_, gamma.mean(axis=0), rtol=1e-5)
    for k in range(2):
        mean = np.average(z, axis=0, weights=gamma[:, k])
        np.testing.assert_allclose(fitted.means_[k], mean, atol=1e-5)
        covariance = np.cov(z.T, aweights=gamma[:, k], bias=True)
        np.testing.assert_allclose(fitted.covariances_[k], covariance, rtol=1e-4, atol=1e-6)


def test_features_are_those_of_the_reconstruction(rows, fitted):
    X = rows[1]
    scale = rows[0].std(axis=0)
    distance = np.sqrt((((X - fitted.reconstruct(X)) / scale) ** 2).mean(axis=1))
    np.testing.assert_allclose(fitted.encode(X)[:, 2], distance, atol=1e-5)
    paper = DAGMM(**BRIEF, latent_dim=1, reconstruction="relative", scaling="standard").fit(rows[0])
    x, again = ((part - rows[0].mean(axis=0)) / scale for part in (X, paper.reconstruct(X)))
    norm, other = np.linalg.norm(x, axis=1), np.linalg.norm(again, axis=1)
    expected = np.stack(
        [np.linalg.norm(x - again, axis=1) / norm, (x * again).sum(axis=1) / (norm * other)], axis=1
    )
    np.testing.assert_allclose(paper.encode(X)[:, 1:], expected, atol=1e-4)


def test_a_trained_network_finds_anomalies_and_an_untrained_one_does_not(rows, fitted):
    train_rows, test, anomalous = rows
    found = roc_auc_score(anomalous, fitted.energy(test))
    assert found > 0.93
    untrained = [DAGMM(2, latent_dim=2, max_epochs=0, random_state=seed).fit(train_rows) for seed in range(5)]
    assert np.mean([roc_auc_score(anomalous, model.energy(test)) for model in untrained]) < found - 0.05
    assert untrained[0].result_ is Result.COMPLETED
    assert untrained[0].n_iter_ == 0


def test_the_threshold_is_that_of_scikit_learn(rows, fitted):
    X = rows[0]
    outlier = fitted.predict_outlier(X) == -1
    assert abs(outlier.mean() - 0.1) < 2 / len(X)
    np.testing.assert_allclose(fitted.decision_function(X), fitted.score_samples(X) - fitted.offset_)
    assert set(fitted.predict(X)) <= {0, 1}
    stricter = DAGMM(**BRIEF, contamination=0.01).fit(X)
    assert abs((stricter.decision_function(X) < 0).mean() - 0.01) < 2 / len(X)


def test_a_row_of_weight_0_has_no_part(rows):
    X = rows[0][:300]
    weights = np.repeat([1.0, 0.0], [250, 50])
    one = DAGMM(**BRIEF).fit(X, sample_weight=weights)
    other = DAGMM(**BRIEF).fit(X[:250])
    np.testing.assert_allclose(one.energy(X), other.energy(X), rtol=1e-4)
    assert one.offset_ == pytest.approx(other.offset_, rel=1e-4)


def test_the_same_seed_gives_the_same_fit_in_both_precisions(rows):
    X = rows[0][:300]
    one, other = (DAGMM(**BRIEF).fit(X) for _ in range(2))
    np.testing.assert_array_equal(one.energy(X), other.energy(X))
    single = DAGMM(**BRIEF).fit(X.astype(np.float32))
    assert single.energy(X).dtype == np.float32
    correlation = np.corrcoef(single.energy(X), one.energy(X))[0, 1]
    assert correlation > 0.9


def test_units_of_the_variables_do_not_matter(rows):
    X = rows[0][:300].copy()
    X[:, 0] = np.round(X[:, 0] > 0)  # a dummy
    units = np.geomspace(1e-4, 1e5, X.shape[1])
    one, other = DAGMM(**BRIEF).fit(X), DAGMM(**BRIEF).fit(X * units + 1000 * units)
    np.testing.assert_allclose(one.energy(X), other.energy(X * units + 1000 * units), rtol=1e-3, atol=1e-3)


def test_rare_dummies_do_not_outweigh_the_rest():
    rng = np.random.default_rng(3)
    X = np.concatenate([rng.normal(size=(1000, 2)), rng.random((1000, 2)) < [0.5, 0.01]], axis=1)
    rare = np.array([[0.0, 0.0, 0.0, 1.0]])
    mixed, standard = (
        DAGMM(**BRIEF, scaling=scaling).fit(X)._projection.standard(rare)[0]
        for scaling in ("mixed", "standard")
    )
    assert mixed[3] == pytest.approx(2, abs=0.1)
    assert standard[3] > 8


def test_a_saved_model_scores_identically(rows, fitted, tmp_path):
    loaded = load(save(fitted, tmp_path / "model"))
    for method in ("energy", "predict_proba", "decision_function", "reconstruct"):
        np.testing.assert_array_equal(getattr(loaded, method)(rows[1]), getattr(fitted, method)(rows[1]))
    assert loaded.get_params() == fitted.get_params()


def test_more_epochs_compile_nothing_new(rows):
    DAGMM(**BRIEF).fit(rows[0])
    before = train.compiled._cache_size()
    DAGMM(**BRIEF | {"max_epochs": 90, "learning_rate": 2e-3, "noise": 0.5, "random_state": 3}).fit(rows[0])
    assert train.compiled._cache_size() == before


def test_exact_steps_raise_the_likelihood(rows):
    plain, polished = (DAGMM(**BRIEF, polish=polish).fit(rows[0]) for polish in (0, 20))
    assert polished.log_likelihood_ > plain.log_likelihood_


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latent_dim": 0}, "latent_dim: expected an integer of at least 1"),
        ({"encoder_layers": (8, 0)}, "encoder_layers: expected a tuple of layer widths"),
        ({"estimation_layers": 3}, "estimation_layers: expected a tuple of layer widths"),
        ({"dropout": 1.0}, "dropout: expected a share of at least 0 and below 1"),
        ({"scaling": "minmax"}, "scaling: expected one of 'mixed', 'standard'"),
        ({"reconstruction": "cosine"}, "reconstruction: expected one of"),
        ({"contamination": 0.6}, "contamination: expected a share above 0 and of at most 0.5"),
        ({"noise": -1}, "noise: expected a number of at least 0"),
        ({"max_epochs": -1}, "max_epochs: expected an integer of at least 0"),
        ({"batch_size": 0}, "batch_size: expected an integer of at least 1"),
    ],
)
def test_bad_arguments_are_named(rows, settings, message):
    with pytest.raises(ValueError, match=message):
        DAGMM(**BRIEF | settings).fit(rows[0][:50])


def test_densities_of_codes_choose_no_number_of_clusters(rows):
    with pytest.raises(ValueError, match="estimator: the densities of a DAGMM"):
        select_components(DAGMM(), rows[0])
    with pytest.raises(ValueError, match="the mixture is one of codes"):
        DAGMM(**BRIEF).fit(rows[0]).marginal([0])


def hard_data(kind, rng):
    """Data on which implementations of DAGMM break down."""
    X = rng.normal(size=(40, 6))
    if kind == "constant columns":
        X[:, :3] = 7.0
    elif kind == "duplicates":
        X = X[rng.integers(3, size=len(X))]
    elif kind == "all equal":
        X[:] = 1.5
    elif kind == "extremes":
        X[0] = 1e15
    elif kind == "dummies":
        X = (X > 1.5).astype(float)
    return X


@pytest.mark.parametrize("latent_dim", [1, 2, 5, 10])
def test_hard_data_break_nothing(latent_dim):
    """25 fits each, with codes of 1 to 10 numbers and tiny batches, in both precisions."""
    settings = {
        "latent_dim": latent_dim,
        "batch_size": {1: 2, 2: 5, 5: 64, 10: 2}[latent_dim],
        "reconstruction": ("distance", "relative")[latent_dim % 2],
        "encoder_layers": (8,),
        "max_epochs": 5,
        "learning_rate": 1e-2,
    }
    dtype = (np.float32, np.float64)[latent_dim // 2 % 2]
    for seed, kind in enumerate(["constant columns", "duplicates", "all equal", "extremes", "dummies"] * 5):
        X = hard_data(kind, np.random.default_rng(seed)).astype(dtype)
        model = DAGMM(2, **settings, random_state=seed).fit(X)
        assert model.result_ in (Result.COMPLETED, Result.AT_FLOOR), kind
        for values in (model.energy(X), model.reconstruct(X), model.predict_proba(X), model.covariances_):
            assert np.isfinite(values).all(), kind
        spread = np.sqrt(np.diagonal(model.covariances_, axis1=1, axis2=2)).astype(np.float64)
        correlations = model.covariances_ / spread[:, :, None] / spread[:, None, :]
        assert (np.linalg.eigvalsh(correlations) > 0).all(), kind
        assert np.isfinite(model.energy(X + dtype(1e12))).all(), kind
