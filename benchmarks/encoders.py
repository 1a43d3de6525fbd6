"""Encoders side by side: parameters, seconds an epoch, KL, accuracy, members in another order and number.

    python benchmarks/encoders.py

README sizes (n = 1000, M = 10, D = 2, K = 3), averages of some seeds; accuracies on fresh ensembles.
"""

import time
import warnings

import jax
import numpy as np

from degmm import DEGMM, datasets
from degmm.clustering import oracle
from degmm.metrics import accuracy
from degmm.nets import ENCODERS

SEEDS = range(2)
EPOCHS = 300
TIMED = 50
OTHER_MEMBERS = (5, 20)
FRESH = 4000


def one(encoder: str, subsets: int, seed: int) -> list[float]:
    """Return parameters, milliseconds an epoch, KL, losses of accuracy, and what another order changes."""
    X, _, truth = datasets.make_exchangeable_mixture(1000, 10, 2, 3, seed=seed)
    settings = {"encoder": encoder, "member_subsets": subsets, "polish": 0, "random_state": 0}
    seconds = []
    model = DEGMM(3, max_epochs=EPOCHS, **settings).fit(X)
    for epochs in (10, 10 + TIMED):  # the difference is that of the epochs alone, all being compiled
        start = time.perf_counter()
        DEGMM(3, max_epochs=epochs, **settings).fit(X)
        seconds.append(time.perf_counter() - start)
    size = sum(leaf.size for leaf in jax.tree.leaves(model._network))
    lost = []
    for M in (10, *OTHER_MEMBERS):
        if encoder == "mlp" and M > 10:
            lost.append(np.nan)
            continue
        Y, labels, _ = datasets.make_exchangeable_mixture(FRESH, M, 2, 3, seed=seed)
        bayes = accuracy(labels, oracle(Y, truth, "Bayes").labels)
        lost.append(bayes - accuracy(labels, model.predict(Y)))
    mixed = np.random.default_rng(0).permuted(np.arange(10))
    moved = np.abs(model.predict_proba(X[:, mixed]) - model.predict_proba(X)).max()
    return [size, 1e3 * (seconds[1] - seconds[0]) / TIMED, model.kl_, *lost, moved]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    columns = ["M = 10", *(f"M = {M}" for M in OTHER_MEMBERS)]
    print("accuracy lost to Bayes on fresh ensembles of M members")
    print(f"| encoder | subsets | parameters | ms an epoch | KL | {' | '.join(columns)} | another order |")
    print("|---" * (6 + len(columns)) + "|")
    for encoder in ENCODERS:
        for subsets in (0, 3):
            size, seconds, divergence, *lost, moved = np.mean(
                [one(encoder, subsets, s) for s in SEEDS], axis=0
            )
            shown = " | ".join("–" if np.isnan(value) else f"{value:.4f}" for value in lost)
            print(
                f"| `{encoder}` | {subsets} | {size:.0f} | {seconds:.2f} | {divergence:.5f} | {shown} "
                f"| {moved:.1e} |",
                flush=True,
            )
