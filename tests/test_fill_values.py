"""Values that files have for missing ones, and values too large for what is computed of them."""

import warnings

import numpy as np
import pytest

from degmm import DEGMM, EGMM, GMM
from degmm.calibration import EMOS

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
