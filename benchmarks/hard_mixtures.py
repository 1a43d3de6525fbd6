"""Mixtures with many clusters, drawn like the original: does the default fit reach the likelihood of the truth.

python benchmarks/hard_mixtures.py
"""

import time

import numpy as np

from degmm import EGMM, datasets
from degmm.clustering import oracle
from degmm.metrics import accuracy

M = 10
SIZES = ((1000, 2, 8), (2000, 4, 12))
SEEDS = range(10)


def measured(n: int, D: int, K: int, seed: int) -> tuple[float, float, float, float]:
    """Return ℓ(fit) − ℓ(truth) in nats, both accuracies, and the seconds of the fit."""
    X, labels, truth = datasets.make_exchangeable_mixture(n, M, D, K, seed=seed)
    bayes = oracle(X, truth, "Bayes")
    start = time.perf_counter()
    model = EGMM(K, random_state=0).fit(X)
    seconds = time.perf_counter() - start
    gain = model.log_likelihood_ - bayes.log_likelihood * n * M
    return gain, accuracy(labels, bayes.labels), accuracy(labels, model.labels_), seconds


if __name__ == "__main__":
    for n, D, K in SIZES:
        measured(n, D, K, 99)  # compiles
        rows = np.array([measured(n, D, K, seed) for seed in SEEDS])
        print(
            f"\nn = {n}, M = {M}, D = {D}, K = {K}\n\n| seed | Δℓ | Bayes | EGMM | seconds |\n|---|---|---|---|---|"
        )
        for seed, (gain, bayes, ours, seconds) in zip(SEEDS, rows, strict=True):
            print(f"| {seed} | {gain:.1f} | {bayes:.3f} | {ours:.3f} | {seconds:.2f} |")
        gain, bayes, ours, seconds = rows.mean(axis=0)
        print(f"| mean | {gain:.1f} | {bayes:.4f} | {ours:.4f} | {seconds:.2f} |")
