import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from degmm.families import STRUCTURES, MixtureParameters, make_family
from degmm.families.base import Limits
from degmm.families.covariance import floor_eigenvalues, held
from degmm.families.derivative import smooth_log_density
from degmm.families.gaussian import floored_weights
from degmm.inference.mixture import evaluate, full_pass, into_blocks, m_step_from
from degmm.moments import moments_of
from degmm.scaling import Scaling

LIMITS = Limits(np.float64(1e-9), np.float64(1e-9))


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def of_structure(matrices, structure):
    """Return covariance matrices projected on to a structure, as it holds them."""
    structure = STRUCTURES[structure]
    return structure.project(jnp.asarray(held(matrices, structure)), jnp.ones(len(matrices)))


def random_case(seed, structure="full"):
    """Return members with some absent, their moments and random parameters of a structure."""
    rng = np.random.default_rng(seed)
    n, M, D, K = rng.integers(3, 9), rng.integers(1, 13), rng.integers(1, 7), rng.integers(1, 5)
    X = rng.normal(size=(n, M, D)) * rng.uniform(0.3, 3, size=D)
    if M > 2:
        X[0, rng.integers(M)] = np.nan
    factor = rng.normal(size=(K, D, D + 2))
    W = np.asarray(of_structure(factor @ factor.transpose(0, 2, 1), structure))
    parameters = MixtureParameters(rng.dirichlet(np.ones(K)), rng.normal(size=(K, D)), W, np.zeros_like(W))
    moments = moments_of(X, np.ones(n), Scaling(np.zeros(D), np.ones(D)))
    return X, moments, parameters


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("seed", range(10))
def test_log_density_equals_scipy_on_the_stacked_vector(seed, structure):
    X, moments, parameters = random_case(seed, structure)
    log_density, gamma = evaluate(make_family("independent", structure), parameters, moments)
    joint = oracles.log_densities(X, *parameters)
    expected = np.logaddexp.reduce(joint, axis=1)
    np.testing.assert_array_less(abs(log_density - expected), 1e-9 * np.maximum(1, abs(expected)))
    np.testing.assert_allclose(np.asarray(gamma).T, np.exp(joint - expected[:, None]), atol=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_m_step_equals_sums_over_single_members(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(12, 6, rng.integers(1, 7)))
    X[2, 1] = np.nan
    gamma = rng.dirichlet(np.ones(3), size=12)
    moments = moments_of(X, np.ones(12), Scaling(np.zeros(X.shape[2]), np.ones(X.shape[2])))
    found = m_step_from(make_family("independent", "full"), gamma.T, moments, LIMITS)
    for part, expected in zip(found[:3], oracles.m_step(X, gamma), strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-12)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_m_step_is_a_stationary_point(structure):
    """Automatic differentiation of the expected log-likelihood is the oracle."""
    rng = np.random.default_rng(5)
    X, family = rng.normal(size=(60, 5, 3)), make_family("independent", structure)
    moments = moments_of(X, rng.uniform(0.5, 2, 60), Scaling(np.zeros(3), np.ones(3)))
    gamma = jnp.asarray(rng.dirichlet(np.ones(2), size=60).T)
    found = m_step_from(family, gamma, moments, LIMITS)

    def expected_log_likelihood(shift, root):
        W = root**2 if root.ndim == 2 else jnp.einsum("kde,kfe->kdf", root, root)
        moved = found._replace(means=found.means + shift, within=W)
        return (gamma * moments.weights * smooth_log_density(family, moved, moments)).sum()

    shape = found.means.shape
    root = jnp.sqrt(found.within) if found.within.ndim == 2 else jnp.linalg.cholesky(found.within)
    slope = jax.grad(expected_log_likelihood)(jnp.zeros(shape), root)
    np.testing.assert_allclose(slope, 0, atol=1e-9)

    # Within the structure no covariance does better: the slope along a member of it vanishes.
    def along(t, direction):
        moved = found._replace(within=found.within + t * direction)
        return (gamma * moments.weights * smooth_log_density(family, moved, moments)).sum()

    raw = rng.normal(size=(2, 3, 3))
    direction = of_structure(raw + raw.transpose(0, 2, 1), structure)
    assert abs(jax.grad(along)(0.0, direction)) < 1e-9


def test_blocks_equal_the_whole():
    rng = np.random.default_rng(6)
    n = 40_000
    X = rng.normal(size=(n, 2, 2))
    moments = moments_of(X, rng.uniform(0.5, 2, n), Scaling(np.zeros(2), np.ones(2)))
    family = make_family("independent", "full")
    parameters = MixtureParameters(
        np.array([0.3, 0.7]),
        rng.normal(size=(2, 2)),
        np.stack([np.eye(2), 2 * np.eye(2)]),
        np.zeros((2, 2, 2)),
    )
    blocks = into_blocks(moments, 2)
    assert blocks.counts.shape[0] > 1
    whole = jax.tree.map(lambda part: np.asarray(part)[None], moments)
    factors = family.factor(parameters)
    one, other = full_pass(family, factors, blocks), full_pass(family, factors, whole)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), one, other)


@pytest.mark.parametrize("D", [1, 2, 3, 5])
def test_floor_raises_small_eigenvalues_only(D):
    rng = np.random.default_rng(D)
    vectors = np.linalg.qr(rng.normal(size=(D, D)))[0]
    values = np.geomspace(1e-8, 1, D) if D > 1 else np.array([1e-8])
    W = np.stack([vectors * values @ vectors.T, vectors @ vectors.T, np.zeros((D, D))])
    found = np.asarray(floor_eigenvalues(jnp.asarray(W), jnp.asarray(1e-4)))
    np.testing.assert_allclose(np.linalg.eigvalsh(found[0]), np.maximum(values, 1e-4), rtol=1e-6)
    np.testing.assert_array_equal(found[1], W[1])
    np.testing.assert_allclose(found[2], 1e-4 * np.eye(D))
    slope = jax.grad(lambda t: floor_eigenvalues(t * jnp.asarray(W), 1e-4).sum())(1.0)
    assert np.isfinite(slope)


def test_weights_below_the_floor_are_raised_to_it():
    mass, floor = jnp.array([50.0, 0.0, 0.001, 49.999]), jnp.asarray(1e-3)
    weights = np.asarray(floored_weights(mass, floor))
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(weights[[1, 2]], 1e-3, rtol=1e-6)
    assert weights[0] / weights[3] == pytest.approx(50 / 49.999)


def test_a_component_without_ensembles_keeps_its_shape():
    X, moments, _ = random_case(3)
    n, D = len(X), X.shape[2]
    family = make_family("independent", "full")
    old = MixtureParameters(
        np.full(2, 0.5),
        np.stack([np.zeros(D), np.full(D, 7.0)]),
        np.stack([np.eye(D)] * 2),
        np.zeros((2, D, D)),
    )
    gamma = jnp.stack([jnp.ones(n), jnp.zeros(n)])
    factors = family.factor(old)
    new = family.m_step(family.statistics(factors, moments, gamma), factors, LIMITS)
    np.testing.assert_array_equal(new.means[1], old.means[1])
    np.testing.assert_array_equal(new.within[1], old.within[1])
    assert all(np.isfinite(part).all() for part in new)
