"""Choosing the number of clusters, after Jouan et al. (2023): how often a criterion finds the true K.

    python benchmarks/choose_components.py [--draws 50] [--picture docs/images/choosing_k.png]

n = 200 ensembles of M independent members in two dimensions, from four clusters. In the easy set the
clusters lie apart; in the difficult set they share a neighbourhood and differ most in their
covariances, so that one member hardly tells which cluster its ensemble is of. EGMM is fitted with
K = 1 to 7, and BIC, ICL and 5-fold cross-validation each choose one.

The table gives the share of draws for which the true K is chosen and, in brackets, the numbers of
draws for which fewer and more are. 50 draws take about eleven minutes on one core.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from degmm import EGMM, select_components
from degmm.plotting import colour_of, new_figure, save_figure

N, TRUE_K = 200, 4
MEMBERS = (1, 5, 10, 50)
COMPONENTS = range(1, 8)
CRITERIA = {"bic": "BIC", "icl": "ICL", "held_out": "cross-validation"}
N_INIT = 8
"""Starts of a fit: few, for the 16 800 fits to take minutes"""
TOL = 1e-4
"""Of EM, in nats per ensemble: 0.02 nats in all, where one more cluster costs BIC 16"""


class Mixture(NamedTuple):
    """Weights, means and covariances of the clusters."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def draw(self, n: int, M: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw n ensembles of M members, and their clusters."""
        labels = rng.choice(len(self.weights), size=n, p=self.weights)
        root = np.linalg.cholesky(self.covariances)[labels]
        return self.means[labels][:, None] + rng.normal(size=(n, M, 2)) @ root.swapaxes(1, 2), labels

    def bayes_accuracy(self, M: int, n: int = 20_000) -> float:
        """Return the share of ensembles that the true parameters put into their cluster."""
        X, labels = self.draw(n, M, np.random.default_rng(0))
        deviation = X[:, :, None] - self.means
        precision = np.linalg.inv(self.covariances)
        distance = np.einsum("nmkd,kde,nmke->nk", deviation, precision, deviation)
        score = np.log(self.weights) - 0.5 * (distance + M * np.linalg.slogdet(self.covariances)[1])
        return float((score.argmax(axis=1) == labels).mean())


def covariance(spread_x: float, spread_y: float, correlation: float) -> np.ndarray:
    """Return a covariance of two variables."""
    off = correlation * spread_x * spread_y
    return np.array([[spread_x**2, off], [off, spread_y**2]])


SETS = {
    "easy": Mixture(
        weights=np.array([0.3, 0.3, 0.2, 0.2]),
        means=np.array([[-4.0, 0.0], [4.0, 0.0], [0.0, 4.0], [0.0, -4.0]]),
        covariances=np.array(
            [covariance(1, 1, 0), covariance(1, 1, 0.5), covariance(1.4, 0.7, 0), covariance(0.8, 0.8, 0)]
        ),
    ),
    "difficult": Mixture(
        weights=np.array([0.3, 0.3, 0.2, 0.2]),
        means=np.array([[-0.8, 0.0], [0.8, 0.0], [0.0, 0.8], [0.0, -0.8]]),
        covariances=np.array(
            [
                covariance(1.2, 1.2, 0.8),
                covariance(1.2, 1.2, -0.8),
                covariance(0.4, 0.4, 0),
                covariance(2.0, 0.5, 0),
            ]
        ),
    ),
}


def choices(mixture: Mixture, M: int, draw: int) -> dict[str, int]:
    """Return the K that each criterion chooses for one draw of ensembles."""
    X, _ = mixture.draw(N, M, np.random.default_rng([draw, M]))
    model = EGMM(n_init=N_INIT, tol=TOL, random_state=draw)
    return select_components(model, X, COMPONENTS, cv=5, n_jobs=1).best


def study(draws: int) -> dict[tuple[str, int], list[dict[str, int]]]:
    """Return the choices of all draws, by set and number of members."""
    found = {}
    for name, mixture in SETS.items():
        for M in MEMBERS:
            start = time.perf_counter()
            found[name, M] = [choices(mixture, M, draw) for draw in range(draws)]
            seconds = time.perf_counter() - start
            print(f"{name}, M = {M}: {seconds:.0f} s", file=sys.stderr, flush=True)
    return found


def print_markdown(found: dict[tuple[str, int], list[dict[str, int]]]) -> None:
    """Print the share of draws that find the true K, and the range of what was chosen."""
    print("| set | M | Bayes accuracy | " + " | ".join(CRITERIA.values()) + " |")
    print("|---|---|---|" + "---|" * len(CRITERIA))
    for (name, M), draws in found.items():
        cells = [_cell(np.array([chosen[criterion] for chosen in draws])) for criterion in CRITERIA]
        print(f"| {name} | {M} | {SETS[name].bayes_accuracy(M):.2f} | " + " | ".join(cells) + " |")


def _cell(chosen: np.ndarray) -> str:
    low, high = int((chosen < TRUE_K).sum()), int((chosen > TRUE_K).sum())
    return f"{(chosen == TRUE_K).mean():.2f} ({low}, {high})"


def draw_picture(path: Path, found: dict[tuple[str, int], list[dict[str, int]]]) -> None:
    """Draw the share of draws that find the true K against M: one panel a set, one line a criterion."""
    figure, panels = new_figure(1, len(SETS), size=(7.2, 3.2), sharey=True)
    for axes, name in zip(panels, SETS, strict=True):
        for i, (criterion, label) in enumerate(CRITERIA.items()):
            share = [np.mean([c[criterion] == TRUE_K for c in found[name, M]]) for M in MEMBERS]
            axes.plot(
                MEMBERS,
                share,
                marker="osD"[i],
                ms=(10, 5.5, 5)[i],  # the first is a ring about the others, where they agree
                mfc="white" if i == 0 else colour_of(i),
                ls=("-", "--", ":")[i],
                lw=(2.4, 1.2, 1.2)[i],
                color=colour_of(i),
                label=label,
            )
        axes.set_xscale("log")
        axes.set_xticks(MEMBERS, labels=[str(M) for M in MEMBERS])
        axes.minorticks_off()
        axes.set_ylim(-0.05, 1.05)
        axes.set_xlabel("members M")
        axes.set_title(f"{name} set", fontsize=10)
    panels[0].set_ylabel(f"share of draws that choose K = {TRUE_K}")
    panels[-1].legend(loc="lower right", fontsize=8, frameon=False)
    save_figure(figure, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--picture", type=Path, default=Path("docs/images/choosing_k.png"))
    arguments = parser.parse_args()
    results = study(arguments.draws)
    print_markdown(results)
    draw_picture(arguments.picture, results)
