"""``degmm select``: compare numbers of clusters on the ensembles of a file."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from degmm.cli.flags import SELECT_FLAGS, in_flags
from degmm.cli.inputs import make_model, members_seen, read_cases, report_data
from degmm.cli.tables import print_table
from degmm.files import output_folder, write_bytes
from degmm.inference.solution import Result
from degmm.selection import Selection, select_components
from degmm.wording import counted

TABLE = "selection.csv"
NAMES = {"bic": "BIC", "aic": "AIC", "icl": "ICL", "held_out": "held-out density"}


def run_select(
    file: Path,
    model_name: str,
    components: str,
    output: Path,
    variables: Sequence[str] | None,
    member_dim: str | None,
    folds: int,
    jobs: int,
    settings: dict[str, Any],
    given: Collection[str] = (),
    format: str = "png",
) -> None:
    """Read, report, compare, report, write; ``settings`` and ``given`` are as those of ``fit``."""
    from degmm.plotting import new_figure, plot_selection, save_figure

    with in_flags(SELECT_FLAGS | {"X": str(file)}):
        wanted = numbers(components)
        if folds == 1:
            raise ValueError("cv: expected 0 for no cross-validation, or at least 2; got 1")
        model = make_model(model_name, settings, given)
        data, kept = read_cases(file, variables, member_dim)
        picture = f"selection.{format}"
        with output_folder(output, TABLE, picture):
            report_data(file, data, kept)
            members = members_seen(file, model, kept)
            if folds > len(kept):
                raise ValueError(f"cv: {folds} folds are too many for {counted(len(kept), 'ensemble')}")
            print(
                f"comparing {counted(len(wanted), 'number')} of clusters: "
                f"{counted(len(wanted) * (folds + 1), 'fit')} of {type(model).__name__}",
                flush=True,
            )
            found = select_components(model, members, wanted, cv=folds or None, n_jobs=jobs)
            _report(found)
            write_bytes(output / TABLE, found.table.to_csv().encode())
            panels = 2 if "held_out" in found.best else 1
            figure, axes = new_figure(1, panels, size=(1 + 3.3 * panels, 3.3))
            plot_selection(found.table, found.best, axes=axes)
            save_figure(figure, output / picture)
    print(f"wrote {output / TABLE}, {output / picture}")


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
            if first < 1 or step < 1 or last < first:
                raise ValueError(part)
            found.extend(range(first, last + 1, step))
    except ValueError as error:
        raise ValueError(
            f"components: expected numbers of at least 1, as 1:8, 1:8:2 or 2,4,6; got {text!r}"
        ) from error
    return sorted(set(found))


def _report(found: Selection) -> None:
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
    headings = [f"{NAMES[name]} " for name in shown]
    print_table(
        "numbers of clusters; * is the best",
        ("K", "log-likelihood", "parameters", *headings, "result", "seconds"),
        rows,
    )
    for result in Result:
        which = [str(K) for K in table.index[table["result"] == result.name]]
        if which and not result.succeeded:
            print(f"K = {', '.join(which)}: {result.value}")
    print("best K: " + ", ".join(f"{found.best[name]} by {NAMES[name]}" for name in shown))
    widest = [NAMES[name] for name in shown if found.best[name] == table.index.max()]
    if widest and len(table) > 1:
        print(f"the largest K tried is the best by {', '.join(widest)}: try larger ones")
    if "held_out" in shown:
        print(
            "held-out density: mean log density of an ensemble, in nats, ± its standard error over the folds"
        )
