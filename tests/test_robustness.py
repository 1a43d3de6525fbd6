"""Weights, masks, precision, scale, refits: what must not depend on how the data are given."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_score

from degmm import DEGMM, EGMM, GMM, Ensemble
from degmm.datasets import make_exchangeable_mixture
from degmm.inference import em, mixture

FEW = {"n_init": 4, "random_state": 0}
SHORT = {**FEW, "max_epochs": 60}


@pytest.fixture(scope="module", name="X")
def small_mixture():
    return make_exchangeable_mixture(120, 6, 2, 2, seed=6)[0]


def test_spherical_is_spherical_whatever_the_scales(X):
    uneven = X * [1, 7.0]
    model = EGMM(2, covariance_type="spherical", **FEW).fit(uneven)
    for W in model.within_covariances_:
        np.testing.assert_allclose(W, W[0, 0] * np.eye(2), rtol=1e-12)
    flat = uneven[:, 0]
    peer = GaussianMixture(2, covariance_type="spherical", n_init=10, tol=1e-8, random_state=0).fit(flat)
    ours = GMM(2, covariance_type="spherical", tol=1e-8, random_state=0).fit(flat)
    assert ours.score(flat) >= peer.score(flat) - 1e-5


def test_a_start_of_another_structure_is_not_kept(X):
    skewed = X @ [[1, 0.8], [0, 0.6]]
    full = EGMM(2, **FEW).fit(skewed)
    warm = EGMM(2, covariance_type="diag", init_params=full).fit(skewed)
    assert (warm.covariances_[:, 0, 1] == 0).all()
    assert warm.log_likelihood_ == pytest.approx(
        EGMM(2, covariance_type="diag", **FEW).fit(skewed).log_likelihood_
    )


@pytest.mark.parametrize("kind", ["diag", "spherical"])
def test_clusters_of_a_start_of_another_structure_are_its_own(kind):
    rng = np.random.default_rng(0)
    roots = np.linalg.cholesky([[[1.0, 0.97], [0.97, 1]], [[0.5, 0], [0, 0.5]]])
    labels = rng.integers(2, size=300)
    skewed = np.einsum("nde,nme->nmd", roots[labels], rng.normal(size=(300, 10, 2)))  # means say nothing
    full = EGMM(2, n_init=4, random_state=0).fit(skewed)
    assert len(set(full.labels_[labels == 1])) == 1
    one = EGMM(2, covariance_type=kind, init_params=full, max_iter=1, tol=0).fit(skewed)
    by_hand = EGMM(2, covariance_type=kind, init_params=full.predict_proba(skewed), max_iter=1, tol=0).fit(
        skewed
    )
    np.testing.assert_allclose(one.covariances_, by_hand.covariances_, rtol=1e-6)
    with pytest.raises(ValueError, match=f"init_params: of blocks, a {kind} model .* full covariances"):
        EGMM(2, covariance_type=kind, init_params=full).fit(iter([skewed]))


def test_a_model_as_a_start_survives_clone_and_cross_validation(X):
    full = EGMM(2, **FEW).fit(X)
    warm = EGMM(2, init_params=full)
    assert clone(warm).fit(X).log_likelihood_ == pytest.approx(full.log_likelihood_)
    assert np.isfinite(cross_val_score(warm, X, cv=2)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_masked_values_are_absent(X, dtype):
    masked = np.ma.array(X.astype(dtype))
    masked[5, 2, 0] = -9999
    masked[5, 2, 0] = np.ma.masked
    absent = X.astype(dtype)
    absent[5, 2, 0] = np.nan
    np.testing.assert_array_equal(
        EGMM(2, **FEW).fit(masked).covariances_, EGMM(2, **FEW).fit(absent).covariances_
    )

    listed = EGMM(2, **FEW).fit([*masked])
    np.testing.assert_array_equal(listed.means_, EGMM(2, **FEW).fit(absent).means_)
    with pytest.raises(ValueError, match="got nan at ensemble 3"):
        EGMM(2, **FEW).fit(X, sample_weight=np.ma.array(np.ones(len(X)), mask=np.arange(len(X)) == 3))


@pytest.mark.parametrize("model", [EGMM(2, **FEW), DEGMM(2, **SHORT)])
def test_weight_0_is_absence(X, model):
    weights = np.ones(len(X))
    weights[:3] = 0
    wild = X.astype(np.float32)
    wild[:3] = 1e10
    without = clone(model).fit(wild[3:])
    weighted = clone(model).fit(wild, sample_weight=weights)
    np.testing.assert_allclose(weighted.means_, without.means_, atol=1e-4)
    np.testing.assert_array_equal(weighted.labels_[3:], without.labels_)


def test_deep_weights_count_ensembles(X):
    """Weight 2 is the ensemble twice, to the precision of a training that sees them in another order."""
    weights = np.ones(len(X))
    weights[::3] = 2
    start = {"polish": 0, **SHORT}
    weighted = DEGMM(2, **start).fit(X, sample_weight=weights)
    twice = DEGMM(2, **start).fit(np.concatenate([X, X[::3]]))
    plain = DEGMM(2, **start).fit(X)
    assert weighted.log_likelihood_ == pytest.approx(twice.log_likelihood_, rel=1e-3)
    np.testing.assert_allclose(weighted.weights_, twice.weights_, atol=5e-3)
    assert abs(weighted.weights_ - plain.weights_).max() > 1e-2


def test_scale_of_the_weights_scales_the_likelihood_alone(X):
    one = EGMM(2, **FEW).fit(X)
    for factor in (1e-50, 3.0):
        other = EGMM(2, **FEW).fit(X.astype(np.float32), sample_weight=np.full(len(X), factor))
        np.testing.assert_allclose(other.means_, one.means_, atol=1e-3)
        assert other.log_likelihood_ == pytest.approx(factor * one.log_likelihood_, rel=1e-4)


def test_float32_of_float64_data_loses_no_offset(X):
    shifted = EGMM(2, dtype="float32", **FEW).fit(X + 1e8)
    np.testing.assert_allclose(shifted.covariances_, EGMM(2, **FEW).fit(X).covariances_, atol=1e-3)
    np.testing.assert_array_equal(shifted.predict(X + 1e8), shifted.labels_)


def test_an_outlier_beyond_the_precision_is_named(X):
    model = EGMM(2, **FEW).fit(X.astype(np.float32))
    far = X[:4].astype(np.float32)
    far[2] = 1e14
    far[2, 0] *= -1
    model._parameters = model._parameters._replace(within=model._parameters.within * np.float32(1e-12))
    with pytest.raises(ValueError, match=r"X: ensemble 2 lies too far from all clusters"):
        model.predict_proba(far)


def test_a_fill_value_is_named(X):
    filled = X.astype(np.float32)
    filled[3, 1, 0] = 9.96921e36
    with pytest.raises(ValueError, match=r"X: value 9.97e\+36 at ensemble 3, member 1, variable 0"):
        EGMM(2, **FEW).fit(filled)


@pytest.mark.parametrize("scale", [1e-200, 1e-30])
def test_a_spread_whose_square_underflows_is_named(X, scale):
    data = X * scale if scale == 1e-200 else (X * scale).astype(np.float32)
    with pytest.raises(ValueError, match="X: variable 0 has a spread of about"):
        EGMM(2, **FEW).fit(data)


@pytest.mark.parametrize("D", [3, 40])
def test_collinear_float32_is_sound(D):
    rng = np.random.default_rng(0)
    line = (rng.normal(size=(200, 5, 1)) * np.ones(D)).astype(np.float32)
    with pytest.warns(ConvergenceWarning, match=f"at the floor .* D = {D} variables"):
        model = EGMM(2, reg_covar=1e-8, **FEW).fit(line)
    assert np.isfinite(model.log_likelihood_)
    assert np.isfinite(model.predict_proba(line)).all()
    assert np.isfinite(model.sample(3)[0]).all()
    assert model.result_.name == "AT_FLOOR"


def test_a_fit_that_is_not_finite_says_so(X, monkeypatch):
    def broken(family, parameters, blocks):
        value, statistics = whole(family, parameters, blocks)
        return value * np.nan, statistics

    whole = mixture.full_pass
    monkeypatch.setenv("DEGMM_CACHE", "off")  # the key of a program tells of source code, not of patches
    monkeypatch.setattr(em, "full_pass", broken)
    em.run_em.forget()
    with pytest.warns(ConvergenceWarning, match="not finite"):
        model = EGMM(2, max_iter=7, **FEW).fit(X)
    em.run_em.forget()
    assert model.result_.name == "NON_FINITE"
    assert not model.converged_
    for answer in (model.predict, model.predict_proba, model.score_samples, model.score):
        with pytest.raises(ValueError, match="EGMM: the fit broke down"):
            answer(X)


def test_a_refit_that_fails_leaves_the_model_as_it_was(X):
    model = DEGMM(2, encoder="mlp", **SHORT)
    model.fit(X)
    before = model.predict_proba(X), model.score(X)
    model.set_params(validation_fraction=0.99)
    with pytest.raises(ValueError, match=r"validation_fraction: 0\.99 of"):  # once the units are known
        model.fit(X * 100 + 7)
    np.testing.assert_array_equal(model.predict_proba(X), before[0])
    assert model.score(X) == before[1]
    egmm = EGMM(2, **FEW).fit(X)
    with pytest.raises(ValueError, match="sample_weight"):
        egmm.fit(X[:, :, :1], sample_weight=[1, 2])
    assert egmm.predict(X).shape == (120,)


def test_names_of_a_table_go_with_the_table(X):
    model = EGMM(2, **FEW).fit(pd.DataFrame(X[:, 0], columns=["a", "b"]))
    assert model.predict(X).shape == (120,)
    model.fit(X)
    assert not hasattr(model, "feature_names_in_")
    assert model.predict(X).shape == (120,)


def test_one_more_ensemble_compiles_nothing(X):
    EGMM(2, **FEW).fit(X[:100])
    compiled = [f.programs_made for f in (em.run_em, mixture._evaluate)]
    assert min(compiled) > 0
    for n in (99, 101, 103):
        model = EGMM(2, **FEW).fit(X[:n])
    for n in (3, 4, 9):
        model.predict(X[:n])
    assert em.run_em.programs_made == compiled[0]
    assert mixture._evaluate.programs_made <= compiled[1] + 1  # one size for the few


def test_parameters_changed_after_the_fit_do_not_change_it(X):
    model = EGMM(2, **FEW).fit(X)
    before = model.score(X)
    model.set_params(covariance_type="diag", member_model="shared_centre")
    assert model.score(X) == before


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (DEGMM(2, init_params=np.ones((120, 2))), {}, "init_params: expected one of"),
        (EGMM(2, covariance_type=["full"]), {}, "covariance_type: expected one of"),
        (DEGMM(2, objective=["elbo"]), {}, "objective: expected one of"),
        (EGMM(2, dtype="foo"), {}, "dtype: expected float32 or float64, got 'foo'"),
        (EGMM(2), {"sample_weight": ["a"] * 120}, "sample_weight: could not be read"),
        (EGMM(2, init_params=[["a"]]), {}, "init_params: could not be read"),
        (EGMM(2, min_weight=0.6), {}, "min_weight: 0.6 is too large for 2 components"),
        (
            EGMM(3, init_params="random"),
            {"sample_weight": np.eye(120)[0] + np.eye(120)[1]},
            "sample_weight: 2 ensembles of a weight above 0",
        ),
    ],
)
def test_wrong_arguments_are_named(X, model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.fit(X, **arguments)


def test_a_huge_max_iter_is_allowed(X):
    assert EGMM(1, n_init=1, max_iter=2**40).fit(X.astype(np.float32)).converged_


def test_names_of_variables_are_kept_and_compared(X):
    ensemble = Ensemble(X, ("t2m", "wind"))
    model = EGMM(2, **FEW).fit(ensemble)
    assert list(model.feature_names_in_) == ["t2m", "wind"]
    assert model.marginal("wind").n_features_in_ == 1
    assert model.conditional({"t2m": 0.5}).means.shape == (1, 2, 1)
    np.testing.assert_array_equal(model.predict(ensemble), model.predict(X))
    swapped = Ensemble(X[..., ::-1], ("wind", "t2m"))
    np.testing.assert_array_equal(model.predict(swapped), model.predict(X))  # matched by name
    with pytest.raises(
        ValueError, match="X: variables t2m, rain; the model was fitted to t2m, wind, and wind"
    ):
        model.predict(Ensemble(X, ("t2m", "rain")))


def test_a_marginal_keeps_units_and_season_of_its_variables():
    rng = np.random.default_rng(0)
    days = np.arange("2001-01-01", "2003-01-01", dtype="datetime64[D]").astype("datetime64[ns]")
    data = Ensemble.from_numpy(
        rng.normal([3, -2], size=(len(days), 4, 2)),
        ["t2m", "wind"],
        units=("K", "m/s"),
        case_dim="time",
        coords={"time": days},
    )
    model = EGMM(2, n_init=2, random_state=0).fit(data.anomalies())
    wind = data.take_variables([1])
    marginal = model.marginal("wind")
    assert marginal.score(wind) == marginal.score(wind.anomalies(climatology=marginal.climatology_))
    assert marginal.climatology_.variables == ("wind",)
    with pytest.raises(ValueError, match=r"wind is in 'km/h'; the model was fitted to 'm/s'"):
        marginal.score(Ensemble(wind.values, ("wind",), units=("km/h",), case_dim="time", coords=wind.coords))
