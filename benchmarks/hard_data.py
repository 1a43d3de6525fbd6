"""Data that break mixtures: what a fit makes of each, as the table in docs/robustness.md.

python benchmarks/hard_data.py
"""

import warnings

import numpy as np

from degmm import EGMM

MEMBER_MODELS = ("independent", "shared_centre")


def cases() -> dict[str, tuple[np.ndarray, int]]:
    """Return hard data by name, shape (n, M, D), with a number of components to fit."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=200)
    centres = np.array([[0.0, 0.0], [6.0, 3.0]])[labels] + 0.5 * rng.normal(size=(200, 2))
    plain = centres[:, None] + rng.normal(size=(200, 8, 2))

    def changed(change) -> np.ndarray:
        X = plain.copy()
        change(X)
        return X

    def constant(X):
        X[..., 1] = 2.5

    def equal_members(X):
        X[:] = X[:, :1]

    def all_equal(X):
        X[:] = 3.0

    def outlier(X):
        X[7] += 1e6 * plain.std()

    def outlying_member(X):
        X[7, 3] += 1e6 * plain.std()

    def holes(X):
        X[rng.uniform(size=X.shape[:2]) < 0.6] = np.nan
        X[:, 0] = plain[:, 0]

    return {
        "nothing wrong (for comparison)": (plain, 2),
        "every row ten times": (np.repeat(plain[:40], 10, axis=0), 2),
        "a constant variable": (changed(constant), 2),
        "n = K": (plain[:4], 4),
        "all members of an ensemble equal": (changed(equal_members), 2),
        "all values equal": (changed(all_equal), 2),
        "an ensemble 1e6 spreads away, K = 2": (changed(outlier), 2),
        "an ensemble 1e6 spreads away, K = 3": (changed(outlier), 3),
        "a member 1e6 spreads away": (changed(outlying_member), 3),
        "an offset of 1e8": (plain + 1e8, 2),
        "scales 1e-8 and 1e8": (plain * [1e-8, 1e8], 2),
        "two identical clusters": (rng.normal(size=(200, 8, 2)), 2),
        "D = 60, n = 50": (rng.normal(size=(50, 8, 60)) + 3 * rng.integers(2, size=(50, 1, 1)), 2),
        "D = 60, n = 50, M = 1": (rng.normal(size=(50, 1, 60)) + 3 * rng.integers(2, size=(50, 1, 1)), 2),
        "six of ten members absent": (changed(holes), 2),
    }


def row(X: np.ndarray, K: int, member_model: str, dtype) -> str:
    """Fit and say how it ended; every number must be finite."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = EGMM(K, member_model=member_model, random_state=0).fit(X.astype(dtype))
    numbers = (
        model.weights_,
        model.means_,
        model.covariances_,
        model.predict_proba(X),
        model.score_samples(X),
    )
    sound = all(np.isfinite(part).all() for part in numbers)
    sizes = "/".join(str(size) for size in np.bincount(model.labels_, minlength=K))
    return f"{model.result_.name} ({sizes})" if sound else f"NOT FINITE, {model.result_.name}"


if __name__ == "__main__":
    print(
        "| data | "
        + " | ".join(f"{m.replace('_', ' ')}, float{bits}" for m in MEMBER_MODELS for bits in (64, 32))
        + " |"
    )
    print("|---|---|---|---|---|")
    for name, (X, K) in cases().items():
        found = [row(X, K, m, dtype) for m in MEMBER_MODELS for dtype in (np.float64, np.float32)]
        print(f"| {name} | " + " | ".join(found) + " |", flush=True)
