import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from degmm import DEGMM, DGMM, EGMM, GMM, Ensemble
from degmm.datasets import make_exchangeable_mixture

X = make_exchangeable_mixture(60, 4, 2, 2, seed=0)[0]


def with_value(value, *index):
    changed = X.copy()
    changed[index] = value
    return changed


def fit(model, data=X, **arguments):
    return lambda: model.fit(data, **arguments)


def after_fit(call):
    return lambda: call(EGMM(2, n_init=4, random_state=0).fit(X))


BAD_INPUT = [
    ("wrong rank, 1", fit(EGMM(2), X[0, :, 0]), "X: expected shape (n, M, D)"),
    ("wrong rank, 4", fit(EGMM(2), X[None]), "X: expected shape (n, M, D)"),
    ("no ensemble", fit(EGMM(2), X[:0]), "X: no ensembles"),
    ("no variable", fit(EGMM(2), X[..., :0]), "X: no variables"),
    ("text", fit(EGMM(2), [["a", "b"], ["c", "d"]]), "X: could not be read as an array of numbers"),
    ("complex", fit(EGMM(2), X + 1j), "X: Complex data not supported"),
    ("dates", fit(EGMM(2), X.astype("datetime64[s]")), "X: dates or durations (datetime64"),
    (
        "infinite",
        fit(EGMM(2), with_value(np.inf, 7, 2, 1)),
        "infinite value at ensemble 7, member 2, variable 1",
    ),
    ("all NaN", fit(EGMM(2), with_value(np.nan, 9)), "ensemble 9 has no member without NaN"),
    ("n < K", fit(EGMM(61)), "60 ensembles (n_samples=60) are too few for 61 components"),
    ("K = 0", fit(EGMM(0)), "n_components: expected an integer of at least 1, got 0"),
    ("K = 2.5", fit(EGMM(2.5)), "n_components: expected an integer"),
    ("negative tolerance", fit(EGMM(2, tol=-1)), "tol: expected a number of at least 0, got -1"),
    ("no iteration", fit(EGMM(2, max_iter=0)), "max_iter: expected an integer of at least 1"),
    ("no floor", fit(EGMM(2, reg_covar=0)), "reg_covar: expected a number above 0"),
    ("no start", fit(EGMM(2, n_init=0)), "n_init: expected an integer of at least 1"),
    ("unknown start", fit(EGMM(2, init_params="kmeans")), "init_params: expected one of 'k-means++'"),
    (
        "start of wrong shape",
        fit(EGMM(2, init_params=np.ones((5, 2)))),
        "init_params: responsibilities of shape (5, 2)",
    ),
    (
        "negative start",
        fit(EGMM(2, init_params=-np.ones((60, 2)))),
        "init_params: responsibilities of ensemble 0",
    ),
    (
        "start not fitted",
        fit(EGMM(2, init_params=EGMM(2))),
        "init_params: the model given as a start is not fitted",
    ),
    ("unknown structure", fit(EGMM(2, covariance_type="round")), "covariance_type: expected one of 'full'"),
    ("unknown family", fit(EGMM(2, member_model="copula")), "member_model: expected one of 'independent'"),
    ("unknown precision", fit(EGMM(2, dtype="int8")), "dtype: expected float32 or float64, got int8"),
    ("bad seed", fit(EGMM(2, random_state=-1)), "random_state: expected an integer of at least 0, got -1"),
    (
        "weights of wrong length",
        fit(EGMM(2), sample_weight=[1, 2]),
        "sample_weight: expected one weight for each of 60",
    ),
    ("negative weight", fit(EGMM(2), sample_weight=-np.ones(60)), "sample_weight: expected finite weights"),
    ("zero weights", fit(EGMM(2), sample_weight=np.zeros(60)), "sample_weight: every weight is zero"),
    (
        "GMM on ensembles",
        fit(GMM(2)),
        "X: GMM takes one member per ensemble and X has 4; pass X[:, 0], or use EGMM",
    ),
    (
        "DGMM on ensembles",
        fit(DGMM(2)),
        "X: DGMM takes one member per ensemble and X has 4; pass X[:, 0], or use DEGMM",
    ),
    (
        "D differs",
        after_fit(lambda m: m.predict(X[..., :1])),
        "X has 1 features, but EGMM is expecting 2 features",
    ),
    ("no draws", after_fit(lambda m: m.sample(0)), "n_samples: expected an integer of at least 1"),
    (
        "unknown encoder",
        fit(DEGMM(2, encoder="transformer")),
        "encoder: expected one of 'moments', 'mlp', 'deep_sets', 'set_transformer'; got",
    ),
    ("unknown objective", fit(DEGMM(2, objective="vae")), "objective: expected one of 'elbo', 'likelihood'"),
    ("no epochs", fit(DEGMM(2, max_epochs=0)), "max_epochs: expected an integer of at least 1"),
    ("bad rate", fit(DEGMM(2, learning_rate=0)), "learning_rate: expected a number above 0"),
    ("bad warm-up", fit(DEGMM(2, warmup=2)), "warmup: expected a share between 0 and 1"),
    ("bad layers", fit(DEGMM(2, hidden=())), "hidden: expected a tuple of layer widths"),
    ("penalty without effect", fit(DEGMM(2, penalty=1.0)), "penalty: has no effect with objective='elbo'"),
    ("bad batch", fit(DEGMM(2, batch_size=0)), "batch_size: expected"),
    ("all held out", fit(DEGMM(2, validation_fraction=1.0)), "validation_fraction: expected a share of at"),
    ("too many held out", fit(DEGMM(2, validation_fraction=0.99)), "validation_fraction: 0.99 of"),
    ("no patience", fit(DEGMM(2, patience=0)), "patience: expected"),
    ("an encoder that is no class", fit(DEGMM(2, encoder=7)), "encoder: expected one of"),
    (
        "context for EM",
        lambda: EGMM(2, n_init=1).fit(X).predict(X, context=X[:, 0]),
        "context: this EGMM was",
    ),
    ("short context", fit(DEGMM(2), context=np.zeros((3, 1))), "context: expected shape ("),
    (
        "context with NaN",
        fit(DEGMM(2), context=np.full(len(X), np.nan)),
        "context: nan at ensemble 0, column 0",
    ),
]


@pytest.mark.parametrize(
    ("call", "message"), [row[1:] for row in BAD_INPUT], ids=[row[0] for row in BAD_INPUT]
)
def test_bad_input_gives_one_clear_sentence(call, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared below)
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_mlp_on_another_number_of_members():
    model = DEGMM(2, encoder="mlp", max_epochs=5, n_init=4, random_state=0).fit(X[:, :3])
    with pytest.raises(ValueError, match="trained on 3 members and X has 4; use encoder='moments'"):
        model.predict(X)
    # fewer count as absent, and those as the mean of the others
    fewer = X[:, :3].copy()
    fewer[:, 2] = np.nan
    np.testing.assert_allclose(model.predict_proba(X[:, :2]), model.predict_proba(fewer))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", [GMM(2), EGMM(2), DGMM(2), DEGMM(2)])
def test_parameters_clone_and_are_not_changed_by_fit(estimator):
    if "max_epochs" in estimator.get_params():
        estimator.set_params(max_epochs=5)
    estimator.set_params(n_init=4, random_state=0)
    before = clone(estimator).get_params()
    estimator.fit(X[:, 0])
    assert estimator.get_params() == before


def test_pipeline_and_grid_search():
    flat = X[:, 0]
    pipeline = make_pipeline(GMM(2, n_init=4, random_state=0))
    assert pipeline.fit(flat).predict(flat).shape == (60,)
    search = GridSearchCV(EGMM(n_init=4, random_state=0), {"n_components": [1, 2]}, cv=2).fit(X)
    assert search.best_params_["n_components"] == 2


def test_inputs_of_all_kinds_agree():
    import xarray as xr

    model = EGMM(2, n_init=4, random_state=0).fit(X)
    expected = model.predict_proba(X)
    labelled = Ensemble(X, ("a", "b"))
    np.testing.assert_array_equal(model.predict_proba(labelled), expected)
    array = xr.DataArray(X.transpose(1, 0, 2), dims=("number", "time", "variable"))
    np.testing.assert_array_equal(model.predict_proba(array), expected)
    np.testing.assert_array_equal(model.predict_proba(X.tolist()), expected)


def test_names_of_table_columns_are_kept():
    table = pd.DataFrame(X[:, 0], columns=["t2m", "wind"])
    model = GMM(2, n_init=4, random_state=0).fit(table)
    assert list(model.feature_names_in_) == ["t2m", "wind"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table.rename(columns={"wind": "rain"}))


def test_sample_draws_from_the_fitted_mixture():
    model = EGMM(2, n_init=4, random_state=0).fit(X)
    drawn, labels = model.sample(20_000, n_members=3, random_state=1)
    assert drawn.shape == (20_000, 3, 2)
    np.testing.assert_allclose(np.bincount(labels) / 20_000, model.weights_, atol=0.015)
    for k in range(2):
        flat = drawn[labels == k].reshape(-1, 2)
        np.testing.assert_allclose(flat.mean(axis=0), model.means_[k], atol=0.06)
        np.testing.assert_allclose(np.cov(flat.T), model.covariances_[k], atol=0.1)
    again, _ = model.sample(20_000, n_members=3, random_state=1)
    np.testing.assert_array_equal(drawn, again)


def test_criteria():
    model = EGMM(2, n_init=4, random_state=0).fit(X)
    total = model.score_samples(X).sum()
    assert model.n_parameters_ == 1 + 4 + 6
    assert model.bic(X) == pytest.approx(-2 * total + 11 * np.log(60))
    assert model.aic(X) == pytest.approx(-2 * total + 22)
    gamma = model.posterior(X)
    assert model.icl(X) == pytest.approx(model.bic(X) - 2 * np.sum(gamma * np.log(np.maximum(gamma, 1e-300))))
    assert model.score(X) == pytest.approx(total / 60)
