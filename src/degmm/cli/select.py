"""``degmm select``: compare numbers of clusters on the ensembles of a file."""

from pathlib import Path
from typing import Any

from degmm.cli.inputs import make_model, read_cases, seen_by
from degmm.cli.options import DataOptions
from degmm.cli.session import Session
from degmm.cli.waiting import waiting
from degmm.files import write_bytes
from degmm.inference.solution import Result
from degmm.selection import Selection, select_components
from degmm.wording import counted

TABLE = "selection.csv"
MOST = 10_000
"""Numbers of clusters in one range"""
NAMES = {"bic": "BIC", "aic": "AIC", "icl": "ICL", "held_out": "held-out density"}


def run_select(
    session: Session,
    file: Path,
    options: DataOptions,
    model_name: str,
    settings: dict[str, Any],
    anomalies: str | None,
    components: str,
    folds: int,
    jobs: int,
    output: Path,
    format: str,
) -> None:
    """Read, report, compare, report, write; ``settings`` are as those of ``fit``."""
    from degmm.plotting import new_figure, save_figure, selection

    wanted = numbers(components)
    if folds == 1:
        raise ValueError("cv: expected 0 for no cross-validation, or at least 2; got 1")
    model, unused = make_model(model_name, settings, session.given)
    picture = f"selection.{format}"
    with session.results(output, TABLE, picture, input=file) as folder:
        cases = read_cases(session, file, options, anomalies)
        seen = seen_by(session, model, cases)
        if folds > len(seen):
            raise ValueError(f"cv: {folds} folds are too many for {counted(len(seen), 'ensemble')}")
        session.section = "Numbers of clusters"
        work = (
            f"comparing {counted(len(wanted), 'number')} of clusters: "
            f"{counted(len(wanted) * (folds + 1), 'fit')} of {type(model).__name__}"
        )
        session.say(work)
        with waiting(session.speaks, work):
            found = select_components(model, seen, wanted, cv=folds or None, n_jobs=jobs)
        _report(session, found)
        write_bytes(folder / TABLE, found.table.to_csv().encode())
        with session.picture(picture, "Criteria of the fits by number of clusters; a star marks the best."):
            panels = 2 if "held_out" in found.best else 1
            figure, axes = new_figure(1, panels, size=(1 + 3.3 * panels, 3.3))
            selection(found.table, found.best, axes=axes)
            save_figure(figure, folder / picture)
        session.file(TABLE, "the table, as CSV")
        title = f"{type(model).__name__}: numbers of clusters for {file.name}"
        session.record(folder, title, input=file, unused=unused)


def numbers(text: str) -> list[int]:
    """Return the numbers that ``1:8``, ``1:8:2`` (both ends included) or ``2,4,6`` stand for.

    Raises
    ------
    ValueError
        If the text is nothing of the kind, or a number is below 1.
    """
    found: list[int] = []
    try:
        for part in text.split(","):
            ends = [int(end) for end in part.split(":")]
            if len(ends) > 3:
                raise ValueError(part)
            first, last, step = (*ends, ends[0], 1)[:3] if len(ends) == 1 else (*ends, 1)[:3]
            if first < 1 or step < 1 or not first <= last < first + MOST:
                raise ValueError(part)
            found.extend(range(first, last + 1, step))
    except ValueError as error:
        raise ValueError(
            f"components: expected numbers of at least 1, as 1:8, 1:8:2 or 2,4,6; got {text!r}"
        ) from error
    return sorted(set(found))


def _report(session: Session, found: Selection) -> None:
    table = found.table
    shown = [name for name in NAMES if name in found.best]
    rows = []
    for K, row in table.iterrows():
        values = {name: f"{row[name]:.1f}" for name in shown}
        if "held_out" in values:
            values["held_out"] = f"{row['held_out']:.4f} ± {row['held_out_se']:.4f}"
        marked = [values[name] + ("*" if found.best[name] == K else " ") for name in shown]
        ended = str(row["result"]).lower().replace("_", " ")
        rows.append(
            (
                str(K),
                f"{row['log_likelihood']:.1f}",
                str(row["n_parameters"]),
                *marked,
                ended,
                f"{row['seconds']:.1f}",
            )
        )
    session.table(
        "numbers of clusters; * is the best",
        (
            "K",
            "log-likelihood",
            "parameters",
            *(f"{NAMES[name]} " for name in shown),
            "result",
            "seconds",
        ),
        rows,
        table.rename_axis("K").reset_index().to_dict("records"),
    )
    for result in Result:
        which = [str(K) for K in table.index[table["result"] == result.name]]
        if which and not result.succeeded:
            session.note(f"K = {', '.join(which)}: {result.value}")
    session.note("best K: " + ", ".join(f"{found.best[name]} by {NAMES[name]}" for name in shown))
    widest = [NAMES[name] for name in shown if found.best[name] == table.index.max()]
    if widest and len(table) > 1:
        session.note(f"the largest K tried is the best by {', '.join(widest)}: try larger ones")
    if "held_out" in shown:
        session.note(
            "held-out density: mean log density of an ensemble, in nats, ± its standard error over the folds"
        )
