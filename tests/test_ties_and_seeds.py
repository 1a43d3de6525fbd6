"""Ties between precisions, and random numbers that are no one else's."""

import numpy as np
import pytest
from scipy.stats import kstest

from degmm import Ensemble
from degmm.calibration import Forecast
from degmm.verification import coverage, flatness, pit, rank_counts, ranks


@pytest.fixture(scope="module")
def rain():
    """Nine members and an observation, exchangeable, in steps of 0.1."""
    return np.round(np.random.default_rng(0).exponential(0.3, size=(3000, 10)), 1)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("other", ["members", "observations"])
def test_equal_decimals_of_two_precisions_are_ties(rain, kind, other):
    members, observed = rain[:, 1:], rain[:, 0]
    if other == "members":
        members = members.astype(kind)
    else:
        observed = observed.astype(kind)
    assert (ranks(members, observed) == ranks(rain[:, 1:], rain[:, 0])).all()
    assert coverage(members, observed, 0.8) == coverage(rain[:, 1:], rain[:, 0], 0.8)


def test_a_precision_outlives_a_wider_array(rain):
    """As lists, tables and whole ensembles make one of float32."""
    members = rain[:, 1:].astype(np.float32).astype(np.float64)
    assert flatness(rank_counts(members, rain[:, 0])).p_value > 1e-3
    labelled = Ensemble.from_numpy(members[..., None], ["rain"])
    assert flatness(rank_counts(labelled, rain[:, 0].tolist())).p_value > 1e-3


def test_numbers_that_differ_in_their_own_precision_are_no_ties():
    members = np.array([[16777216.0, 3.0]])
    assert ranks(members, [16777217.0]).tolist() == [2]
    assert ranks(members.astype(int), [16777217.0]).tolist() == [2]
    assert ranks([[0.1, 0.2]], [0.1 + 1e-12]).tolist() == [1]


@pytest.mark.parametrize("seed", [0, 1, [0, 1]])
def test_a_simulation_and_its_test_share_no_random_numbers(seed):
    n = 3000
    forecast = Forecast(np.ones((n, 1)), np.ones((n, 1)), np.full((n, 1), 1.5), family="censored_logistic")
    y = forecast.sample(random_state=np.random.default_rng(seed))[:, 0]
    assert kstest(pit(forecast, y, seed=seed), "uniform").pvalue > 1e-4
    assert abs(coverage(forecast, y, 0.8, seed=seed).coverage - 0.8) < 0.03


def test_ranks_of_tied_values_do_not_follow_the_draw_that_made_them():
    u = np.random.default_rng(0).uniform(size=3000)  # of the seed that is the default
    y = np.where(u < 0.6, 0.0, u)
    ties = y == 0
    found = ranks(np.zeros((3000, 9)), y)
    assert abs(np.corrcoef(u[ties], found[ties])[0, 1]) < 0.1
    generator = np.random.default_rng(3)  # is taken as it is
    assert (
        ranks(np.zeros((9, 4)), np.zeros(9), generator)
        == ranks(np.zeros((9, 4)), np.zeros(9), np.random.default_rng(3))
    ).all()
