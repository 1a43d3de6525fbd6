"""Values that files have for missing ones, and values too large for what is computed of them."""

import warnings

import numpy as np
import pytest

from degmm import DEGMM, EGMM, GMM
from degmm.calibration import EMOS
from degmm.estimators.checks import check_context

FILLS = [9.969209968386869e36, float(np.float32(1e20)), 1e20, -1e20]


@pytest.mark.parametrize("fill", FILLS)
def test_a_fill_value_is_pointed_out(fill):
    X = np.random.default_rng(0).normal(size=(40, 4, 2))
    X[3, 1, 0] = fill
    with pytest.warns(
        UserWarning, match=r"X: -?[19].*e\+\d+ at ensemble 3, member 1, variable 0 \(1 in all\)"
    ):
        EGMM(1, n_init=1, max_iter=1, tol=0).fit(X)
    with pytest.raises(ValueError, match=r"X: value .* at ensemble 3, member 1, variable 0"):
        EGMM(1, n_init=1).fit(X.astype(np.float32))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_calibration_points_them_out_too(dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5)).astype(dtype)
    y = rng.normal(size=60)
    X[7, 2] = 1e20
    with pytest.warns(UserWarning, match=r"X: 1e\+20 at ensemble 7, member 2, variable 0"):
        EMOS().fit(X, y)
    X[7, 2] = 0
    y[9] = 9.969209968386869e36
    with pytest.warns(UserWarning, match=r"y: 9.96921e\+36 at case 9, variable 0"):
        EMOS().fit(X, y)


@pytest.mark.parametrize("model", [GMM(1), EGMM(1), DEGMM(1)])
def test_a_value_too_large_for_squares_is_refused(model):
    X = np.random.default_rng(0).normal(size=(40, 1, 2))
    X[5, 0, 1] = 1e129
    with pytest.raises(ValueError, match=r"X: value 1e\+129 at ensemble 5, member 0, variable 1"):
        model.fit(X)
    with pytest.raises(ValueError, match=r"y: value 1e\+129 at case 5"):
        EMOS().fit(X[:, :, 0], X[:, 0, 1])


def test_large_values_that_are_no_fill_are_taken():
    X = 1e20 * (1 + np.random.default_rng(0).uniform(size=(50, 3, 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = EGMM(1, n_init=1).fit(X)
    assert np.isfinite(model.covariances_).all()


def far_out(value, M=4):
    """Ensembles of float64, of which number 7 has a value that float32 has no square of."""
    X = np.random.default_rng(1).normal(size=(40, M, 2))
    X[7, 0, 1] = value
    return X


TOO_FAR = r"ensemble 7 lies more than 2e\+15 times the spread of the data from the others, too far for float32; .*float64"


@pytest.mark.parametrize("model", [GMM(2, n_init=1), EGMM(2, n_init=1), DEGMM(1, n_init=1, max_epochs=2)])
def test_a_value_is_measured_in_the_units_and_precision_of_the_fit(model):
    model.set_params(dtype="float32")
    X = far_out(3e30, 1 if isinstance(model, GMM) else 4)
    with pytest.raises(ValueError, match="^X: " + TOO_FAR):
        model.fit(X)
    # of no weight, it is in nobody's way
    weights = np.ones(40)
    weights[7] = 0
    if isinstance(model, EGMM):
        with pytest.raises(ValueError, match="ensemble 7 lies too far from all clusters"):
            model.fit(X, sample_weight=weights)


def test_covariances_in_the_units_of_the_data_are_finite_in_the_precision_of_the_fit():
    X = 1e12 * far_out(1e9)
    with pytest.raises(
        ValueError, match=r"X: ensemble 7 lies \d.*e\+20 from the others, .* float32 cannot hold"
    ):
        EGMM(2, n_init=1, dtype="float32").fit(X)
    assert np.isfinite(EGMM(2, n_init=1).fit(X).covariances_).all()


def test_a_value_is_measured_in_units_far_below_its_own():
    X = 1e-60 * np.random.default_rng(2).normal(size=(40, 4, 2))
    X[7, 0, 1] = 1e60
    with pytest.raises(ValueError, match=r"X: ensemble 7 lies more than 1e\+100 times the spread"):
        EGMM(2, n_init=1).fit(X)
    with pytest.raises(ValueError, match=r"X, block 1: ensemble 2 lies more than 1e\+100 times"):
        EGMM(2, n_init=1).fit(iter([X[:5], X[5:]]))


@pytest.mark.parametrize("kept", [None, 1000])
def test_blocks_are_measured_alike(kept, monkeypatch):
    import dask.array as da

    if kept is not None:  # in a file
        monkeypatch.setattr("degmm.spill.KEPT_BYTES", kept)
    model = EGMM(2, n_init=1, dtype="float32")
    with pytest.raises(ValueError, match=r"X, block 0: " + TOO_FAR):
        model.fit(iter([far_out(3e30)[:20], far_out(3e30)[20:]]))
    with pytest.raises(ValueError, match=r"X, block \d: ensemble \d+ lies more than 2e\+15 times"):
        model.fit(da.from_array(far_out(3e30), chunks=(10, 4, 2)))
    with pytest.raises(ValueError, match=r"X, block 1: value 1e\+129 at ensemble 0, member 0, variable 1"):
        EGMM(2, n_init=1).fit(iter([far_out(1.0)[:7], far_out(1e129)[7:]]))
    with pytest.warns(UserWarning, match=r"X, block 1: 1e\+20 at ensemble 0, member 0, variable 1"):
        EGMM(1, n_init=1, max_iter=1, tol=0).fit(iter([far_out(1.0)[:7], far_out(1e20)[7:]]))


def test_what_is_asked_of_a_fit_is_measured_too():
    X = far_out(1.0)
    for model in (
        EGMM(2, n_init=1, dtype="float32").fit(X),
        DEGMM(1, n_init=1, max_epochs=2, warmup=0, dtype="float32").fit(X),
    ):
        for ask in (model.predict_proba, model.posterior, model.score_samples):
            with pytest.raises(ValueError, match="ensemble 7 lies too far from all clusters"):
                ask(far_out(3e30))
    double = EGMM(2, n_init=1).fit(X)
    with pytest.warns(UserWarning, match=r"X: 1e\+20 at ensemble 7"):
        double.predict(far_out(1e20))


def test_contexts_weights_and_scores_are_looked_at_too():
    from degmm.calibration import Forecast
    from degmm.verification import crps_ensemble, log_score

    X, u = far_out(1.0), np.random.default_rng(3).normal(size=(40, 1))
    u[5] = 9.969209968386869e36
    with pytest.warns(UserWarning, match=r"context: 9.96921e\+36 at ensemble 5, column 0"):
        check_context(u, 40)
    with pytest.raises(
        ValueError, match="sample_weight: expected weights up to 1e100, got 1e\\+300 at ensemble 0"
    ):
        EGMM(1, n_init=1).fit(X, sample_weight=np.full(40, 1e300))
    y = X[:, 0, 1].copy()
    y[9] = 1e20
    forecast = Forecast(np.ones((40, 1)), np.zeros((40, 1)), np.ones((40, 1)))
    with pytest.warns(UserWarning, match=r"y: 1e\+20 at case 9"):
        crps_ensemble(X[..., 0], y)
    with pytest.warns(UserWarning, match=r"y: 1e\+20 at case 9"):
        forecast.crps(y)
    with pytest.warns(UserWarning, match=r"y: 1e\+20 at case 9"):
        log_score(forecast, y)


def test_a_search_in_few_directions_raises_no_value_to_what_overflows():
    X = np.random.default_rng(4).normal(size=(30, 3, 40))
    X[4] = 1e90
    X[:, 1:] = X[:, :1]  # within ensembles nothing varies
    with np.errstate(over="raise"):
        model = EGMM(2, n_init=2, max_iter=3, tol=0).fit(X)
    assert np.isfinite(model.predict_proba(X)).all()
