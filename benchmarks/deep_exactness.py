"""How exact a trained network is before any polishing, for other numbers of members too, and untrained.

    python benchmarks/deep_exactness.py

Ten mixtures of each size; the worst of them, and the mean where it says so. KL is that of the network's
probabilities from the exact posterior, nats per ensemble; Δℓ is what EGMM's log-likelihood per member is
above DEGMM's; a cluster is lost if its weight is below half of what EGMM's smallest has. Accuracies are
on fresh ensembles, and their losses means. An untrained network makes all clusters equal, for which its
probabilities are exact: its KL is 0, and only the likelihood tells.
"""

import warnings

import numpy as np

from degmm import DEGMM, EGMM, datasets
from degmm.clustering import oracle
from degmm.metrics import accuracy

M = 10
OTHER_MEMBERS = (5, 20, 50)
SIZES = ((1000, 2, 3), (1000, 2, 8), (2000, 4, 12))
SEEDS = range(10)
FRESH = 4000


def measured(n: int, D: int, K: int, encoder: str, seed: int) -> list[float]:
    """Return KL, Δℓ, whether a cluster is lost, Δℓ untrained, and accuracies lost to Bayes and to EGMM."""
    X = datasets.make_exchangeable_mixture(n, M, D, K, seed=seed)[0]
    settings = {"encoder": encoder, "polish": 0, "random_state": 0}
    em = EGMM(K, random_state=0).fit(X)
    deep = DEGMM(K, **settings).fit(X)
    untrained = DEGMM(K, max_epochs=1, warmup=0, learning_rate=1e-12, **settings).fit(X)
    taught = DEGMM(K, member_subsets=4, **settings).fit(X)
    row = [
        deep.kl_,
        (em.log_likelihood_ - deep.log_likelihood_) / (n * M),
        float(deep.weights_.min() < 0.5 * em.weights_.min()),
        (em.log_likelihood_ - untrained.log_likelihood_) / (n * M),
    ]
    for members in (M, *OTHER_MEMBERS):
        Y, labels, truth = datasets.make_exchangeable_mixture(FRESH, members, D, K, seed=seed)
        model = deep if members == M else taught
        ours = accuracy(labels, model.predict(Y))
        row.append(accuracy(labels, oracle(Y, truth, "Bayes").labels) - ours)
        row.append(accuracy(labels, em.predict(Y)) - ours)
    return row


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    columns = [f"M = {members}" for members in (M, *OTHER_MEMBERS)]
    print(
        "accuracy lost to Bayes' rule / to EGMM, mean; trained on M = 10 (for other M: with member_subsets=4)\n"
    )
    print(f"| n, D, K | encoder | KL | Δℓ | clusters lost | Δℓ untrained | {' | '.join(columns)} |")
    print("|---" * (6 + len(columns)) + "|")
    for n, D, K in SIZES:
        for encoder in ("moments", "deep_sets"):
            rows = np.array([measured(n, D, K, encoder, seed) for seed in SEEDS])
            worst, mean = rows.max(axis=0), rows.mean(axis=0)
            cells = [f"{mean[i]:.4f} / {mean[i + 1]:.4f}" for i in range(4, rows.shape[1], 2)]
            print(
                f"| {n}, {D}, {K} | `{encoder}` | {worst[0]:.4f} | {worst[1]:.1e} | {rows[:, 2].sum():.0f} "
                f"| {rows[:, 3].min():.2f} | {' | '.join(cells)} |",
                flush=True,
            )
