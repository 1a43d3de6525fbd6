from functools import partial

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from degmm import moments as module
from degmm.moments import moments_of
from degmm.precision import precision_of
from degmm.scaling import Scaling
from degmm.scatter import Deviations, NoScatter, Triangle, Variances, unpack
from degmm.standard_units import standardised_moments


def plain_moments(X):
    counts, means, scatters = [], [], []
    for members in X:
        members = members[~np.isnan(members).any(axis=1)].astype(np.longdouble)
        mean = members.mean(axis=0)
        counts.append(len(members))
        means.append(mean)
        scatters.append((members - mean).T @ (members - mean))
    return np.array(counts), np.array(means, float), np.array(scatters, float)


@pytest.mark.parametrize("D", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("M", [1, 7])
@pytest.mark.parametrize("form", [None, NoScatter, Variances, Triangle, Deviations])
def test_moments_equal_sums_over_members(D, M, form):
    if form in (NoScatter, Deviations) and (M > 1) != (form is Deviations):
        pytest.skip("a form for other numbers of members")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, M, D))
    if M > 1:
        X[3, 2, 0] = X[7, 0] = X[7, 5, D - 1] = np.nan
    found = moments_of(X, np.ones(40), Scaling(np.zeros(D), np.ones(D)), form=form)
    counts, means, scatters = plain_moments(X)
    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_allclose(np.asarray(found.mean).T, means, atol=1e-14)
    if form is Variances:
        scatters = scatters * np.eye(D)
    np.testing.assert_allclose(unpack(found.scatter.packed(D).T, D), scatters, atol=1e-12)
    weight, Q = rng.uniform(size=(3, 40)), rng.normal(size=(3, D, D))
    Q += Q.transpose(0, 2, 1)
    with precision_of(np.float64):
        traces = np.broadcast_to(found.scatter.trace(Q), (3, 40))
        np.testing.assert_allclose(traces, np.einsum("kde,ned->kn", Q, scatters), atol=1e-11)
        summed = np.broadcast_to(found.scatter.weighted(weight, D), (3, D * (D + 1) // 2))
        expected = np.einsum("kn,nde->kde", weight, scatters)
        np.testing.assert_allclose(unpack(summed, D), expected, atol=1e-11)
        squares = np.diagonal(scatters, axis1=1, axis2=2).T
        np.testing.assert_allclose(found.scatter.diagonal(D), squares, atol=1e-12)
    ratio, turned = rng.uniform(0.5, 2, D), rng.normal(size=(D, 2))
    expected = scatters * np.outer(ratio, ratio)
    np.testing.assert_allclose(unpack(found.scatter.rescaled(ratio).packed(D).T, D), expected, atol=1e-11)
    expected = turned.T @ scatters @ turned
    np.testing.assert_allclose(unpack(found.scatter.projected(turned).packed(2).T, 2), expected, atol=1e-11)


def test_chunks_equal_the_whole(monkeypatch):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(101, 5, 3))
    units = Scaling(np.zeros(3), np.ones(3))
    whole = moments_of(X, np.ones(101), units)
    monkeypatch.setattr(module, "CHUNK_VALUES", 300)
    jax.tree.map(np.testing.assert_array_equal, whole, moments_of(X, np.ones(101), units))


@pytest.mark.parametrize("members", [4, 5, 8])
@pytest.mark.parametrize("first", [0, 1, 4, 9])
def test_members_used_where_they_lie_equal_copies(monkeypatch, members, first):
    room = np.random.default_rng(4).normal(size=41_000).astype(np.float32)
    start = -room.ctypes.data % 64 // 4 + first  # numbers after a multiple of 64 bytes
    X = room[start : start + 1003 * members * 2].reshape(1003, members, 2)
    X[300:400, 0] = X[700, 1] = X[1002, 2] = np.nan
    units = Scaling(np.zeros(2), np.ones(2))
    monkeypatch.setattr(module, "CHUNK_VALUES", 64 * members * 2)
    places = [first * 4 + i * members * 8 for i in range(16)]
    assert module._laid_out(X, np.float32, 64)[2] == any(place % 64 == 0 for place in places)
    found = moments_of(X, np.ones(1003), units)
    monkeypatch.setattr(module, "CHUNKS_IN_PLACE", 1e9)
    assert not module._laid_out(X, np.float32, 64)[2]
    close = partial(np.testing.assert_allclose, rtol=2e-6, atol=1e-6)
    jax.tree.map(close, found, moments_of(X, np.ones(1003), units))
    counts, means, _ = plain_moments(X.astype(np.float64))
    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_allclose(np.asarray(found.mean).T, means, atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_offsets_and_scales_lose_nothing(dtype, tolerance):
    rng = np.random.default_rng(2)
    standard = rng.normal(size=(500, 8, 2))
    # Kelvin, and a variable of 1e-6 beside one of 1e6 about an offset.
    for scale, offset in (([1.0, 1e-6], [273.15, 0.0]), ([1e6, 1e-8], [-3e6, 1e-7])):
        X = (standard * scale + offset).astype(dtype)
        moments, scaling = standardised_moments(X, np.ones(500))
        _, means, scatters = plain_moments(X.astype(np.float64))
        expected = (means - scaling.centre) / scaling.scale
        np.testing.assert_allclose(np.asarray(moments.mean).T, expected, atol=tolerance)
        expected = scatters / np.outer(scaling.scale, scaling.scale)
        np.testing.assert_allclose(
            unpack(np.asarray(moments.scatter.values).T, 2), expected, atol=tolerance * 20
        )


def test_pressure_in_float32_keeps_its_spread():
    # 1e5 Pa with a spread of 1: float32 holds the values to 0.004, and no more may be lost.
    rng = np.random.default_rng(3)
    X = (1e5 + rng.normal(size=(1000, 10, 1))).astype(np.float32)
    _, scaling = standardised_moments(X, np.ones(1000))
    exact = X.astype(np.float64)
    assert scaling.centre[0] == pytest.approx(exact.mean(), rel=1e-9)
    assert scaling.scale[0] == pytest.approx(exact.std(), rel=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_standard_units_have_mean_0_and_variance_1(seed, offset, scale):
    rng = np.random.default_rng(seed)
    X = offset + scale * rng.normal(size=(20, 4, 2))
    weights = rng.uniform(0.1, 2, size=20)
    moments, _ = standardised_moments(X, weights)
    mass = weights * 4
    mean = np.asarray(moments.mean) @ mass / mass.sum()
    total = np.asarray(moments.scatter.values)[[0, 2]] @ weights + (np.asarray(moments.mean) ** 2) @ mass
    np.testing.assert_allclose(mean, 0, atol=1e-9)
    np.testing.assert_allclose(total / mass.sum(), 1, rtol=1e-9)


def test_a_constant_variable_has_scale_1():
    X = np.random.default_rng(4).normal(size=(30, 5, 2))
    X[..., 1] = 1e8 + 0.1
    _, scaling = standardised_moments(X, np.ones(30))
    assert scaling.scale[1] == 1
    assert np.isfinite(scaling.scale).all()
