"""scikit-learn's own checks of an estimator, on every one of ours."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from degmm import DAGMM, DEGMM, DGMM, EGMM, GMM

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": "the starts drawn by k-means++ depend on the number of rows; "
    "from the same start, weights are exact (test_em.py::test_weight_2_is_the_ensemble_twice)",
}


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [
        GMM(2, n_init=2, random_state=0),
        EGMM(2, n_init=2, random_state=0),
        EGMM(2, n_init=2, random_state=0, member_model="shared_centre"),
        DGMM(2, n_init=2, max_epochs=100, random_state=0),
        DEGMM(2, n_init=2, max_epochs=100, random_state=0),
        DEGMM(2, n_init=2, max_epochs=40, encoder="deep_sets", batch_size=16, random_state=0),
        DAGMM(2, latent_dim=2, encoder_layers=(8,), noise=0.0, max_epochs=500, polish=50, random_state=0),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
