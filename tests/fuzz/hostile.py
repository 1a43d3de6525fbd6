"""Ensembles that break mixtures: what a fit must take, refuse in a sentence, or say that it could not."""

import numpy as np

OUTLIERS = (1e4, 1e9, 1e15, 1e20, 9.969209968386869e36, 1e60, 1e129, -1e300)


def members(rng, n, M, D):
    """Return members (n, M, D) of a kind drawn at random, in units drawn at random."""
    kind = rng.choice(
        ["normal", "cauchy", "integers", "lognormal", "equal", "rows", "spread", "collinear", "two"]
    )
    centres = 4 * rng.normal(size=(3, D))
    X = centres[rng.integers(3, size=n)][:, None] + rng.normal(size=(n, 1, D)) + rng.normal(size=(n, M, D))
    if kind == "cauchy":
        X = rng.standard_cauchy(size=(n, M, D))
    elif kind == "integers":
        X = rng.integers(3, size=(n, M, D)).astype(float)
    elif kind == "lognormal":
        X = np.exp(rng.uniform(1, 12) * rng.normal(size=(n, M, D)))
    elif kind == "equal":
        X = np.full((n, M, D), rng.normal())
    elif kind == "rows":
        X = np.repeat(X[:1], n, axis=0)
    elif kind == "spread":
        X = X * 10.0 ** rng.uniform(-12, 12, size=(n, 1, 1))
    elif kind == "collinear":
        X = X[..., :1] * np.ones(D)
    elif kind == "two":
        X = np.where(rng.uniform(size=X.shape) < 0.9, 0.0, 1.0)
    if rng.uniform() < 0.2:  # all members of an ensemble equal
        X = np.repeat(X[:, :1], M, axis=1)
    if rng.uniform() < 0.2:
        X[..., rng.integers(D)] = rng.choice([0.0, 1.0, 273.15, 1e8])
    if rng.uniform() < 0.3:
        X[: n // 2] = X[n - n // 2 :]
    if rng.uniform() < 0.3:
        X = X * 10.0 ** rng.uniform(-8, 8, size=D)
    if rng.uniform() < 0.2:
        X = X + 10.0 ** rng.uniform(0, 14) * rng.choice([-1, 1], size=D)
    if rng.uniform() < 0.25:
        with np.errstate(over="ignore"):
            X = X * 10.0 ** rng.uniform(-300, 300)
        X = np.where(np.isfinite(X), X, 0)
    if rng.uniform() < 0.25:
        place = tuple(rng.integers(size) for size in X.shape)
        X[place] = rng.choice(OUTLIERS)
    return X


def with_absent(rng, X):
    """Return members some of which are absent: of each ensemble one is there at least."""
    n, M, _ = X.shape
    X = X.copy()
    absent = rng.uniform(size=(n, M)) < rng.choice([0.0, 0.3, 0.95])
    if rng.uniform() < 0.3:  # one member beside all
        absent[:] = False
        absent[: n // 2, 1:] = True
    absent[np.arange(n), rng.integers(M, size=n)] = False
    X[absent] = np.nan
    return X


def weights(rng, n):
    """Return weights, or None."""
    kind = rng.integers(5)
    if kind == 0:
        return 10.0 ** rng.uniform(-12, 12, size=n)
    if kind == 1:
        return rng.choice([0.0, 1.0, 1e-12, 1e12], size=n) + np.eye(n)[:5].sum(axis=0)
    if kind == 2:
        return np.full(n, 10.0 ** rng.uniform(-90, 90))
    return None
