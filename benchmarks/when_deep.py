"""Where a network in place of the E-step pays and where it does not: EGMM against DEGMM.

    python benchmarks/when_deep.py [--seeds 5] [--picture docs/images/when_deep.png]

Every accuracy is on fresh ensembles. The time of a fit is that of a second one, all being compiled.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.decomposition import PCA

from degmm import DEGMM, EGMM
from degmm.metrics import accuracy
from degmm.plotting import colour_of, new_figure, save_figure

FRESH = 20_000
Rng = np.random.Generator


class Draw(NamedTuple):
    """Ensembles, their clusters, and what the truth makes of them."""

    X: np.ndarray
    labels: np.ndarray
    bayes: np.ndarray
    """Labels by Bayes' rule with the true densities"""
    context: np.ndarray | None = None


class Case(NamedTuple):
    """One comparison."""

    name: str
    n: int
    n_components: int
    draw: Callable[[int, Rng], Draw]
    models: dict[str, Callable[[], Any]]
    """Makers of models; the first is the peer"""


def gaussian(n: int, rng: Rng, K: int = 3, M: int = 10) -> Draw:
    """Members that follow the model: independent Gaussian, clusters that overlap in one member."""
    means = 1.2 * np.array([[np.cos(a), np.sin(a)] for a in 2 * np.pi * np.arange(K) / K]) / np.sqrt(M / 4)
    labels = rng.integers(K, size=n)
    X = means[labels][:, None, :] + rng.normal(size=(n, M, 2))
    return Draw(X, labels, _log_normal(X, means).argmax(axis=1))


def season(n: int, rng: Rng) -> Draw:
    """Clusters that overlap in the members, and whose prior follows the season."""
    angles = 2 * np.pi * np.arange(3) / 3
    when = rng.uniform(0, 2 * np.pi, n)
    log_prior = 2.4 * np.cos(when[:, None] - angles)
    prior = np.exp(log_prior) / np.exp(log_prior).sum(axis=1, keepdims=True)
    labels = (prior.cumsum(axis=1) < rng.uniform(size=n)[:, None]).sum(axis=1)
    means = 0.32 * np.column_stack([np.cos(angles), np.sin(angles)])
    X = means[labels][:, None, :] + rng.normal(size=(n, 10, 2))
    bayes = (_log_normal(X, means) + np.log(prior)).argmax(axis=1)
    return Draw(X, labels, bayes, np.column_stack([np.cos(when), np.sin(when)]))


def _log_normal(X: np.ndarray, means: np.ndarray) -> np.ndarray:
    return np.stack([-0.5 * ((X - mean) ** 2).sum(axis=(1, 2)) for mean in means], axis=1)


def heavy_and_skewed(n: int, rng: Rng) -> Draw:
    """Members with Student's t (3 degrees of freedom) in one variable and a gamma in the other."""
    from scipy.stats import gamma, t

    means = np.array([[0.0, 0.0], [0.9, 0.0], [0.0, 0.9]])
    labels = rng.integers(3, size=n)
    noise = np.stack([rng.standard_t(3, size=(n, 10)), rng.gamma(1.0, size=(n, 10)) - 1], axis=2)
    X = means[labels][:, None, :] + noise
    log_density = [
        (t.logpdf(X[..., 0] - m[0], 3) + gamma.logpdf(X[..., 1] - m[1] + 1, 1.0)).sum(axis=1) for m in means
    ]
    return Draw(X, labels, np.argmax(log_density, axis=0))


def fields(curved: bool) -> Callable[[int, Rng], Draw]:
    """Return a draw of fields of 500 points that 5 latent numbers determine, linearly or not."""
    fixed = np.random.default_rng(7)
    linear, squares = fixed.normal(size=(2, 5, 500))
    means = fixed.normal(size=(4, 5))

    def draw(n: int, rng: Rng) -> Draw:
        labels = rng.integers(4, size=n)
        latent = means[labels][:, None, :] + rng.normal(size=(n, 10, 5))
        field = latent @ linear
        if curved:
            field = np.tanh(0.7 * field) + 0.3 * latent**2 @ squares
        X = (field + 0.5 * rng.normal(size=field.shape)).astype(np.float32)
        return Draw(X, labels, _log_normal(latent, means).argmax(axis=1))

    return draw


class OnComponents:
    """What a user does without us: principal components by scikit-learn, then EGMM."""

    def __init__(self, n_components: int, latent_dim: int) -> None:
        self.pca, self.model = PCA(latent_dim, random_state=0), EGMM(n_components, random_state=0)

    def fit(self, X: np.ndarray) -> "OnComponents":
        """Fit the components, then the mixture."""
        self.pca.fit(X.reshape(-1, X.shape[-1]))
        self.model.fit(self._codes(X))
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the clusters."""
        return self.model.predict(self._codes(X))

    def _codes(self, X: np.ndarray) -> np.ndarray:
        return self.pca.transform(X.reshape(-1, X.shape[-1])).reshape(*X.shape[:-1], -1)


def deep(K: int, **settings: Any) -> Callable[[], Any]:
    """Return a maker of a DEGMM."""
    return lambda: DEGMM(K, random_state=0, **settings)


CURVED = {
    "EGMM of 5 principal components": lambda: OnComponents(4, 5),
    "EGMM of all variables, diag, 4 starts": lambda: EGMM(
        4, covariance_type="diag", n_init=4, random_state=0
    ),
    "DEGMM, linear projection": deep(4, projection="linear", latent_dim=5),
    "DEGMM, autoencoder": deep(4, projection="autoencoder", latent_dim=5, hidden=(64,)),
}
CASES = [
    Case(
        "well specified",
        1000,
        3,
        gaussian,
        {"EGMM": lambda: EGMM(3, random_state=0), "DEGMM": deep(3)},
    ),
    Case(
        "prior by season",
        4000,
        3,
        season,
        {"EGMM": lambda: EGMM(3, random_state=0), "DEGMM with context": deep(3)},
    ),
    Case(
        "heavy tails and skew",
        1000,
        3,
        heavy_and_skewed,
        {
            "EGMM": lambda: EGMM(3, random_state=0),
            "DEGMM": deep(3),
            "DEGMM, deep sets": deep(3, encoder="deep_sets"),
        },
    ),
    Case("500-point fields, linear", 1000, 4, fields(False), CURVED),
    Case("500-point fields, curved", 1000, 4, fields(True), CURVED),
]


def compared(case: Case, seeds: int) -> dict[str, np.ndarray]:
    """Return accuracy, what it is below Bayes', and seconds, averaged over draws, by model."""
    rows: dict[str, list[list[float]]] = {name: [] for name in case.models}
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 1])
        train = case.draw(case.n, rng)
        fresh = case.draw(FRESH if train.X.shape[2] < 100 else 2000, rng)
        bayes = accuracy(fresh.labels, fresh.bayes)
        for name, make in case.models.items():
            given = {} if train.context is None or "DEGMM" not in name else {"context": train.context}
            asked = {"context": fresh.context} if given else {}
            if seed == 0:
                make().fit(train.X, **given)  # compiled from here on
            start = time.perf_counter()
            model = make().fit(train.X, **given)
            seconds = time.perf_counter() - start
            found = accuracy(fresh.labels, model.predict(fresh.X, **asked))
            rows[name].append([found, bayes - found, seconds])
    return {name: np.mean(found, axis=0) for name, found in rows.items()}


def print_cases(results: dict[str, dict[str, np.ndarray]]) -> None:
    """Print a row for each model of each case."""
    print("| case | model | accuracy | below Bayes' | seconds |\n|---|---|---|---|---|")
    for case, models in results.items():
        for name, (found, lost, seconds) in models.items():
            print(f"| {case} | {name} | {found:.3f} | {lost:.3f} | {seconds:.2f} |")


def print_million() -> None:
    """Print what a million ensembles take, to fit and to label."""
    n = 1_000_000
    train, fresh = (gaussian(n, np.random.default_rng(s)) for s in (0, 1))
    X, Y = train.X.astype(np.float32), fresh.X.astype(np.float32)
    models = {
        "EGMM": EGMM(3, random_state=0),
        "DEGMM, batches": DEGMM(3, batch_size=8192, max_epochs=10, random_state=0),
    }
    print("\n| n = 1 000 000, M = 10 | fit, s | label a million new ones, s | accuracy | below Bayes' |")
    print("|---|---|---|---|---|")
    bayes = accuracy(fresh.labels, fresh.bayes)
    for name, model in models.items():
        times = []
        for job in (lambda model=model: model.fit(X), lambda model=model: model.predict(Y)):
            job()
            start = time.perf_counter()
            labels = job()
            times.append(time.perf_counter() - start)
        found = accuracy(fresh.labels, labels)
        print(f"| {name} | {times[0]:.1f} | {times[1]:.2f} | {found:.4f} | {bayes - found:.4f} |", flush=True)


def draw_picture(path: Path, results: dict[str, dict[str, np.ndarray]]) -> None:
    """Draw the accuracy that each model loses to Bayes' rule, one row a model, the peer's in grey."""
    figure, (axes,) = new_figure(size=(7.2, 0.27 * sum(len(m) + 1 for m in results.values()) + 0.6))
    labels: list[str] = []
    for case, models in results.items():
        axes.annotate(case, (0, len(labels)), (8, 0), textcoords="offset points", ha="left", va="center")
        axes.axhline(len(labels) - 0.5, color="0.85", lw=0.7)
        labels.append("")
        for name, (_, lost, _) in models.items():
            colour = colour_of(1 if "DEGMM" in name else 0)
            axes.plot([0, lost], [len(labels)] * 2, color=colour, lw=1.2)
            axes.plot(lost, len(labels), marker="o" if "DEGMM" in name else "s", color=colour)
            labels.append(name)
    axes.set_yticks(range(len(labels)), labels=labels)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.axvline(0, color="0.4", lw=0.7, zorder=0)
    axes.set_xlabel("accuracy below that of Bayes' rule with the true densities")
    save_figure(figure, path)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--picture", type=Path, default=Path("docs/images/when_deep.png"))
    arguments = parser.parse_args()
    found = {}
    for case in CASES:
        found[case.name] = compared(case, arguments.seeds)
        print(f"{case.name}: done", file=sys.stderr, flush=True)
    print_cases(found)
    draw_picture(arguments.picture, found)
    print_million()
