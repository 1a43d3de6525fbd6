"""Many variables: forms of scatter, the search in few directions, matrices held as diagonals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from degmm import EGMM, GMM, capacity, load, save, scatter
from degmm.estimators import em
from degmm.families.covariance import WIDE_FEATURES, floor_eigenvalues
from degmm.families.gaussian import squared_distance, weighted_outer
from degmm.inference import search
from degmm.inference.blocks import block_shape, laid_out, two_steps
from degmm.inference.reduced import directions_of
from degmm.metrics import accuracy
from degmm.scatter import form_for
from degmm.standard_units import standardised_moments

D = 20
assert D > WIDE_FEATURES


def drawn(n, M, seed=0, n_features=D, K=3, apart=1.0, scales=None):
    """Return ensembles of K clusters with full covariances of their own, and their clusters."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(K, size=n)
    roots = np.eye(n_features) + 0.5 * rng.normal(size=(K, n_features, n_features)) / np.sqrt(n_features)
    roots = roots * (1 if scales is None else np.reshape(scales, (K, -1, 1)))
    means = apart * rng.normal(size=(K, n_features))
    return means[labels][:, None] + rng.normal(size=(n, M, n_features)) @ roots.transpose(0, 2, 1)[
        labels
    ], labels


def start(labels, K=3):
    return 0.6 * np.eye(K)[labels] + 0.4 / K


@pytest.mark.parametrize("member_model", ["independent", "shared_centre"])
@pytest.mark.parametrize("missing", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_fits_do_not_depend_on_the_form_of_the_scatter(monkeypatch, member_model, missing):
    X, labels = drawn(400, 4)
    if missing:
        X[::7, 1] = np.nan
    fits = []
    for share in (1000, 0):
        monkeypatch.setattr(scatter, "TRIANGLE_SHARE", share)
        monkeypatch.setattr(scatter, "SINGLE_PASS_FEATURES", share)
        model = EGMM(3, member_model=member_model, init_params=start(labels), max_iter=20, tol=0).fit(X)
        fits.append(
            [model.log_likelihood_, model.covariances_, model.score_samples(X), model.predict_proba(X)]
        )
    for one, other in zip(*fits, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical", "tied"])
def test_single_members_equal_scikit_learn(covariance_type):
    X, _ = drawn(600, 1)
    X = X[:, 0] / X[:, 0].std(axis=0)  # one scale for all, as spherical covariances want
    settings = {"covariance_type": covariance_type, "max_iter": 400, "random_state": 0}
    peer = GaussianMixture(3, tol=1e-9, reg_covar=1e-12, n_init=3, **settings).fit(X)
    model = GMM(3, tol=1e-9, init_params=peer.predict_proba(X), **settings).fit(X)
    assert model.log_likelihood_ / 600 == pytest.approx(peer.score(X), rel=1e-7)
    np.testing.assert_allclose(model.score_samples(X), peer.score_samples(X), rtol=1e-4, atol=1e-4)
    assert model.covariances_.shape == model.within_covariances_.shape == (3, D, D)


def test_symmetric_products_in_strips_equal_whole_ones():
    rng = np.random.default_rng(0)
    n, K, wide = 7, 2, 150
    assert len(scatter.strips(wide)) > 1
    deviations = scatter.Deviations(rng.normal(size=(wide * 3, n)))
    plain = scatter.Triangle(deviations.packed(wide))
    Q, weight = rng.normal(size=(K, wide, wide)), rng.uniform(size=(K, n))
    Q, F, d = Q + Q.transpose(0, 2, 1), np.tril(Q), rng.normal(size=(K, wide, n))
    with jax.enable_x64(True):
        np.testing.assert_allclose(deviations.trace(Q), plain.trace(Q), rtol=1e-10, atol=1e-9)
        np.testing.assert_allclose(
            deviations.weighted(weight, wide), plain.weighted(weight, wide), atol=1e-12
        )
        np.testing.assert_allclose(squared_distance(F, d), ((F @ d) ** 2).sum(axis=1), rtol=1e-12)
        outer = scatter.unpack(weighted_outer(weight, d, diagonal=False), wide)
        np.testing.assert_allclose(outer, np.einsum("kn,kdn,ken->kde", weight, d, d), atol=1e-12)


@pytest.mark.parametrize("M", [1, 8])
def test_the_search_in_few_directions_finds_the_clusters(M):
    X, labels = drawn(1500, M, apart=0.8)
    model = EGMM(3, random_state=0).fit(X)
    from_truth = EGMM(3, init_params=np.eye(3)[labels]).fit(X)
    assert model.log_likelihood_ >= from_truth.log_likelihood_ - 1e-4 * len(X)
    assert accuracy(labels, model.labels_) >= accuracy(labels, from_truth.labels_) - 0.002


def test_the_search_sees_clusters_that_differ_in_the_spread_of_one_variable():
    scales = np.ones((2, D))
    scales[1, 13] = 4.0
    X, labels = drawn(800, 10, K=2, apart=0.0, scales=scales)
    model = EGMM(2, random_state=0).fit(X)
    assert accuracy(labels, model.labels_) > 0.97


@pytest.mark.slow
def test_a_search_that_ends_at_the_floor_goes_in_all_directions(monkeypatch):
    """Few directions cannot see that a cluster has fewer ensembles than variables; runs in all can."""
    X, _ = drawn(60, 1, K=2, apart=4.0)
    called = []
    found = search._start_in_few_directions
    monkeypatch.setattr(search, "_start_in_few_directions", lambda *a: called.append(1) or found(*a))
    model = EGMM(4, random_state=0, n_init=8).fit(X)
    assert called
    assert np.isfinite(model.log_likelihood_)
    assert np.isfinite(model.score_samples(X)).all()


@pytest.mark.parametrize("member_model", ["independent", "shared_centre"])
def test_diagonals_survive_saving_and_marginals(tmp_path, member_model):
    X, _ = drawn(300, 3)
    model = EGMM(2, covariance_type="diag", member_model=member_model, random_state=0, n_init=4).fit(X)
    off = model.covariances_[:, ~np.eye(D, dtype=bool)]
    np.testing.assert_array_equal(off, 0)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    part = model.marginal([3, 1])
    np.testing.assert_allclose(part.means_, model.means_[:, [3, 1]])
    np.testing.assert_allclose(part.covariances_, model.covariances_[:, [3, 1]][:, :, [3, 1]])
    assert model.predictive(X[:5]).covariances.shape == (5, 2, D, D)
    assert model.sample(4, random_state=0)[0].shape == (4, 3, D)


def test_files_that_hold_diagonals_as_matrices_are_read():
    X, _ = drawn(200, 2)
    model = EGMM(2, covariance_type="diag", random_state=0, n_init=2).fit(X)
    arrays, facts = model._get_state()
    for name in ("parameters.within", "parameters.between"):
        arrays[name] = arrays[name][:, :, None] * np.eye(D)
    again = EGMM(2, covariance_type="diag")
    again._check_state(arrays, facts)
    again._set_state(arrays, facts)
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))


def test_what_cannot_fit_is_refused_with_its_size(monkeypatch):
    X = np.random.default_rng(0).normal(size=(12, 2, 300)).astype(np.float32)
    monkeypatch.setattr(capacity, "memory_of_machine", lambda: 2 * 10**6)
    with pytest.raises(ValueError, match=r"X: full covariances of 300 variables.*about 0\.0\d+ GB.*'diag'"):
        EGMM(2).fit(X)
    with pytest.raises(ValueError, match="full covariances of 300 variables"):
        EGMM(2).fit(iter([X]))
    assert EGMM(2, covariance_type="diag", n_init=1).fit(X).means_.shape == (2, 300)
    monkeypatch.setattr(capacity, "memory_of_machine", lambda: None)  # where it cannot be told
    assert EGMM(1, n_init=1, max_iter=1, tol=0).fit(X[:, :, :20]).means_.shape == (1, 20)


def test_what_cannot_fit_is_refused_before_a_stream_is_read(monkeypatch):
    def blocks():
        yield np.random.default_rng(0).normal(size=(12, 2, 300)).astype(np.float32)
        raise AssertionError("read on")

    monkeypatch.setattr(capacity, "memory_of_machine", lambda: 2 * 10**6)
    with pytest.raises(ValueError, match="full covariances of 300 variables"):
        EGMM(2).fit(blocks())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["n < D", "three rows", "one mean"])
def test_directions_of_ensembles_that_lie_in_few(kind, dtype):
    rng = np.random.default_rng(0)
    X = {
        "n < D": rng.normal(size=(6, 1, 20)),
        "three rows": rng.normal(size=(3, 1, 30))[rng.integers(3, size=20)],
        "one mean": (lambda z: np.concatenate([z, -z], axis=1))(rng.integers(-3, 4, size=(15, 4, 20))),
    }[kind].astype(dtype)
    moments, _ = standardised_moments(X, np.ones(len(X)))
    directions = directions_of(moments, 2)
    assert directions.shape[1] > 0
    lengths = np.linalg.norm(directions, axis=0)
    assert ((lengths > 1e-3) & (lengths < 1e3)).all()
    assert np.isfinite(EGMM(2, n_init=2, random_state=0).fit(X).log_likelihood_)


@pytest.mark.parametrize("turned", [False, True])
def test_clusters_of_single_members_that_no_principal_component_tells(turned):
    rng = np.random.default_rng(0)
    labels = np.arange(2400) % 2  # in a rhythm
    X = rng.normal(size=(2400, 24))
    X[:, 7] += 6 * labels
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    if turned:  # by less than a right angle, so that a variable is near the direction
        X = X @ np.linalg.qr(np.eye(24) + 0.15 * rng.normal(size=(24, 24)))[0]
    model = GMM(2, covariance_type="tied", n_init=8, random_state=0).fit(X.astype(np.float32))
    assert accuracy(labels, model.labels_) > 0.99


def test_a_bootstrap_of_many_variables_has_the_form_of_a_fit(monkeypatch):
    X = np.random.default_rng(0).normal(size=(40, 30, 17))
    model = EGMM(1, covariance_type="full", n_init=1, max_iter=2, tol=0).fit(X)
    seen = []
    plain = em.bootstrap_parameters

    def spy(*arguments, **options):
        seen.extend(type(a.scatter) for a in arguments if hasattr(a, "scatter"))
        return plain(*arguments, **options)

    monkeypatch.setattr(em, "bootstrap_parameters", spy)
    model.bootstrap(X, 2, random_state=0)
    assert seen == [form_for(30, 17, diagonal=False)]


def test_blocks_of_several_devices_that_one_would_hold():
    part = np.arange(48.0).reshape(3, 16)
    assert laid_out(part, (1, 16)).shape == (1, 3, 16)
    blocks = laid_out(part, (2, 16))
    np.testing.assert_array_equal(blocks, np.stack([part, np.zeros((3, 16))]))


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_dispersion_of_means_is_that_of_the_formula(kind):
    X = np.random.default_rng(0).normal(size=(30, 3, 5))
    X[4, 1] = np.nan
    model = EGMM(2, covariance_type=kind, member_model="shared_centre", n_init=2, random_state=0).fit(X)
    expected = 0.0
    for x, gamma in zip(X, model.posterior(X), strict=True):
        x = x[~np.isnan(x).any(axis=1)]
        for k in range(2):
            total = model.between_covariances_[k] + model.within_covariances_[k] / len(x)
            apart = x.mean(axis=0) - model.means_[k]
            expected += gamma[k] * apart @ np.linalg.solve(total, apart)
    assert model.mean_dispersion(X) == pytest.approx(expected / X[:, 0].size, rel=1e-6)


def test_the_memory_of_this_machine_is_told():
    assert capacity.memory_of_machine() is None or capacity.memory_of_machine() > 2**27


def test_a_factorisation_tells_what_eigenvalues_would():
    rng = np.random.default_rng(1)
    vectors = np.linalg.qr(rng.normal(size=(D, D)))[0]
    values = np.geomspace(1e-8, 1, D)
    low, sound = (vectors * values) @ vectors.T, (vectors * np.maximum(values, 1e-3)) @ vectors.T
    with jax.enable_x64(True):
        found = np.asarray(floor_eigenvalues(jnp.asarray(np.stack([low, sound])), jnp.asarray(1e-4)))
        kept = np.asarray(floor_eigenvalues(jnp.asarray(sound[None]), jnp.asarray(1e-4)))
        slope = jax.grad(lambda t: floor_eigenvalues(t * jnp.asarray(low[None]), 1e-4).sum())(1.0)
    np.testing.assert_allclose(np.linalg.eigvalsh(found[0]), np.maximum(values, 1e-4), rtol=1e-6)
    np.testing.assert_array_equal(kept[0], sound)
    np.testing.assert_allclose(found[1], sound, atol=1e-15)
    assert np.isfinite(slope)


def test_sizes_are_two_an_octave():
    sizes = {two_steps(n) for n in range(1, 5000)}
    assert all(two_steps(n) >= n for n in range(1, 5000))
    assert all(sum(2**k < s <= 2 ** (k + 1) for s in sizes) <= 2 for k in range(12))
    for n in (5, 100, 999, 1025, 3000, 9000, 10**6):
        for values in (2, 100, 5000):
            count, size = block_shape(n, values)
            assert count * size >= n
    assert block_shape(9000, 8) == block_shape(10_000, 8)


def test_float32_keeps_its_digits_in_all_forms(monkeypatch):
    """Narrow clusters far from the origin, with an offset of a thousand spreads."""
    X, labels = drawn(400, 3, apart=50.0)
    X += 1e3
    for share in (1000, 0):
        monkeypatch.setattr(scatter, "TRIANGLE_SHARE", share)
        fits = [
            EGMM(3, init_params=np.eye(3)[labels]).fit(X.astype(dtype)) for dtype in (np.float32, np.float64)
        ]
        scores = [fit.score_samples(X.astype(np.float64)) for fit in fits]
        np.testing.assert_allclose(scores[0], scores[1], rtol=2e-3, atol=0.05)


def test_padded_blocks_are_never_gone_through():
    """Numbers of ensembles that share a program give what each of them gives alone."""
    X, _ = drawn(1600, 2, n_features=2)
    X = np.concatenate([X] * 4)  # several blocks, of which the last are empty for the smaller n
    for n in (4100, 6400):
        model = EGMM(2, n_init=1, random_state=0, max_iter=5, tol=0).fit(X[:n])
        assert model.log_likelihood_ == pytest.approx(model.score_samples(X[:n]).sum(), rel=1e-9)
