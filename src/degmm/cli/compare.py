"""``degmm compare``: print what :func:`degmm.compare` finds."""

import time
from pathlib import Path
from typing import Any

from degmm import cli
from degmm.cli.session import Session
from degmm.cli.tables import in_seconds
from degmm.wording import counted


def run_comparison(
    session: Session,
    output: Path,
    sizes: dict[str, Any],
    num_epochs: int,
    seed: int,
    settings: dict[str, Any],
) -> None:
    """Run the comparison and say its table, its pictures and where the time went."""
    import degmm.estimators.deep_single  # noqa: F401  (imported here, so that its seconds count as import)
    from degmm.comparison import compare, picture_names

    imported = time.perf_counter() - cli.STARTED
    session.section = "Models"
    with session.results(output, *picture_names(settings["format"])) as folder:
        result = compare(**sizes, num_epochs=num_epochs, seed=seed, output=folder, **settings)
        n, M, D, K = sizes.values()
        title = (
            f"n = {counted(n, 'ensemble')}, M = {counted(M, 'member')}, D = {counted(D, 'variable')}, "
            f"K = {counted(K, 'cluster')}, seed {seed}"
        )
        _table(session, title, result.table)
        session.note("log-likelihood and KL, of a network's γ from the exact posterior, are in nats")
        for path, caption in zip(result.figures, CAPTIONS, strict=True):
            with session.picture(path.name, caption):
                pass  # drawn with the comparison
        session.record(folder, f"All models on {title}")
    phases = dict(result.seconds)
    compiled = phases.pop("compile")
    total = time.perf_counter() - cli.STARTED
    session.say(in_seconds({"import": imported, **phases, "total": total}))
    session.say(f"of which compiling: {compiled:.1f}")


CAPTIONS = (
    "A few ensembles, and the clusters they come from.",
    "The clusters that each model finds.",
    "The clusters of DEGMM over its epochs.",
)


def _table(session: Session, title: str, table: Any) -> None:
    import pandas as pd

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
        for name, row in table.iterrows()
    ]
    session.table(
        title,
        (
            "model",
            "members seen",
            "accuracy",
            "ARI",
            "log-likelihood per member",
            "KL per ensemble",
            "seconds",
        ),
        rows,
        table.reset_index().to_dict("records"),
    )
