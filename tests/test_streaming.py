"""Fits to blocks equal the fit to the whole array, from the same start."""

import errno
import io
import os

import numpy as np
import oracles
import pytest
from streams import FITTED, PARAMETERS, assert_same_fit, cut, drifting, first_fit, nothing_kept

import degmm
from degmm import EGMM, GMM, Ensemble, spill
from degmm.datasets import make_exchangeable_mixture
from degmm.ensembles.blocks import as_blocks
from degmm.estimators.streaming import streamed_data
from degmm.merging import block_moments, merged, scaling_of
from degmm.scatter import Triangle
from degmm.standard_units import standardised_moments


@pytest.fixture(scope="module")
def data():
    return drifting()


@pytest.fixture(scope="module")
def start():
    return first_fit()


@pytest.fixture
def no_memory(monkeypatch):
    nothing_kept(monkeypatch)


@pytest.mark.parametrize(
    "member_model", [pytest.param("independent", marks=pytest.mark.slow), "shared_centre"]
)
@pytest.mark.parametrize(("where", "structure"), [("memory", "full"), ("file", "tied")])
def test_blocks_equal_the_whole(data, start, member_model, structure, where, request):
    X, weights = data
    if where == "file":
        request.getfixturevalue("no_memory")
    settings = {"member_model": member_model, "covariance_type": structure, "init_params": start}
    settings |= {"tol": 0, "max_iter": 25}
    whole = EGMM(3, **settings).fit(X, sample_weight=weights)
    streamed = EGMM(3, **settings).fit(iter(cut(X, [700, 1, 333])), sample_weight=weights)
    assert_same_fit(streamed, whole)
    # and the log-likelihood is that of the data, by scipy
    expected = oracles.mixture_log_density(X, *(getattr(streamed, name) for name in PARAMETERS))
    assert streamed.log_likelihood_ == pytest.approx(expected @ weights, rel=1e-6)


@pytest.mark.parametrize("where", ["memory", "file"])
def test_the_search_is_the_same(data, where, request):
    X, _ = data
    if where == "file":
        request.getfixturevalue("no_memory")
    X = np.concatenate([X, X + 0.01, X - 0.01, X + 0.02])  # more than a sample
    whole = EGMM(3, random_state=3, n_init=8).fit(X)
    streamed = EGMM(3, random_state=3, n_init=8).fit(x for x in cut(X, [5000, 1000]))
    assert_same_fit(streamed, whole)


def test_blocks_of_other_numbers_of_members(data, start, no_memory):
    X, _ = data
    whole = EGMM(3, init_params=start, tol=0, max_iter=10).fit(X)
    blocks = cut(X, [1000])
    wider = np.concatenate([blocks[1], np.full((1000, 3, 2), np.nan)], axis=1)
    streamed = EGMM(3, init_params=start, tol=0, max_iter=10).fit([blocks[0], wider, blocks[2]])
    assert streamed.n_members_ == 11
    for name in FITTED:
        np.testing.assert_allclose(getattr(streamed, name), getattr(whole, name), rtol=1e-6)


def test_weights_of_ensembles_and_a_block_of_weight_0(data, start):
    X, weights = data
    weights = weights.copy()
    weights[1000:1500] = 0
    whole = EGMM(3, init_params=start, tol=0, max_iter=10).fit(X, sample_weight=weights)
    blocks = [
        Ensemble.from_numpy(x, ["t", "u"], weights=w)
        for x, w in zip(cut(X, [500]), cut(weights, [500]), strict=True)
    ]
    blocks[2] = blocks[2].take_variables([1, 0])  # matched by their names
    streamed = EGMM(3, init_params=start, tol=0, max_iter=10).fit(blocks)
    assert_same_fit(streamed, whole)
    assert list(streamed.feature_names_in_) == ["t", "u"]


def test_empty_blocks_are_passed_over(data, start):
    X, _ = data
    whole = EGMM(3, init_params=start, tol=0, max_iter=5).fit(X)
    blocks = iter([X[:0], X[:1700], X[:0], X[1700:], X[:0]])
    assert_same_fit(EGMM(3, init_params=start, tol=0, max_iter=5).fit(blocks), whole)


@pytest.mark.parametrize("where", ["memory", "file"])
def test_the_smallest_weights_count_as_ensembles(data, where, request):
    if where == "file":
        request.getfixturevalue("no_memory")
    X = data[0].astype(np.float32)
    weights = np.ones(3000)
    weights[::3] = 1e-60  # nothing beside 1 in float32, and below all that it holds
    weights[1000:1200] = 1e-60  # also all of a block
    model = EGMM(3, random_state=0, n_init=2).fit(cut(X, [200]), sample_weight=weights)
    assert model.converged_
    assert len(model.labels_) == 3000


def test_a_block_of_dust_and_one_value():
    rng = np.random.default_rng(0)
    X = np.abs(rng.normal(size=(400, 20, 1))).astype(np.float32) * np.float32(1e3)
    X[100:200] *= np.float32(1e-20)
    X[150, 3] = 4000
    start = EGMM(2, random_state=0, n_init=2).fit(X[:100])
    whole = EGMM(2, init_params=start, tol=0, max_iter=5).fit(X)
    streamed = EGMM(2, init_params=start, tol=0, max_iter=5).fit(cut(X, [100]))
    np.testing.assert_allclose(streamed.means_, whole.means_, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(streamed.weights_, whole.weights_, rtol=1e-4)
    np.testing.assert_allclose(streamed.log_likelihood_, whole.log_likelihood_, rtol=1e-4)


def test_float32_and_single_members(data):
    X, _ = data
    X = X[:, 0].astype(np.float32)
    start = GMM(3, random_state=0).fit(X[:500])
    whole = GMM(3, init_params=start, tol=0, max_iter=10).fit(X)
    streamed = GMM(3, init_params=start, tol=0, max_iter=10).fit(iter(cut(X, [400])))
    assert streamed.means_.dtype == np.float32
    for name in FITTED:
        np.testing.assert_allclose(getattr(streamed, name), getattr(whole, name), rtol=2e-4, atol=1e-4)


def test_responsibilities_as_a_start(data):
    X, _ = data
    gamma = np.random.default_rng(1).dirichlet(np.ones(3), size=3000)
    whole = EGMM(3, init_params=gamma, tol=0, max_iter=5).fit(X)
    assert_same_fit(EGMM(3, init_params=gamma, tol=0, max_iter=5).fit(cut(X, [999])), whole)


def test_responsibilities_are_no_start_of_spilled_moments(data, no_memory):
    X, _ = data
    gamma = np.full((3000, 3), 1 / 3)
    with pytest.raises(ValueError, match="init_params: responsibilities are no start"):
        EGMM(3, init_params=gamma).fit(cut(X, [999]))


def test_moments_in_a_file_are_gone_through_on_one_device(data, start, no_memory):
    X, weights = data
    settings = {"init_params": start, "tol": 0, "max_iter": 5}
    whole = EGMM(3, **settings).fit(X, sample_weight=weights)
    with degmm.devices():
        assert_same_fit(EGMM(3, **settings).fit(cut(X, [999]), sample_weight=weights), whole)


def test_a_start_of_another_family(data, start, no_memory):
    X, _ = data
    model = EGMM(3, member_model="shared_centre", init_params=start).fit(cut(X, [999]))
    assert model.converged_


@pytest.mark.parametrize("common", [False, True])
def test_standard_units_merge_exactly(common):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(900, 5, 3)) * [1, 1e-4, 1e5] + [300, 0, -1e7]
    X[300:600] *= 3
    X[..., 1] = 7.25  # constant
    weights = rng.uniform(0.5, 2, size=900)
    _, whole = standardised_moments(X, weights, common_scale=common)
    parts = [
        block_moments(X[i : i + 150], weights[i : i + 150], np.float64, i, Triangle)
        for i in range(0, 900, 150)
    ]
    summary = parts[0].summary
    for part in parts[1:]:
        summary = merged(summary, part.summary)
    scaling = scaling_of(summary, np.float64, common_scale=common)
    np.testing.assert_allclose(scaling.scale, whole.scale, rtol=1e-10)
    np.testing.assert_allclose(scaling.centre, whole.centre, rtol=1e-12)
    assert summary.totals.mass == pytest.approx(5 * weights.sum())


def test_outliers_set_no_scale_in_blocks_either():
    rng = np.random.default_rng(6)
    X = rng.normal(size=(2000, 4, 1))
    X[:2] = 1e9
    _, whole = standardised_moments(X, np.ones(2000))
    model = EGMM(1, init_params=np.ones((2000, 1)), max_iter=1, tol=0)
    found = streamed_data(model, as_blocks(cut(X, [100])), None).scaling
    # The quartiles are those of samples; a plain standard deviation would be 3e7.
    np.testing.assert_allclose(found.scale, whole.scale, rtol=0.1)


def test_large_moments_are_never_all_in_memory(no_memory, monkeypatch):
    """At most a page a thread is read at a time, and the file has no name."""
    X, _, _ = make_exchangeable_mixture(20_000, 3, 2, 2, seed=2)
    model = EGMM(2, random_state=0, n_init=2)
    large = streamed_data(model, as_blocks(iter(cut(X, [3000]))), None).moments
    assert (large.n_samples, large._spilled.n_pages) == (20_000, 20)
    sizes = [large._spilled.page(k).n_samples for k in range(20)]
    assert set(sizes) == {1024}
    assert not isinstance(large._spilled._file.name, str) or not os.path.exists(large._spilled._file.name)


# --- bad input ---------------------------------------------------------------------------------------


def bad_blocks():
    X = np.random.default_rng(0).normal(size=(20, 4, 2))
    infinite, empty = X.copy(), X.copy()
    infinite[3, 1, 0] = np.inf
    empty[5] = np.nan
    one, other = (Ensemble.from_numpy(X, names) for names in (["t", "u"], ["t", "v"]))
    kelvin, celsius = (Ensemble.from_numpy(X, ["t", "u"], units=[unit, "m"]) for unit in ("K", "degC"))
    return {
        "infinite": ([X, infinite], {}, "X, block 1: infinite value at ensemble 3, member 1, variable 0"),
        "no member": ([X, X, empty], {}, "X, block 2: ensemble 5 has no member"),
        "D": ([X, X[..., :1]], {}, "X, block 1: D = 1 variables, and the first block has 2"),
        "rank": (iter([X, X[0, 0]]), {}, "X, block 1: expected shape"),
        "no blocks": (iter([]), {}, "X: no blocks of ensembles"),
        "empty": (iter([X[:0]]), {}, "X: no blocks of ensembles"),
        "few": (iter([X[:2]]), {}, "X: 2 ensembles .* too few for 3 components"),
        "names": ([one, other], {}, "X, block 1: variables t, v; the first block has t, u, and u is missing"),
        "units": ([kelvin, celsius], {}, "X, block 1: t is in 'degC'; the first block has 'K'"),
        "weights short": (
            [X, X],
            {"sample_weight": np.ones(30)},
            "sample_weight: 30 weights, and X, block 1",
        ),
        "weights long": ([X, X], {"sample_weight": np.ones(50)}, "sample_weight: 50 weights for the 40"),
        "weights 0": ([X], {"sample_weight": np.zeros(20)}, "sample_weight: every weight is zero"),
        "weights rank": ([X], {"sample_weight": 1.0}, "sample_weight: expected one weight per ensemble"),
        "text": (iter(["a", "b"]), {}, "X, block 0: could not be read as an array of numbers"),
    }


@pytest.mark.parametrize("case", bad_blocks())
def test_bad_blocks(case):
    blocks, options, message = bad_blocks()[case]
    model = EGMM(3, random_state=0, n_init=2)
    with pytest.raises(ValueError, match=message):
        model.fit(blocks, **options)
    assert not hasattr(model, "means_")


def test_several_members_for_a_gmm():
    with pytest.raises(ValueError, match="X, block 0: GMM takes one member"):
        GMM(2).fit(iter([np.zeros((9, 3, 2))]))


def test_blocks_are_for_fits_of_mixtures_by_em(start):
    with pytest.raises(ValueError, match="X: an iterator, which only the fits of GMM and EGMM take"):
        start.predict(iter([np.zeros((9, 3, 2))]))
    with pytest.raises(ValueError, match="X: an iterator, which only the fits of GMM and EGMM take"):
        degmm.DEGMM(2).fit(iter([np.zeros((9, 3, 2))]))


def test_a_full_disk_is_told_of(data, no_memory, monkeypatch):
    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spill.tempfile, "TemporaryFile", lambda **options: Full())
    model = EGMM(3, n_init=2)
    with pytest.raises(OSError, match=r"no space left in .* set TMPDIR"):
        model.fit(cut(data[0], [500]))
    assert not hasattr(model, "means_")


def test_an_error_of_the_generator_is_its_own():
    def blocks():
        yield np.zeros((5, 2, 1))
        raise ConnectionError("the tape robot is on strike")

    with pytest.raises(ConnectionError, match="tape robot"):
        EGMM(1).fit(blocks())
