"""``degmm describe``: what a file holds, before anything is fitted to it."""

from pathlib import Path
from typing import Any

import numpy as np

from degmm.cli.inputs import MOST_SHOWN, Cases, read_cases
from degmm.cli.options import DataOptions
from degmm.cli.session import Session
from degmm.description import pooled, variable_facts
from degmm.ensembles import Ensemble
from degmm.ensembles.times import find_times

SEASONAL = 0.5
"""Share of the variance of ensemble means in the seasonal cycle, beyond which a user hears of it"""


def run_description(
    session: Session, file: Path, options: DataOptions, output: Path | None, format: str
) -> None:
    """Read, report and, into a folder, draw."""
    if output is None:
        _describe(session, read_cases(session, file, options))
        return
    with session.results(output, input=file) as folder:
        cases = read_cases(session, file, options)
        _describe(session, cases)
        _draw(session, folder, cases.kept, format)
        session.record(folder, f"What {file.name} holds", input=file)


def _describe(session: Session, cases: Cases) -> None:
    kept = cases.kept
    _cases(session, kept)
    session.section = "Variables"
    many = kept.n_features > MOST_SHOWN
    shown = pooled(kept) if many else kept
    records = [variable_facts(shown, d) for d in range(shown.n_features)]
    names = [name for name in COLUMNS if any(name in record for record in records)]
    rows = [[_cell(record.get(name)) for name in names] for record in records]
    session.table("variables", [COLUMNS[name] for name in names], rows, records)
    if many:
        session.note(f"the {kept.n_features} variables are pooled; --variable chooses among them")
    session.note(
        "spread of a member: standard deviation over all cases; within an ensemble: root mean variance of "
        "its members about their mean"
    )
    if any("rmse" in record for record in records):
        session.note(
            "bias and RMSE are those of the ensemble mean; spread/RMSE, with the factor √((M+1)/M), is 1 "
            "where the observation is like one more member, and below 1 for ensembles that are too sure"
        )
    _advise(session, kept, records)


def _cases(session: Session, kept: Ensemble) -> None:
    counts = kept.counts
    if counts.min() < counts.max():
        session.note(f"members per case: {counts.min()} to {counts.max()}, {counts.mean():.1f} on average")
    name = None
    if (found := find_times(kept)) is not None:
        name, times = found[0], found[1][~np.isnat(found[1])].astype("datetime64[D]")
        if times.size:
            session.note(f"cases from {times.min()} to {times.max()} ({name})")
    others = [c for c in kept.coords if c not in (name, kept.case_dim)]
    labels = [f"{c} ({np.unique(np.asarray(kept.coords[c]).astype(str)).size} values)" for c in others]
    if labels:
        session.note(f"other labels of cases: {', '.join(labels)}")


COLUMNS = {
    "variable": "variable",
    "unit": "unit",
    "missing": "missing",
    "mean": "mean",
    "spread": "spread of a member",
    "within": "within an ensemble",
    "season": "season's share",
    "bias": "bias",
    "rmse": "RMSE",
    "ratio": "spread/RMSE",
}


def _advise(session: Session, kept: Ensemble, records: list[dict[str, Any]]) -> None:
    seasonal = [r["variable"] for r in records if r.get("season", 0) > SEASONAL]
    if seasonal:
        session.note(
            f"the cycle of the year explains most of {', '.join(seasonal)}: clusters will be seasons; "
            "--anomalies dayofyear takes it off"
        )
    alike = [r["variable"] for r in records if r.get("within", np.inf) < 0.5 * r["spread"]]
    if alike and kept.n_members > 1:
        session.note(
            f"members of one ensemble are much more alike than those of different ones "
            f"({', '.join(alike)}): --member-model shared-centre is made for that"
        )


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _draw(session: Session, folder: Path, kept: Ensemble, format: str) -> None:
    """Draw spread against skill and the histogram of ranks of each variable that was observed."""
    if kept.observations is None or kept.n_members < 2:
        return
    from degmm.plotting import new_figure, rank_histogram, save_figure, spread_skill

    session.section = "Spread and skill"
    shown = pooled(kept) if kept.n_features > MOST_SHOWN else kept
    observed: Any = shown.observations
    members = np.where(shown.mask[..., None], shown.values, np.nan)
    for d, name in enumerate(shown.titles):
        if not np.isfinite(observed[:, d]).any():
            continue
        file = f"skill_{d + 1}.{format}"
        with session.picture(file, f"{name}: spread against skill, and ranks of the observations."):
            figure, (upper, lower) = new_figure(2, 1, size=(5.4, 6.0))
            spread_skill(upper, members[..., d], observed[:, d], unit=shown.units[d] if shown.units else "")
            rank_histogram(lower, members[..., d], observed[:, d])
            figure.suptitle(name, fontsize=10)
            save_figure(figure, folder / file)
