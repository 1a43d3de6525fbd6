"""The shared-centre family against scipy on the stacked vector, automatic differentiation and simulation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from degmm import DEGMM, EGMM, GMM
from degmm.datasets import make_exchangeable_mixture
from degmm.families import STRUCTURES, MixtureParameters, make_family
from degmm.families.base import Limits
from degmm.families.covariance import dense, held
from degmm.families.derivative import smooth_log_density
from degmm.families.shared_centre import closed_form
from degmm.inference.mixture import evaluate, full_pass
from degmm.moments import moments_of
from degmm.precision import precision_of
from degmm.scaling import Scaling

STRUCTURE_NAMES = list(STRUCTURES)
FEW = {"n_init": 8, "random_state": 0}


def unit_moments(X, weights=None):
    D = X.shape[2]
    weights = np.ones(len(X)) if weights is None else weights
    return moments_of(X, weights, Scaling(np.zeros(D), np.ones(D)))


def covariances(rng, K, D, structure, rank=None):
    root = rng.normal(size=(K, D, rank or D + 1))
    with precision_of(np.float64):
        whole = held(root @ root.transpose(0, 2, 1), STRUCTURES[structure])
        return np.asarray(STRUCTURES[structure].project(whole, np.ones(K)))


def drawn(rng, n, M, D, K, between, varying, spread=2.0):
    """Return ensembles of a mixture with shared centres; members are dropped if ``varying``."""
    labels = rng.integers(K, size=n)
    centres = spread * rng.normal(size=(K, D))[labels] + np.sqrt(between) * rng.normal(size=(n, D))
    X = centres[:, None] + rng.normal(size=(n, M, D))
    if varying:
        for i in range(n):
            X[i, rng.integers(1, M + 1) :] = np.nan
        X[0], X[1, 1:] = centres[0] + rng.normal(size=(M, D)), np.nan
    return X


def rest_slow(values, first):
    """Return all values, those after the first ones for the slow tests."""
    return [*values[:first], *(pytest.param(value, marks=pytest.mark.slow) for value in values[first:])]


@pytest.mark.parametrize("seed", rest_slow(range(200), 48))
def test_density_is_that_of_the_stacked_vector(seed):
    """Shows 1: scipy on the M·D vector with covariance W ⊗ I + B ⊗ 11ᵀ, 200 random cases."""
    rng = np.random.default_rng(seed)
    D, M, K = 1 + seed % 6, 1 + (seed // 6) % 12, 2
    structure = STRUCTURE_NAMES[seed % 4]
    singular = 1 if seed % 3 == 0 and structure in ("full", "tied") else None
    within, between = covariances(rng, K, D, structure), covariances(rng, K, D, structure, singular)
    between = between * (0.0 if seed % 7 == 0 else 10.0 ** rng.integers(-3, 3))
    parameters = MixtureParameters(rng.dirichlet(np.ones(K)), rng.normal(size=(K, D)), within, between)
    X = 3 * rng.normal(size=(3, M, D))
    X[0, max(1, M // 2) :] = np.nan
    family = make_family("shared_centre", structure)
    with precision_of(np.float64):
        log_density, gamma = evaluate(family, parameters, unit_moments(X))
    expected = oracles.mixture_log_density(X, *parameters)
    assert (np.abs(log_density - expected) <= 1e-9 * np.maximum(1, np.abs(expected))).all()
    joint = oracles.log_densities(X, *parameters)
    np.testing.assert_allclose(gamma.T, np.exp(joint - expected[:, None]), atol=1e-7)


@partial(jax.jit, static_argnums=(0, 1))
def em_steps(family, iterations, parameters, blocks, limits):
    """Return the parameters after plain EM steps, and the log-likelihood before each."""

    def one(parameters, _):
        factors = family.factor(parameters)
        value, statistics = full_pass(family, factors, blocks)
        return family.m_step(statistics, factors, limits), value

    return jax.lax.scan(one, parameters, length=iterations)


def symmetric(A):
    if A.ndim == 2:
        return A
    return (A + jnp.swapaxes(A, 1, 2)) / 2


@partial(jax.jit, static_argnums=0)
def slopes(family, parameters, blocks):
    """Return the gradient of the log-likelihood in W, B (within their structure) and μ."""

    def likelihood(within, between, means):
        moved = parameters._replace(within=symmetric(within), between=symmetric(between), means=means)
        moments = jax.tree.map(lambda part: part[0], blocks)
        joint = jnp.log(moved.weights)[:, None] + smooth_log_density(family, moved, moments)
        return (moments.weights * jax.scipy.special.logsumexp(joint, axis=0)).sum()

    within, between, means = jax.grad(likelihood, (0, 1, 2))(
        parameters.within, parameters.between, parameters.means
    )
    ones = jnp.ones(len(means))
    return family.covariance.project(within, ones), family.covariance.project(between, ones), means


def climb(family, X, K, iterations, limits, start_between=1.0):
    """Return the parameters after EM, the log-likelihoods on the way, and the moments."""
    blocks = jax.tree.map(lambda part: np.asarray(part)[None], unit_moments(X))
    D = X.shape[2]
    eye = held(np.tile(np.eye(D), (K, 1, 1)), family.covariance)
    means = np.random.default_rng(0).normal(size=(K, D))
    start = MixtureParameters(np.full(K, 1 / K), means, eye, start_between * eye)
    with precision_of(np.float64):
        parameters, values = em_steps(family, iterations, start, blocks, limits)
    return parameters, np.asarray(values), blocks


def run(family, X, K, iterations, limits):
    """Return the parameters after EM, and the log-likelihood's gradient there."""
    parameters, _, blocks = climb(family, X, K, iterations, limits)
    with precision_of(np.float64):
        return parameters, [np.asarray(slope) for slope in slopes(family, parameters, blocks)]


def assert_likelihood_never_falls(seed, structure, shape, between, start_between, varying):
    D, K = shape
    rng = np.random.default_rng(seed)
    X = drawn(rng, 40, 5, D, K, between, varying)
    family = make_family("shared_centre", structure, np.asarray(unit_moments(X).counts))
    limits = Limits(np.array(1e-6), np.array(1e-4))
    _, values, _ = climb(family, X, K, 40, limits, start_between)
    assert np.isfinite(values).all()
    assert (np.diff(values) >= -1e-10 * np.maximum(1, np.abs(values[1:]))).all()


BETWEEN = [0.0, 0.01, 0.1, 1.0, 100.0]


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    structure=st.sampled_from(STRUCTURE_NAMES),
    shape=st.sampled_from([(1, 2), (2, 2), (3, 2)]),
    between=st.sampled_from(BETWEEN),
    start_between=st.sampled_from([0.0, 1.0]),
    varying=st.booleans(),
)
def test_likelihood_never_falls(seed, structure, shape, between, start_between, varying):
    """Shows 2: along EM, for equal and variable M and all structures."""
    assert_likelihood_never_falls(seed, structure, shape, between, start_between, varying)


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize(("structure", "varying"), [("full", True), ("tied", False)])
def test_likelihood_never_falls_of_one_shape(structure, varying, between):
    for seed, start_between in enumerate([0.0, 1.0, 0.0, 1.0]):
        assert_likelihood_never_falls(seed, structure, (2, 2), between, start_between, varying)


@pytest.mark.slow
@pytest.mark.parametrize("varying", [False, True])
@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
@pytest.mark.parametrize("between", [0.0, 0.05, 3.0])
def test_first_order_conditions_hold_at_convergence(structure, between, varying):
    """Shows 2: the slope vanishes in W and μ; in B it is negative semidefinite and vanishes along B itself."""
    rng = np.random.default_rng(3)
    X = drawn(rng, 150, 5, 2, 2, between, varying, spread=3.0)
    family = make_family("shared_centre", structure, np.asarray(unit_moments(X).counts))
    limits = Limits(np.array(1e-6), np.array(1e-4))
    parameters, (by_within, by_between, by_mean) = run(family, X, 2, 3000, limits)
    n = len(X)
    assert np.abs(by_within).max() < 1e-6 * n
    assert np.abs(by_mean).max() < 1e-6 * n
    by_between, found = dense(by_between), dense(np.asarray(parameters.between))
    assert np.linalg.eigvalsh(by_between).max() < 1e-5 * n
    assert np.abs(by_between @ found).max() < 1e-6 * n
    assert np.linalg.eigvalsh(found).min() > -1e-12


def test_first_order_conditions_hold_at_a_floor():
    """A variable without spread in the ensembles: its W is at the floor, where the slope pulls it down."""
    rng = np.random.default_rng(4)
    X = drawn(rng, 80, 4, 2, 1, 1.0, False)
    X[..., 1] = X[:, :1, 1]  # all members equal
    floor = 1e-3
    family = make_family("shared_centre", "full", np.full(80, 4.0))
    limits = Limits(np.array(floor), np.array(1e-4))
    parameters, (by_within, by_between, by_mean) = run(family, X, 1, 50, limits)
    assert parameters.within[0, 1, 1] == pytest.approx(floor, rel=1e-6)
    assert by_within[0, 1, 1] < 0
    assert abs(by_within[0, 0, 0]) < 1e-8
    assert np.abs(by_mean).max() < 1e-8
    assert np.abs(by_between).max() < 1e-6


@pytest.mark.parametrize("floor", [1e-6, 0.03, 0.3])
def test_closed_form_is_the_constrained_maximum(floor):
    """The multipliers of B ≥ 0 and W ≥ floor are sound: in the precisions the problem is convex."""
    rng = np.random.default_rng(8)
    compiled = jax.jit(closed_form)
    for D, M in [(1, 2), (2, 5), (3, 2), (5, 10)]:
        scales = 10.0 ** rng.uniform(-2, 0, size=D)
        noise = rng.normal(size=(2, 40, D)) @ np.linalg.qr(rng.normal(size=(2, D, D)))[0] * scales
        scatter, centres = np.einsum("and,ane->ade", noise, noise) / 40
        centres *= rng.choice([0.3, 1.5]) / M
        with precision_of(np.float64):
            found = compiled(scatter[None], centres[None], jnp.array(float(M)), jnp.array(floor))
            within, between = (np.asarray(matrices[0]) for matrices in found)
        total = within + M * between
        of_between = total - M * centres
        of_floor = (M - 1) * (within - scatter) + of_between
        inverse = np.linalg.inv(within)
        slacks = inverse - np.linalg.inv(total), np.eye(D) / floor - inverse
        for multiplier, slack in zip((of_between, of_floor), slacks, strict=True):
            assert np.linalg.eigvalsh(multiplier).min() > -1e-7
            assert np.linalg.eigvalsh(slack).min() > -1e-7
            assert np.abs(multiplier @ slack).max() < 1e-7 * max(1, np.abs(slack).max())


@pytest.mark.parametrize("varying", [False, True])
@pytest.mark.parametrize("structure", rest_slow(STRUCTURE_NAMES, 2))
def test_never_below_the_independent_model(structure, varying):
    """Shows 2: on data drawn with B = 0 the larger model reaches at least the smaller one's likelihood."""
    for seed in range(3):
        X = drawn(np.random.default_rng(seed), 200, 5, 2, 2, 0.0, varying, spread=3.0)
        settings = {"covariance_type": structure, "tol": 1e-10, "max_iter": 5000, **FEW}
        plain = EGMM(2, **settings).fit(X)
        shared = EGMM(2, member_model="shared_centre", **settings).fit(X)
        assert shared.log_likelihood_ >= plain.log_likelihood_ - 1e-9 * abs(plain.log_likelihood_)


@pytest.mark.slow
def test_gradient_of_the_density_is_exact():
    """The rule for the centre's terms, against differences; through equal eigenvalues too."""
    rng = np.random.default_rng(5)
    X = drawn(rng, 5, 4, 3, 1, 1.0, True)
    moments = unit_moments(X)
    family = make_family("shared_centre", "full")
    parameters = MixtureParameters(
        np.full(2, 0.5),
        rng.normal(size=(2, 3)),
        covariances(rng, 2, 3, "full"),
        np.tile(np.eye(3), (2, 1, 1)),
    )

    def value(within, between, means):
        moved = parameters._replace(within=symmetric(within), between=symmetric(between), means=means)
        return smooth_log_density(family, moved, moments).sum()

    from jax.test_util import check_grads

    with precision_of(np.float64):
        for between in (parameters.between, covariances(rng, 2, 3, "full")):
            check_grads(value, (parameters.within, between, parameters.means), order=1, modes=("fwd", "rev"))


@pytest.mark.parametrize("member_model", ["independent", "shared_centre"])
def test_absent_members_are_as_if_never_there(member_model):
    """Shows 6: the density is the same to 1e-12."""
    rng = np.random.default_rng(6)
    X = drawn(rng, 100, 6, 2, 2, 1.0, False)
    model = EGMM(2, member_model=member_model, **FEW).fit(X)
    padded = np.full((100, 9, 2), np.nan)
    padded[:, [0, 2, 3, 5, 6, 8]] = X
    scores = model.score_samples(X)
    np.testing.assert_allclose(model.score_samples(padded), scores, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(model.predict_proba(padded), model.predict_proba(X), atol=1e-12)


@pytest.mark.slow
def test_variable_members_recover_the_parameters():
    """Shows 6: n = 5000, M from 1 to 50, within three standard errors of the block-free bootstrap."""
    rng = np.random.default_rng(7)
    n, M = 5000, 50
    weights, means = np.array([0.65, 0.35]), np.array([[0.0, 0.0], [2.5, -1.0]])
    within = np.array([[[1.0, 0.3], [0.3, 0.5]], [[0.5, -0.2], [-0.2, 1.0]]])
    between = np.array([[[0.6, 0.2], [0.2, 0.4]], [[0.05, 0.0], [0.0, 0.3]]])
    labels = rng.choice(2, size=n, p=weights)
    centre = means[labels] + np.einsum(
        "nde,ne->nd", np.linalg.cholesky(between)[labels], rng.normal(size=(n, 2))
    )
    X = centre[:, None] + np.einsum(
        "nde,nme->nmd", np.linalg.cholesky(within)[labels], rng.normal(size=(n, M, 2))
    )
    for i, count in enumerate(rng.integers(1, M + 1, size=n)):
        X[i, count:] = np.nan
    model = EGMM(2, member_model="shared_centre", **FEW).fit(X)
    errors = model.bootstrap(X, 100, random_state=0).standard_errors
    truth = {"weights": weights, "means": means, "within_covariances": within, "between_covariances": between}
    for name, value in truth.items():
        assert (np.abs(getattr(model, f"{name}_") - value) < 3 * errors[name]).all(), name


def test_single_members_are_the_ordinary_mixture():
    X = make_exchangeable_mixture(300, 1, 2, 2, seed=1)[0]
    shared = EGMM(2, member_model="shared_centre", **FEW).fit(X)
    plain = GMM(2, **FEW).fit(X)
    assert shared.log_likelihood_ == plain.log_likelihood_
    assert shared.n_parameters_ == plain.n_parameters_
    assert not shared.between_covariances_.any()


@pytest.mark.parametrize("structure", rest_slow(STRUCTURE_NAMES, 2))
def test_next_member_is_the_stacked_conditional(structure):
    """Condition the stacked normal of M + 1 members on M of them."""
    rng = np.random.default_rng(8)
    X = drawn(rng, 120, 4, 2, 2, 2.0, True)
    for member_model in ("independent", "shared_centre"):
        model = EGMM(2, covariance_type=structure, member_model=member_model, **FEW).fit(X)
        density = model.predictive(X[:6])
        y = rng.normal(size=(6, 2))
        found = density.logpdf(y)
        for i in range(6):
            seen = X[i][~np.isnan(X[i]).any(axis=1)]
            args = model.weights_, model.means_, model.within_covariances_, model.between_covariances_
            more = np.concatenate([seen, y[i : i + 1]])[None]
            expected = oracles.mixture_log_density(more, *args) - oracles.mixture_log_density(
                seen[None], *args
            )
            assert found[i] == pytest.approx(expected[0], abs=1e-8)
    draws = density.sample(4000, random_state=0)
    np.testing.assert_allclose(draws.mean(axis=1), density.mean(), atol=0.15)
    np.testing.assert_allclose(np.cov(draws[0].T), density.covariance()[0], atol=0.4)


@pytest.mark.parametrize("member_model", ["independent", "shared_centre"])
def test_marginal_and_conditional(member_model):
    rng = np.random.default_rng(9)
    X = drawn(rng, 150, 4, 3, 2, 1.0, True) @ rng.normal(size=(3, 3))
    model = EGMM(2, member_model=member_model, **FEW).fit(X)
    part = model.marginal([2, 0])
    chosen = np.ix_([0, 1], [2, 0], [2, 0])
    args = (
        model.weights_,
        model.means_[:, [2, 0]],
        model.within_covariances_[chosen],
        model.between_covariances_[chosen],
    )
    np.testing.assert_allclose(
        part.score_samples(X[:5][..., [2, 0]]), oracles.mixture_log_density(X[:5][..., [2, 0]], *args)
    )
    assert part.n_parameters_ == EGMM(2, member_model=member_model, **FEW).fit(X[..., [2, 0]]).n_parameters_

    point = rng.normal(size=(4, 3))
    rest = model.conditional({1: point[:, 1]})
    whole = np.log(
        sum(
            w * np.array([multivariate_normal(m, S).pdf(p) for p in point])
            for w, m, S in zip(model.weights_, model.means_, model.covariances_, strict=True)
        )
    )
    known = np.log(
        sum(
            w * multivariate_normal(m[1], S[1, 1]).pdf(point[:, 1])
            for w, m, S in zip(model.weights_, model.means_, model.covariances_, strict=True)
        )
    )
    np.testing.assert_allclose(rest.logpdf(point[:, [0, 2]]), whole - known, atol=1e-9)
    assert model.conditional({0: 1.0}).means.shape == (1, 2, 2)
    for bad in ({}, {0: 1, 1: 1, 2: 1}, {7: 1}, {"t": 1}, {0: [1, 2], 1: [1, 2, 3]}, {0: np.nan}):
        with pytest.raises(ValueError, match="given: "):
            model.conditional(bad)
    with pytest.raises(ValueError, match="features: "):
        model.marginal([0, 0])


@pytest.mark.parametrize("varying", [False, True])
def test_weight_2_is_the_ensemble_twice(varying):
    rng = np.random.default_rng(10)
    X = drawn(rng, 80, 4, 2, 2, 0.5, varying)
    gamma = rng.dirichlet(np.ones(2), size=80)
    counts = 1 + (np.arange(80) % 3 == 0)
    settings = {"member_model": "shared_centre", "tol": 0, "max_iter": 30}
    weighted = EGMM(2, init_params=gamma, **settings).fit(X, sample_weight=counts)
    twice = EGMM(2, init_params=np.repeat(gamma, counts, axis=0), **settings).fit(
        np.repeat(X, counts, axis=0)
    )
    np.testing.assert_allclose(weighted.between_covariances_, twice.between_covariances_, atol=1e-9)
    np.testing.assert_allclose(weighted.within_covariances_, twice.within_covariances_, atol=1e-9)
    assert weighted.log_likelihood_ == pytest.approx(twice.log_likelihood_, rel=1e-12)
    for criterion in ("bic", "aic", "icl"):
        found = getattr(weighted, criterion)(X, sample_weight=counts)
        assert found == pytest.approx(getattr(twice, criterion)(np.repeat(X, counts, axis=0)), rel=1e-9)


@pytest.mark.parametrize(
    "case", rest_slow([("elbo", True), ("likelihood", False), ("elbo", False), ("likelihood", True)], 2)
)
def test_deep_models_share_centres_too(case):
    objective, varying = case
    rng = np.random.default_rng(11)
    X = drawn(rng, 200, 5, 2, 2, 1.0, varying, spread=4.0)
    em = EGMM(2, member_model="shared_centre", **FEW).fit(X)
    deep = DEGMM(2, member_model="shared_centre", objective=objective, max_epochs=300, **FEW).fit(X)
    assert deep.log_likelihood_ == pytest.approx(em.log_likelihood_, abs=0.5)
    assert (deep.labels_ == em.labels_).mean() > 0.98


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_at_real_scales(dtype):
    """Kelvin, pascal, and 1e-6 beside 1e6 lose nothing."""
    rng = np.random.default_rng(12)
    X = drawn(rng, 300, 6, 3, 2, 1.0, False, spread=4.0)
    scale, offset = np.array([1e-6, 1e6, 300.0]), np.array([0.0, 1e5, 1e5])
    plain = EGMM(2, member_model="shared_centre", **FEW).fit(X)
    scaled = EGMM(2, member_model="shared_centre", **FEW).fit((X * scale + offset).astype(dtype))
    tolerance = 2e-3 if dtype == np.float32 else 1e-8
    squares = np.outer(scale, scale)
    np.testing.assert_allclose(
        scaled.between_covariances_ / squares, plain.between_covariances_, atol=tolerance * 4
    )
    np.testing.assert_allclose(
        scaled.within_covariances_ / squares, plain.within_covariances_, atol=tolerance * 4
    )
    np.testing.assert_array_equal(scaled.labels_, plain.labels_)


def test_marginal_of_single_members_counts_no_between():
    X = make_exchangeable_mixture(200, 1, 2, 2, seed=3)[0]
    model = EGMM(2, member_model="shared_centre", reg_covar=1e-3, **FEW).fit(X)
    assert model.marginal([0, 1]).bic(X) == pytest.approx(model.bic(X))
    assert model.marginal(np.int64(0)).reg_covar == 1e-3


def test_bootstrap_of_weights_and_blocks():
    rng = np.random.default_rng(13)
    X = drawn(rng, 60, 4, 2, 1, 1.0, False)
    model = EGMM(1, member_model="shared_centre", **FEW).fit(X)
    weights = np.ones(60)
    weights[:20] = 0
    some = model.bootstrap(X, 5, sample_weight=weights * 1e-30, random_state=0).standard_errors["means"]
    np.testing.assert_allclose(some, model.bootstrap(X[20:], 5, random_state=0).standard_errors["means"])
    assert (some > 0).all()
    assert "5 replicates" in repr(model.bootstrap(X, 5, block_length=7, random_state=0))
    with pytest.raises(ValueError, match="block_length: 31 is more than half"):
        model.bootstrap(X, 5, block_length=31)
