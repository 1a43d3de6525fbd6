"""EGMM and DEGMM against the Bayes oracle on twenty mixtures of the README's sizes.

python benchmarks/exactness.py
"""

import numpy as np

from degmm import DEGMM, DGMM, EGMM, GMM, datasets
from degmm.comparison import oracle
from degmm.metrics import accuracy

N, M, D, K, SEEDS = 1000, 10, 2, 3, 20


def main() -> None:
    """Print a table in Markdown."""
    print("| seed | Bayes | EGMM | DEGMM | Δℓ EGMM | Δℓ DEGMM | KL DEGMM | Bayes, one member | GMM | DGMM |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    rows = []
    for seed in range(SEEDS):
        X, labels, truth = datasets.make_exchangeable_mixture(N, M, D, K, seed=seed)
        one = X[:, :1]
        bayes, bayes_one = oracle(X, truth, "all"), oracle(one, truth, "one")
        egmm, degmm = EGMM(K, random_state=seed).fit(X), DEGMM(K, random_state=seed).fit(X)
        gmm, dgmm = GMM(K, random_state=seed).fit(one), DGMM(K, random_state=seed).fit(one)
        reached = bayes.log_likelihood * N * M
        rows.append(
            [
                accuracy(labels, bayes.labels),
                accuracy(labels, egmm.labels_),
                accuracy(labels, degmm.labels_),
                egmm.log_likelihood_ - reached,
                degmm.log_likelihood_ - reached,
                degmm.kl_,
                accuracy(labels, bayes_one.labels),
                accuracy(labels, gmm.labels_),
                accuracy(labels, dgmm.labels_),
            ]
        )
        print(line(str(seed), rows[-1]))
    print(line("mean", np.mean(rows, axis=0)))


def line(name: str, row: list[float]) -> str:
    """Return one row of the table."""
    formats = ("{:.3f}",) * 3 + ("{:.2f}",) * 2 + ("{:.5f}",) + ("{:.3f}",) * 3
    return "| " + " | ".join([name, *(f.format(value) for f, value in zip(formats, row, strict=True))]) + " |"


if __name__ == "__main__":
    main()
