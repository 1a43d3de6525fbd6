"""Projections of members before the mixture: linear ones against scikit-learn, autoencoders, files."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from degmm import DEGMM, DGMM, load, save
from degmm.metrics import accuracy
from degmm.projections.base import encoded, sampled_rows
from degmm.projections.linear import LinearProjection

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
BRIEF = {"max_epochs": 30, "n_init": 4, "random_state": 0, "hidden": (16,)}


@pytest.fixture(scope="module")
def fields():
    """Curved fields of 60 points that 3 latent numbers determine, in 3 clusters."""
    rng = np.random.default_rng(0)
    means = 2.5 * np.eye(3)
    labels = rng.integers(3, size=300)
    latent = means[labels][:, None, :] + rng.normal(size=(300, 6, 3))
    linear, squares = rng.normal(size=(2, 3, 60))
    curved = np.tanh(latent @ linear) + 0.3 * latent**2 @ squares
    return (280 + 5 * curved + 0.2 * rng.normal(size=curved.shape)).astype(np.float32), labels


def standardised(X):
    rows = X.reshape(-1, X.shape[-1]).astype(np.float64)
    return (rows - rows.mean(axis=0)) / rows.std(axis=0)


@pytest.mark.parametrize("D", [60, 700])
def test_the_linear_projection_is_that_of_principal_components(D):
    rng = np.random.default_rng(1)
    X = (rng.normal(size=(50, 8, 3)) * [3, 2, 1]) @ rng.normal(size=(3, D)) + 0.1 * rng.normal(
        size=(50, 8, D)
    )
    projection = LinearProjection.learned(sampled_rows(X, np.ones(50), rng), 3, rng)
    codes = projection.encode(X.reshape(-1, D))
    known = PCA(3, svd_solver="full").fit(standardised(X))
    np.testing.assert_allclose(codes.std(axis=0), 1, rtol=1e-3)
    theirs = known.transform(standardised(X)) / np.sqrt(known.explained_variance_)
    np.testing.assert_allclose(np.abs((codes * theirs).mean(axis=0)), 1, rtol=1e-2)
    rows = X.reshape(-1, D)
    left = ((projection.decode(codes) - rows) / rows.std(axis=0)) ** 2
    optimum = (known.inverse_transform(known.transform(standardised(X))) - standardised(X)) ** 2
    assert left.mean() < 1.001 * optimum.mean()
    np.testing.assert_allclose(projection.encode(projection.decode(codes)), codes, atol=1e-8)


def test_members_are_centred_before_they_are_rounded():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(50, 4, 6)) @ rng.normal(size=(6, 6))
    codes = []
    for members in (X, X + 1e7):
        rows = sampled_rows(members, np.ones(50), rng, np.float32)
        assert rows.values.dtype == np.float32
        codes.append(encoded(LinearProjection.learned(rows, 2, rng), members, np.float32))
    assert codes[1].dtype == np.float32
    np.testing.assert_allclose(codes[1], codes[0], atol=1e-4)


def test_weight_2_is_the_ensemble_twice():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(40, 5, 8))
    weights = rng.integers(0, 3, size=40).astype(float)
    twice = np.repeat(X, weights.astype(int), axis=0)
    one = LinearProjection.learned(sampled_rows(X, weights, rng), 2, rng)
    other = LinearProjection.learned(sampled_rows(twice, np.ones(len(twice)), rng), 2, rng)
    for name, part in one.arrays().items():
        np.testing.assert_allclose(part, other.arrays()[name], atol=1e-10)


@pytest.mark.parametrize("projection", ["linear", "autoencoder"])
def test_a_model_of_codes(fields, projection, tmp_path):
    X, labels = fields
    X = X.copy()
    X[:30, 4:] = np.nan
    model = DEGMM(3, projection=projection, latent_dim=3, **BRIEF).fit(X)
    assert accuracy(labels, model.labels_) > 0.9
    assert (model.n_features_in_, model.means_.shape) == (60, (3, 3))
    codes = model.encode(X)
    assert codes.shape == (300, 6, 3)
    np.testing.assert_array_equal(np.isnan(codes[..., 0]), np.isnan(X[..., 0]))
    assert model.decode(model.means_).shape == (3, 60)
    drawn, _ = model.sample(7, n_members=4, random_state=0)
    assert drawn.shape == (7, 4, 60)
    assert abs(drawn.mean() - np.nanmean(X)) < 3
    again = load(save(model, tmp_path / "model"))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(again.decode(codes[:, 0]), model.decode(codes[:, 0]))
    same = DEGMM(3, projection=projection, latent_dim=3, **BRIEF).fit(X)
    np.testing.assert_array_equal(same.means_, model.means_)
    with pytest.raises(ValueError, match="the mixture is one of codes"):
        model.marginal([0])
    with pytest.raises(ValueError, match="X has 59 features"):
        model.predict(X[..., :59])
    with pytest.raises(ValueError, match="codes: expected 3 numbers"):
        model.decode(np.zeros(2))


def test_an_autoencoder_describes_curved_members_better(fields):
    X, _ = fields
    left = {}
    for projection in ("linear", "autoencoder"):
        model = DEGMM(3, projection=projection, latent_dim=3, **BRIEF).fit(X)
        left[projection] = ((model.decode(model.encode(X)) - X) ** 2).mean() / X.var()
    assert left["autoencoder"] < 0.6 * left["linear"]


def test_bad_arguments(fields):
    X, _ = fields
    for settings, message in (
        ({"projection": "pca"}, "projection: "),
        ({"projection": "linear"}, "latent_dim: say how many"),
        ({"latent_dim": 3}, "latent_dim: has no effect without a projection"),
        ({"projection": "linear", "latent_dim": 61}, "latent_dim: 61 are more than the 60 variables"),
    ):
        with pytest.raises(ValueError, match=message):
            DEGMM(2, **settings, **BRIEF).fit(X)
    with pytest.raises(ValueError, match="fitted without one"):
        DGMM(2, **BRIEF).fit(X[:, 0]).encode(X[:, 0])


def test_constant_variables(fields):
    X = fields[0].copy()
    X[..., 10:] = X[0, 0, 10]
    for projection in ("linear", "autoencoder"):
        model = DEGMM(2, projection=projection, latent_dim=4, **BRIEF).fit(X)
        left = model.decode(model.encode(X)) - X
        assert np.abs(left[..., 10:]).max() < 2
        with pytest.raises(ValueError, match="the members vary in 10 directions only, got 11"):
            DEGMM(2, projection=projection, latent_dim=11, **BRIEF).fit(X)


def test_no_unit_hides_a_variable():
    """Codes are those of standardised variables, whatever the units: humidity beside geopotential."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 5, 4)).astype(np.float32)
    known = LinearProjection.learned(sampled_rows(X, np.ones(60), rng), 2, rng).encode(X.reshape(-1, 4))
    units = np.array([1e-6, 1e-6, 1e6, 1e6], np.float32)
    other = LinearProjection.learned(sampled_rows(X * units, np.ones(60), rng), 2, rng)
    np.testing.assert_allclose(other.encode((X * units).reshape(-1, 4)), known, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_directions_of_rounding_are_no_codes(dtype):
    rng = np.random.default_rng(4)
    X = (rng.normal(size=(100, 10, 3)) @ rng.normal(size=(3, 60))).astype(dtype)
    with pytest.raises(ValueError, match="the members vary in 3 directions only, got 6"):
        DEGMM(2, projection="linear", latent_dim=6, **BRIEF).fit(X)


@pytest.mark.parametrize(
    "change",
    [
        {"projection.centre": np.zeros(1)},
        {"projection.scale": np.zeros(60)},
        {"projection.spread": np.ones(1)},
        {"projection.components": None},
    ],
)
def test_damaged_projections_are_refused(fields, change, tmp_path):
    model = DEGMM(3, projection="linear", latent_dim=3, **BRIEF).fit(fields[0])
    arrays, facts = model._get_state()
    for name, part in change.items():
        if part is None:
            del arrays[name]
        else:
            arrays[name] = part
    model._get_state = lambda: (arrays, facts)
    save(model, tmp_path)
    with pytest.raises(ValueError, match="the saved model is damaged"):
        load(tmp_path)
