import numpy as np
import pytest

from degmm.datasets import make_exchangeable_mixture
from degmm.metrics import accuracy, adjusted_rand_index, matching


def test_drawn_ensembles_have_the_parameters_they_report():
    X, labels, truth = make_exchangeable_mixture(20_000, 8, 2, 3, seed=1, covariance="full", between=0.5)
    assert X.shape == (20_000, 8, 2)
    np.testing.assert_allclose(np.bincount(labels) / 20_000, truth.weights, atol=0.02)
    for k in range(3):
        chosen = X[labels == k]
        centred = chosen - chosen.mean(axis=1, keepdims=True)
        n = len(chosen)
        within = np.einsum("nmd,nme->de", centred, centred) / (7 * n)
        between = np.cov(chosen.mean(axis=1).T) - within / 8
        size = np.trace(truth.within[k])
        np.testing.assert_allclose(chosen.mean(axis=(0, 1)), truth.means[k], atol=6 * np.sqrt(size / n))
        np.testing.assert_allclose(within, truth.within[k], atol=6 * size / np.sqrt(7 * n))
        np.testing.assert_allclose(between, truth.between[k], atol=6 * size / np.sqrt(n))


def test_diagonal_draws_as_the_original_but_with_streams_of_their_own():
    truths = [make_exchangeable_mixture(1, 1, 2, 200, seed=s)[2] for s in range(5)]
    means = np.concatenate([t.means.ravel() for t in truths])
    variances = np.concatenate([np.diagonal(t.within, axis1=1, axis2=2).ravel() for t in truths])
    assert means.std() == pytest.approx(1, abs=0.1)
    assert variances.mean() == pytest.approx(np.sqrt(2 / np.pi), abs=0.08)
    # The original drew both from one key, so that |mean| equalled the variance.
    assert abs(np.corrcoef(np.abs(means), variances)[0, 1]) < 0.1
    assert not np.any([t.within[:, 0, 1] for t in truths])


def test_same_seed_same_mixture_whatever_the_sizes():
    one, other = make_exchangeable_mixture(5, 2, 2, 3, seed=7), make_exchangeable_mixture(50, 9, 2, 3, seed=7)
    np.testing.assert_array_equal(one[2].means, other[2].means)
    np.testing.assert_array_equal(one[2].within, other[2].within)
    again = make_exchangeable_mixture(5, 2, 2, 3, seed=7)
    np.testing.assert_array_equal(one[0], again[0])
    assert not np.allclose(one[2].means, make_exchangeable_mixture(5, 2, 2, 3, seed=8)[2].means)


@pytest.mark.parametrize(
    "arguments",
    [{"n": 0}, {"M": 0}, {"D": 0}, {"K": 0}, {"between": -1}, {"covariance": "round"}, {"seed": -1}],
)
def test_bad_sizes_are_named(arguments):
    with pytest.raises(ValueError, match=f"^{next(iter(arguments))}: expected"):
        make_exchangeable_mixture(**{"n": 5, "M": 2, "D": 2, "K": 2, **arguments})


def test_matching_is_one_to_one():
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    clusters = np.array([1, 1, 0, 0, 0, 2, 2])
    # By arg max, clusters 0 and 1 would both be label 0; one to one, only one of them can.
    match = matching(labels, clusters)
    assert sorted(match) == [0, 1, 2]
    assert accuracy(labels, clusters) == pytest.approx(max_accuracy(labels, clusters))
    assert accuracy(labels, (labels + 1) % 3) == 1
    assert accuracy(labels, np.full(7, 3)) == pytest.approx(4 / 7)
    assert adjusted_rand_index(labels, (labels + 1) % 3) == 1


def max_accuracy(labels, clusters):
    from itertools import permutations

    return max(np.mean(np.array(p)[clusters] == labels) for p in permutations(range(3)))
