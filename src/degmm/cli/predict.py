"""``degmm predict``: the clusters of new ensembles, or their calibrated forecasts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from degmm.cli.inputs import read_cases, seen_by
from degmm.cli.options import DataOptions
from degmm.cli.predict_forecasts import OUTPUT as FORECAST
from degmm.cli.predict_forecasts import write_forecasts
from degmm.cli.session import Session
from degmm.cli.tabular import TABLES, form_of, write_dataset, write_table
from degmm.ensembles.reader import has_group, is_table
from degmm.files import keep_input
from degmm.folders import RECORD, holds, read_located
from degmm.io import HEAD, load
from degmm.report.record import read_record
from degmm.results import clusters_dataset, clusters_table, present_cases

CLUSTERS = "clusters.nc"
SAME = {
    "variables": "variable",
    "member_dim": "member-dim",
    "feature_dims": "feature-dim",
    "member_columns": "member-columns",
    "missing": "missing",
    "group": "group",
    "observation": "observation",
}
"""What is read as in the fit, unless told otherwise, and its key in the record"""


def run_prediction(
    session: Session, folder: Path, file: Path, options: DataOptions, output: Path | None
) -> None:
    """Load, read, report, predict, write."""
    form = "" if output is None else form_of(output, (".nc", *TABLES))
    model = load(folder)
    calibrated = not hasattr(model, "score_samples")
    if output is None:
        output, form = Path(FORECAST if calibrated else CLUSTERS), ".nc"
    keep_input(file, output)
    of_fit = _configuration_of(folder)
    control = None if options.control else of_fit.get("control")
    as_fitted = _as_in_fit(of_fit, options, file)
    try:
        cases = read_cases(session, file, as_fitted, control=control)
    except ValueError as error:
        if options.observation or not as_fitted.observation or "observation: " not in str(error):
            raise
        cases = read_cases(session, file, replace(as_fitted, observation=None), control=control)
    if calibrated:
        write_forecasts(session, model, cases.kept, output, form)
        return
    seen = seen_by(session, model, cases)
    session.section = "Clusters"
    gamma = model.predict_proba(seen)
    labels, density = gamma.argmax(axis=1), model.score_samples(seen)
    present = present_cases(cases.whole)
    if form == ".nc":
        dataset = clusters_dataset(cases.whole, present, labels, gamma, density)
        dataset.attrs["history"] = session.command_line
        write_dataset(output, dataset)
    else:
        write_table(output, clusters_table(cases.whole, present, labels, gamma, density), form)
    sizes = np.bincount(labels, minlength=model.n_components)
    rows = [
        (str(k), str(sizes[k]), f"{share:.3f}", f"{weight:.3f}")
        for k, (share, weight) in enumerate(zip(sizes / len(labels), model.weights_, strict=True))
    ]
    session.table(
        f"clusters of {file.name} by {type(model).__name__}",
        ("cluster", "size", "share", "weight in the fit"),
        rows,
        [
            {"cluster": k, "size": sizes[k], "share": sizes[k] / len(labels), "weight": model.weights_[k]}
            for k in range(model.n_components)
        ],
    )
    session.note(f"mean log density of an ensemble: {float(np.mean(density)):.4f} nats")
    session.wrote(output)


def _configuration_of(folder: Path) -> dict[str, Any]:
    """Return the options of the fit that the model is of; none for a model that was saved from Python."""
    folder = folder if folder.is_dir() else folder.parent
    if not holds(folder, RECORD):
        return {}
    run = read_record(folder)
    model = json.loads(read_located(folder, HEAD))
    if run["command"] not in ("fit", "calibrate") or model["arrays"] not in run.get(
        "files", ()
    ):  # saved there later, by Python
        return {}
    return {key: value for key, value in run["configuration"].items() if _is_sound(key, value)}


def _is_sound(key: str, value: Any) -> bool:
    if key in ("member-dim", "control", "group", "observation"):
        return isinstance(value, str)
    kinds = (int, float) if key == "missing" else str
    return isinstance(value, list) and all(isinstance(part, kinds) for part in value)


def _as_in_fit(of_fit: dict[str, Any], options: DataOptions, file: Path) -> DataOptions:
    """Return the options with those of the fit for what is not given, as far as the file has such things."""
    foreign = {"feature_dims" if is_table(file) else "member_columns"}
    if of_fit.get("group") and not has_group(file, of_fit["group"]):
        foreign.add("group")
    known = {name: of_fit[key] for name, key in SAME.items() if of_fit.get(key) and name not in foreign}
    return replace(options, **{name: value for name, value in known.items() if not getattr(options, name)})
