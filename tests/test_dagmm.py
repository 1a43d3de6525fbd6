"""DAGMM: the mixture of codes against scipy, anomalies, controls, hard data, files."""

import warnings

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from degmm import DAGMM, load, save, select_components
from degmm.estimators.dagmm import _quantile
from degmm.inference.dagmm import train
from degmm.inference.dagmm_fit import TrainedDAGMM
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
    np.testing.assert_allclose(paper.encode(X)[:, 1:], expected, atol=1e-3)


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
    before = train.programs_made
    assert before > 0
    DAGMM(**BRIEF | {"max_epochs": 90, "learning_rate": 2e-3, "noise": 0.5, "random_state": 3}).fit(rows[0])
    assert train.programs_made == before


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
        assert model.result_ in (Result.COMPLETED, Result.AT_FLOOR, Result.UNLEARNED), kind
        for values in (model.energy(X), model.reconstruct(X), model.predict_proba(X), model.covariances_):
            assert np.isfinite(values).all(), kind
        spread = np.sqrt(np.diagonal(model.covariances_, axis1=1, axis2=2)).astype(np.float64)
        correlations = model.covariances_ / spread[:, :, None] / spread[:, None, :]
        assert (np.linalg.eigvalsh(correlations) > 0).all(), kind
        assert np.isfinite(model.energy(X + dtype(1e12))).all(), kind


# --- what a few light, repeated, far or constant values may not do -----------------------------------


def test_light_rows_move_nothing(rows):
    """Rows are drawn by their weights: no batch, and no step, is one of light rows alone."""
    X = np.concatenate([rows[0][:40], rows[0][40:400] @ np.random.default_rng(5).normal(size=(12, 12))])
    errors = []
    for light in (0, 1e-9):
        weights = np.repeat([1.0, light], [40, 360])
        model = DAGMM(2, latent_dim=2, max_epochs=100, batch_size=8, random_state=0, scaling="standard")
        model.fit(X, sample_weight=weights)
        errors.append(((X[:40] - model.reconstruct(X[:40])) ** 2).mean())
    assert errors[1] < 1.1 * errors[0]


def test_weights_that_float32_cannot_hold_count_as_0(rows):
    X = rows[0][:300].astype(np.float32)
    one, other = (
        DAGMM(**BRIEF).fit(X, sample_weight=np.repeat([1, light], [250, 50])) for light in (0, 1e-60)
    )
    np.testing.assert_allclose(one.energy(X), other.energy(X), rtol=1e-3, atol=1e-3)


def test_equal_weights_are_none(rows):
    X = rows[0][:300]
    one, other = (DAGMM(**BRIEF).fit(X, sample_weight=weights) for weights in (0.3, None))
    np.testing.assert_allclose(one.energy(X), other.energy(X), rtol=1e-6)


def test_batches_are_of_equal_size(rows):
    """257 rows in batches of 16 are 17 batches of 15 or 16 rows, none of 1 row that the floor punishes."""
    model = DAGMM(2, max_epochs=2, batch_size=16, random_state=0).fit(rows[0][:257])
    assert model.history_["loss"].max() < 2 * rows[0].shape[1]


def test_rows_as_they_are_may_lie_anywhere(rows):
    X = 1e4 * rows[0][:300] + 1e9
    model = DAGMM(**BRIEF, scaling=None).fit(X)
    assert np.ptp(model._projection.standard(X), axis=0).min() > 1e4


def test_float64_rows_are_centred_before_they_are_rounded(rows):
    X = rows[0][:300]
    far = X + 1e7
    one, other = (DAGMM(**BRIEF, dtype="float32").fit(part) for part in (far - 1e7, far))
    assert other.energy(far).dtype == np.float32
    np.testing.assert_allclose(one.energy(X), other.energy(far), atol=0.05)


def test_what_departs_in_a_constant_variable_is_an_anomaly(rows):
    X = np.concatenate([rows[0][:300], np.repeat([[0.0, 250.0]], 300, axis=0)], axis=1)
    model = DAGMM(**BRIEF).fit(X)
    for column, value in ((12, 1.0), (13, 265.0)):
        strange = X[:20].copy()
        strange[:, column] = value
        assert (model.energy(strange) > model.energy(X).max()).all()
    np.testing.assert_allclose(model.reconstruct(X)[:, 12:], X[:, 12:], atol=0.2)


@pytest.mark.parametrize(
    ("n", "D", "K", "L"), [(197_000, 118, 4, 14), (1850, 6, 4, 1), (190, 274, 4, 2), (20, 300, 4, 1)]
)
def test_a_default_code_suits_the_rows_too(n, D, K, L):
    assert DAGMM(K)._sizes(n, D).latent_dim == L
    assert DAGMM(K, latent_dim=35)._sizes(n, D).latent_dim == 35


# --- training that fails ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
def test_training_that_fails_is_told(rows):
    X = rows[0][:300]
    with pytest.warns(ConvergenceWarning, match="no better than their mean"):
        model = DAGMM(**BRIEF, learning_rate=1e4, decay=1).fit(X)
    assert (model.result_, model.converged_) == (Result.UNLEARNED, False)
    for rate in (1e30, 1e300):
        with pytest.raises(ValueError, match="learning_rate: the networks"):
            DAGMM(**BRIEF, learning_rate=rate).fit(X.astype(np.float32))
    with pytest.raises(ValueError, match="max_epochs: expected an integer of at most 1000000"):
        DAGMM(max_epochs=10**10).fit(X)
    with pytest.warns(ConvergenceWarning, match="sits at the floor .* lower latent_dim"):
        DAGMM(2, latent_dim=5, max_epochs=0, random_state=0).fit(np.repeat(X[:3], 100, axis=0))


def test_steps_that_are_not_finite_are_told():
    history = np.array([[1.0, 0.5, 0.5], [np.nan, 0.5, 0.5]])
    assert TrainedDAGMM(None, history, 2.0).result is Result.SKIPPED_STEPS
    assert TrainedDAGMM(None, history[:1], 2.0).result is Result.COMPLETED
    assert TrainedDAGMM(None, history[:1], 0.4).result is Result.UNLEARNED
    assert TrainedDAGMM(None, history[:0], 0.4).result is Result.COMPLETED
    assert Result.SKIPPED_STEPS.alarming
    assert "covariance_type" not in Result.SKIPPED_STEPS.value


def test_scores_that_are_not_finite_are_no_verdict(rows):
    model = DAGMM(**BRIEF).fit(rows[0][:300])
    model._parameters = model._parameters._replace(means=np.full_like(model._parameters.means, np.nan))
    with pytest.raises(ValueError, match="X: ensemble 0 lies too far"):
        model.predict_outlier(rows[0])


# --- as one of scikit-learn's detectors ------------------------------------------------------------------


def test_as_many_are_flagged_as_scikit_learn_flags(rows):
    X = rows[0][:300]
    model = DAGMM(**BRIEF).fit(X)
    assert (model.predict_outlier(X) == -1).sum() == 30
    assert model.offset_ == pytest.approx(np.percentile(model.score_samples(X), 10))
    values = np.random.default_rng(0).normal(size=50)
    doubled = np.concatenate([values, [-9.0, 9.0]]), np.repeat([3.0, 0.0], [50, 2])
    for share in (0.013, 0.1, 0.5):
        assert _quantile(*doubled, share) == pytest.approx(np.quantile(values, share))
    assert _quantile(np.array([2.0]), np.ones(1), 0.3) == 2


def test_anomalies_in_a_pipeline_are_below_0(rows):
    pipe = make_pipeline(StandardScaler(), DAGMM(**BRIEF, contamination=0.05)).fit(rows[0][:300])
    found = pipe.decision_function(rows[1]) < 0
    np.testing.assert_array_equal(found, pipe[-1].predict_outlier(pipe[0].transform(rows[1])) == -1)
    np.testing.assert_array_equal(pipe.predict(rows[0][:300]), pipe[-1].labels_)


def test_rows_of_another_shape_are_told_the_way(rows):
    with pytest.raises(ValueError, match=r"X.reshape\(len\(X\), -1\)"):
        DAGMM().fit(rows[0].reshape(-1, 3, 4))
    with pytest.raises(ValueError, match=r"a single row is X\[None\]"):
        DAGMM().fit(rows[0][0])


def test_nothing_is_answered_before_the_fit(rows):
    for method in ("reconstruct", "encode", "energy", "predict_proba", "predict_outlier", "score", "sample"):
        with pytest.raises(NotFittedError):
            getattr(DAGMM(), method)(*([] if method == "sample" else [rows[0]]))


def test_a_ridge_is_added_in_the_units_of_z():
    X = np.random.default_rng(0).normal(size=(400, 2)) @ np.random.default_rng(1).normal(size=(2, 6))
    settings = {
        "n_components": 2,
        "latent_dim": 2,
        "max_epochs": 3,
        "initialiser": "glorot",
        "random_state": 0,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = DAGMM(**settings, ridge=0.05).fit(X)
        plain = DAGMM(**settings).fit(X)
    z, gamma = model.encode(X), model.predict_proba(X)
    for k in range(2):
        share = gamma[:, k] / gamma[:, k].sum()
        centred = z - share @ z
        covariance = (share[:, None] * centred).T @ centred + 0.05 * np.eye(z.shape[1])
        np.testing.assert_allclose(model.covariances_[k], covariance, atol=1e-12)
    assert not np.allclose(plain.history_["energy"], model.history_["energy"])
    with pytest.raises(ValueError, match="ridge: exact EM steps know none; set polish=0"):
        DAGMM(**settings, ridge=0.05, polish=2).fit(X)
    with pytest.raises(ValueError, match="initialiser: expected one of 'lecun', 'glorot'"):
        DAGMM(**(settings | {"initialiser": "zeros"})).fit(X)
