"""``degmm compare``: print what :func:`degmm.compare` finds."""

import time
from pathlib import Path
from typing import Any

from degmm import cli
from degmm.cli.flags import COMPARE_FLAGS, in_flags
from degmm.cli.tables import print_seconds, print_table
from degmm.wording import counted


def run_comparison(
    n: int,
    M: int,
    D: int,
    K: int,
    num_epochs: int,
    seed: int,
    output: Path,
    covariance: Any,
    progress: bool,
    format: Any,
) -> None:
    """Run the comparison and print its table, its pictures and where the time went."""
    import pandas as pd

    import degmm.estimators.deep_single  # noqa: F401  (imported here, so that its seconds count as import)
    from degmm.comparison import compare

    imported = time.perf_counter() - cli.STARTED
    with in_flags(COMPARE_FLAGS):
        result = compare(
            n, M, D, K, num_epochs, seed, output, covariance=covariance, progress=progress, format=format
        )
    rows = [
        (
            str(name),
            f"{row.members:.0f}",
            f"{row.accuracy:.3f}",
            f"{row.ari:.3f}",
            f"{row.log_likelihood:.4f}",
            "–" if pd.isna(row.kl) else f"{row.kl:.2g}",
            "–" if pd.isna(row.seconds) else f"{row.seconds:.2f}",
        )
        for name, row in result.table.iterrows()
    ]
    print_table(
        f"n = {counted(n, 'ensemble')}, M = {counted(M, 'member')}, D = {counted(D, 'variable')}, "
        f"K = {counted(K, 'cluster')}, seed {seed}",
        ("model", "members seen", "accuracy", "ARI", "log-likelihood a member", "KL an ensemble", "seconds"),
        rows,
    )
    print("log-likelihood and KL, of a network's γ from the exact posterior, are in nats")
    for path in result.figures:
        print(f"wrote {path}")
    phases = dict(result.seconds)
    compiled = phases.pop("compile")
    total = time.perf_counter() - cli.STARTED
    print_seconds({"import": imported, **phases, "total": total})
    print(f"of which compiling: {compiled:.1f}")
