"""Scores and predictive families against their definitions in loops, and against SciPy."""

import warnings

import numpy as np
import pytest
from scipy import special, stats

from degmm.calibration import FAMILIES, Forecast
from degmm.density import MixtureDensity
from degmm.verification import (
    crps_ensemble,
    energy_score,
    flatness,
    inside,
    log_score,
    pit,
    rank_counts,
    ranks,
    reliability_index,
    spread_skill,
    variogram_score,
)
from fuzz.cases import seeds

pytestmark = pytest.mark.slow

CASES = 10
"""Ensembles of a seed"""


def ensembles(rng):
    """Return members (n, M, D) and observations (n, D), with ties and some missing, in units at random."""
    M, D = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    X, y = rng.normal(size=(CASES, M, D)), rng.normal(size=(CASES, D))
    if rng.uniform() < 0.4:
        X, y = np.round(2 * X) / 2, np.round(2 * y) / 2
    if rng.uniform() < 0.3:
        X, y = np.maximum(X, 0), np.maximum(y, 0)
    X[rng.uniform(size=X.shape) < rng.choice([0, 0.2])] = np.nan
    y[rng.uniform(size=y.shape) < rng.choice([0, 0.1])] = np.nan
    unit = 10.0 ** rng.uniform(-20, 20) * rng.choice([-1, 1])
    offset = rng.choice([0.0, 100.0]) * unit
    return X * unit + offset, y * unit + offset, abs(unit)


def pairs_score(members, observed, fair, norm=np.linalg.norm):
    members = members[~np.isnan(members).any(axis=1)]
    M = len(members)
    if 1 + fair > M or np.isnan(observed).any():
        return np.nan
    first = sum(norm(x - observed) for x in members) / M
    second = sum(norm(x - z) for x in members for z in members)
    return first - second / (2 * M * (M - 1) if fair else 2 * M * M)


def variogram(members, observed, p):
    members = members[~np.isnan(members).any(axis=1)]
    if not len(members) or np.isnan(observed).any():
        return np.nan
    D = len(observed)
    return sum(
        (np.mean(np.abs(members[:, d] - members[:, e]) ** p) - abs(observed[d] - observed[e]) ** p) ** 2
        for d in range(D)
        for e in range(D)
    )


def check_ensembles(rng):
    X, y, unit = ensembles(rng)
    fair = bool(rng.integers(2))
    each = [pairs_score(x, o, fair) for x, o in zip(X, y, strict=True)]
    near = {"rtol": 1e-10, "atol": 1e-12 * unit}
    np.testing.assert_allclose(energy_score(X, y, fair), each, **near)
    first = [pairs_score(x[:, :1], o[:1], fair) for x, o in zip(X, y, strict=True)]
    np.testing.assert_allclose(crps_ensemble(X[..., 0], y[:, 0], fair), first, **near)
    p = float(rng.choice([0.5, 1.0, 2.0]))
    wanted = [variogram(x, o, p) for x, o in zip(X, y, strict=True)]
    np.testing.assert_allclose(variogram_score(X, y, p), wanted, rtol=1e-9, atol=1e-11 * unit ** (2 * p))


def check_ranks(rng):
    X, y, _ = ensembles(rng)
    X, y, M = X[..., 0], y[:, 0], X.shape[1]
    found = ranks(X, y, seed=int(rng.integers(100)))
    present = ~np.isnan(X)
    for rank, members, known, observed in zip(found, X, present, y, strict=True):
        if np.isnan(observed) or not known.any():
            assert rank == -1
            continue
        below, equal, count = (members < observed).sum(), (members == observed).sum(), known.sum()
        low, high = below * (M + 1) / (count + 1), (below + equal + 1) * (M + 1) / (count + 1)
        assert np.floor(low) <= rank <= np.ceil(high) - 1
    if (found >= 0).any():
        counts = rank_counts(X, y)
        assert counts.sum() == (found >= 0).sum()
        assert len(counts) == M + 1
        share = counts / counts.sum()
        assert reliability_index(counts) == pytest.approx(abs(share - 1 / (M + 1)).sum())
        statistic, p_value = stats.chisquare(counts)
        assert flatness(counts) == pytest.approx((statistic, p_value))
    used = (present.sum(axis=1) > 1) & ~np.isnan(y)
    if used.any():
        spread, error, counts = spread_skill(X, y, bins=1)
        variances, squares = [], []
        for members, observed in zip(X[used], y[used], strict=True):
            members = members[~np.isnan(members)]
            variances.append(members.var(ddof=1) * (len(members) + 1) / len(members))
            squares.append((members.mean() - observed) ** 2)
        assert counts.tolist() == [used.sum()]
        np.testing.assert_allclose(
            [spread[0], error[0]], np.sqrt([np.mean(variances), np.mean(squares)]), rtol=1e-9
        )


def check_densities(rng):
    n, K, D = 3, int(rng.integers(1, 4)), int(rng.integers(1, 4))
    roots = rng.normal(size=(n, K, D, D)) * 10.0 ** rng.uniform(-3, 3)
    covariances = roots @ np.swapaxes(roots, 2, 3) + 1e-3 * np.abs(roots).max() ** 2 * np.eye(D)
    means, weights = rng.normal(size=(n, K, D)), rng.dirichlet(np.ones(K), n)
    y = rng.normal(size=(n, D))
    density = MixtureDensity(weights, means, covariances)
    wanted = [
        special.logsumexp(
            [stats.multivariate_normal(means[i, k], covariances[i, k]).logpdf(y[i]) for k in range(K)],
            b=weights[i],
        )
        for i in range(n)
    ]
    np.testing.assert_allclose(log_score(density, y), -np.array(wanted), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(density.mean(), (weights[..., None] * means).sum(axis=1), atol=1e-12)


CHECKS = [check_ensembles, check_ranks, check_densities]


def test_scores_of_ensembles():
    for seed in seeds():
        check = CHECKS[seed % len(CHECKS)]
        try:
            check(np.random.default_rng(seed))
        except Exception as error:
            raise AssertionError(f"seed {seed}, {check.__name__}") from error


# --- families ---------------------------------------------------------------------------------------

ROWS = 250
"""Distributions that are drawn at a time"""


def drawn(name, rng, K):
    """Return parameters (n, K), wide and narrow, near 0 and far from it."""
    unit = 10.0 ** rng.uniform(-6, 6, size=(ROWS, 1))
    location, scale = rng.normal(0, 3, size=(ROWS, K)), np.exp(rng.normal(0, 1.5, size=(ROWS, K)))
    if FAMILIES[name].shifted:
        location = np.exp(rng.normal(0, 2, size=(ROWS, K)))
        ratio = np.exp(rng.uniform(-14, 2.5, size=(ROWS, K)))  # shapes from 0.006 to 1e12
        scale = location * np.where(
            rng.uniform(size=(ROWS, K)) < 0.5, ratio, np.exp(rng.normal(size=(ROWS, K)))
        )
        shift = scale * np.exp(rng.normal(-1, 2, size=(ROWS, K)))
        return unit * location, unit * scale, unit * shift
    return unit * location, unit * scale


def of_scipy(name, location, scale, shift=None):
    """Return a frozen distribution of SciPy and by how much it is shifted, to be censored at 0."""
    if name == "normal":
        return stats.norm(location, scale), 0.0
    if name == "truncated_normal":
        return stats.truncnorm(-location / scale, np.inf, location, scale), 0.0
    if name == "censored_logistic":
        return stats.logistic(location, scale), 0.0
    shape = (location / scale) ** 2
    return stats.gamma(shape, scale=location / shape), shift


def observations(rng, location, scale, from_zero):
    y = (location + scale * rng.standard_t(3, size=location.shape))[:, 0]
    return np.where(rng.uniform(size=len(y)) < 0.2, 0, np.abs(y)) if from_zero else y


def check_family(name, seed):
    """Compare ROWS distributions with SciPy's: of the gamma distribution to the rounding of its arguments."""
    rng = np.random.default_rng(seed)
    K = 1 if rng.uniform() < 0.7 else 3
    theta = drawn(name, rng, K)
    location, scale = theta[:2]
    weights = rng.dirichlet(np.ones(K), ROWS)
    family = FAMILIES[name]
    y = observations(rng, location, scale, family.from_zero)
    forecast = Forecast(weights, *theta, family=name)
    plain, shift = of_scipy(name, *theta)
    # what rounding x = (y + δ)/θ makes of a narrow distribution
    blur = 1e-15 * np.abs(y[:, None] + shift + location) / scale
    cdf = (
        np.where(y[:, None] < 0, 0, plain.cdf(y[:, None] + shift))
        if family.from_zero
        else plain.cdf(y[:, None])
    )
    wanted = (weights * cdf).sum(axis=1)
    # SciPy's sum for the far lower tail of large shapes ends too early
    ends = (location / scale > 1e3) & (y[:, None] + shift < location - 3.5 * scale) & FAMILIES[name].shifted
    assert (np.abs(forecast.cdf(y) - wanted) <= 1e-10 + blur.max(axis=1))[~ends.any(axis=1)].all()
    values = pit(forecast, y, seed=seed)
    below = forecast.cdf_below(y)
    assert ((values >= below - 1e-12) & (values <= forecast.cdf(y) + 1e-12)).all()
    held = inside(forecast, y, 0.8, seed=seed).inside
    np.testing.assert_array_equal(held, (values >= (1 - 0.8) / 2) & (values <= 1 - (1 - 0.8) / 2))
    away = y > 0 if family.from_zero else np.full(ROWS, True)
    with np.errstate(all="ignore"):
        log_density = special.logsumexp(plain.logpdf(y[:, None] + shift), b=weights, axis=1)
    # of narrow gamma distributions SciPy's is a small difference of large numbers
    blurred = 1e-14 * (location / scale).max(axis=1) ** 2 if FAMILIES[name].shifted else 0.0
    sound = away & (log_density > -600) & (blurred < 1e-6)
    found = forecast.logpdf(y)
    assert (
        np.abs(found - log_density)[sound]
        <= (1e-8 * (1 + np.abs(log_density)) + 1e3 * blur.max(axis=1) + blurred)[sound]
    ).all()
    p = rng.uniform(size=ROWS)
    p = np.where(rng.uniform(size=ROWS) < 0.3, 10.0 ** rng.uniform(-12, -1, size=ROWS), p)
    p = np.where(rng.uniform(size=ROWS) < 0.5, 1 - p, p)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in rng.choice(ROWS, 5, replace=False):  # one probability for all rows in each call
            x = np.asarray(forecast.quantile(p[i]))
            back = forecast.cdf(x)
            at_zero = (x <= 0) & family.from_zero
            # less than a rounding of x may lie between two probabilities
            step = 4e-11 * np.abs(x)[:, None] / scale if K > 1 else 1e-15 * np.abs(x[:, None] + shift) / scale
            assert (np.abs(back - p[i]) <= 2e-10 + (weights * step).sum(axis=1))[~at_zero].all()
            assert (back >= p[i] - 1e-10)[at_zero].all()
    crps = forecast.crps(y)
    if K == 1:
        reference = crps_by_scipy(name, y, *(part[:, 0] for part in theta))
        good = np.isfinite(reference)
        assert good.mean() > 0.5
        error = np.abs(crps - reference)[good]
        assert (
            error <= 1e-8 * (scale[:, 0] + np.abs(crps))[good] + 1e-14 * np.abs(y + location[:, 0])[good]
        ).all()
    mean, std = forecast.mean(), forecast.std()
    assert np.isfinite(mean).all()
    assert (std > 0).all()
    assert np.isfinite(std).all()


def crps_by_scipy(name, y, location, scale, shift=None):
    """Return the closed forms by SciPy; NaN where they lose their digits."""
    if name == "normal":
        z = (y - location) / scale
        return scale * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    if name == "censored_logistic":
        z, d = (np.maximum(y, 0) - location) / scale, -location / scale
        # ∫ F² from 0 to y and ∫ (F − 1)² from there on, where F (1 − F) is the derivative of F
        below = (np.logaddexp(0, z) - special.expit(z)) - (np.logaddexp(0, d) - special.expit(d))
        return scale * (below + np.logaddexp(0, -z) - special.expit(-z))
    if name == "truncated_normal":
        z, d = (y - location) / scale, -location / scale
        d = np.minimum(d, 4)
        q = stats.norm.sf(d)
        value = (
            z * q * (2 * stats.norm.cdf(z) + q - 2)
            + 2 * stats.norm.pdf(z) * q
            - stats.norm.sf(np.sqrt(2) * d) / np.sqrt(np.pi)
        ) / q**2
        return np.where(location > -4 * scale, scale * value, np.nan)
    a = (location / scale) ** 2
    theta = location / a
    x, d = (y + shift) / theta, shift / theta
    F, G = special.gammainc(a, x), special.gammainc(a, d)
    F1, G1 = special.gammainc(a + 1, x), special.gammainc(a + 1, d)
    half = np.exp(special.gammaln(a + 0.5) - special.gammaln(a)) / np.sqrt(np.pi)
    value = (
        x * (2 * F - 1)
        - d * G**2
        - half * special.gammaincc(2 * a, 2 * d)
        + a * (1 + 2 * G * G1 - G**2 - 2 * F1)
    )
    return np.where((a > 1e-3) & (a < 1e4), theta * value, np.nan)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_families(name):
    for seed in seeds(1 / ROWS):
        try:
            check_family(name, seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
