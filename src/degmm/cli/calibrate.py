"""``degmm calibrate``: from forecasts and observations to calibrated forecasts, and what they are worth."""

from pathlib import Path
from typing import Any

import numpy as np

from degmm.calibration import RegimeEMOS, select_regimes
from degmm.cli.calibration_cases import DEMO, Trial, demo_cases, file_cases, parted, tell_zeros
from degmm.cli.calibration_pictures import draw_calibration
from degmm.cli.calibration_tables import tell_joint, tell_numbers, tell_regimes, tell_scores
from degmm.cli.options import CalibrationOptions, DataOptions
from degmm.cli.select import numbers
from degmm.cli.session import Session
from degmm.ensembles import Ensemble
from degmm.ensembles.cells import csv_bytes
from degmm.evaluation import Evaluation, evaluate
from degmm.files import write_bytes
from degmm.folders import PAGE
from degmm.forecast_results import forecast_dataset
from degmm.inference.progress import SECONDS_A_LINE, TrainingProgress
from degmm.io import HEAD, save
from degmm.results import netcdf_bytes

FORECASTS, SCORES, JOINT_SCORES = "forecasts.nc", "scores.csv", "joint_scores.csv"


def run_calibration(
    session: Session,
    file: Path | None,
    demo: bool,
    data: DataOptions,
    options: CalibrationOptions,
    components: str,
    seed: int,
    output: Path,
    format: str,
) -> None:
    """Read, part, fit, compare, report, draw, write."""
    if demo == (file is not None):
        raise ValueError("FILE: " + ("not with --demo" if demo else "name a file of forecasts, or --demo"))
    if options.split is not None and options.train is not None:
        raise ValueError("--split: not together with --train")
    wanted = numbers(components)
    model, unused = _settings(session, options, seed)
    if len(wanted) > 1 and options.folds < 2:
        raise ValueError(f"--K: {components} is chosen by cross-validation; set --folds to 2 or more")
    if options.folds == 1:
        raise ValueError("n_blocks: expected 0 for no cross-validation, or at least 2; got 1")
    names = (HEAD, FORECASTS, SCORES, JOINT_SCORES, DEMO, PAGE)
    with session.results(output, *names, input=file) as folder:
        kept = demo_cases(session, seed) if file is None else file_cases(session, file, data)
        trial = parted(session, kept, options, "the demo" if file is None else str(file))
        if file is None:
            write_bytes(folder / DEMO, netcdf_bytes(kept.to_xarray()))
        session.section = "Scores"
        if model.family == "normal":
            tell_zeros(session, trial.train)
        model.set_params(n_components=_number(session, trial, model, wanted, options.folds))
        found = evaluate(
            trial.train,
            trial.test,
            model,
            context=trial.context,
            folds=options.folds,
            tell=session.say,
            progress=session.speaks,
        )
        _write_tables(session, found, folder, seed)
        session.section = "Regimes"
        tell_regimes(session, model, kept)
        save(model, folder)
        regimes = np.asarray(model.predict_proba(trial.test))
        dataset = forecast_dataset(trial.test, found.forecasts[found.regimes], regimes, random_state=seed)
        write_bytes(folder / FORECASTS, netcdf_bytes(dataset))
        draw_calibration(session, found, folder, format)
        session.file(HEAD, "the model, fitted to the training, for degmm predict and degmm.load")
        session.file(FORECASTS, "calibrated forecasts of the test: mean, spread, quantiles, members, regimes")
        session.file(SCORES, "the table of scores, as CSV")
        if (folder / JOINT_SCORES).exists():
            session.file(JOINT_SCORES, "energy and variogram scores, as CSV")
        if file is None:
            session.file(DEMO, "the generated forecasts, for the other commands")
        title = f"Calibration of {'generated forecasts' if file is None else file.name} by regime"
        session.record(folder, title, input=file, unused=unused, page=True)


def _settings(session: Session, options: CalibrationOptions, seed: int) -> tuple[RegimeEMOS, set[str]]:
    """Return the calibration with its settings, and the options that have no meaning for it."""
    more: dict[str, Any] = {"n_networks": options.n_networks} if options.gate == "deep" else {}
    unused = {"n_networks"} - set(more)
    if unused & session.given:
        raise ValueError("n_networks: gate mixture has no such option")
    model = RegimeEMOS(gate=options.gate.value, family=options.family.value, random_state=seed, **more)
    return model, unused


def _number(session: Session, trial: Trial, model: RegimeEMOS, wanted: list[int], folds: int) -> int:
    if len(wanted) == 1:
        return wanted[0]
    session.say(f"comparing {len(wanted)} numbers of regimes: {len(wanted) * folds} fits")
    with TrainingProgress(session.speaks, len(wanted) * folds, "comparing", "fit", SECONDS_A_LINE) as shown:
        shown.report(0, f"{wanted[0]} regimes first" if wanted[0] > 1 else "1 regime first")
        selection = select_regimes(
            model,
            trial.train,
            components=wanted,
            context=trial.context,
            n_blocks=folds,
            tell=shown.report,
        )
    tell_numbers(session, selection)
    return selection.best


def _write_tables(session: Session, found: Evaluation, folder: Path, seed: int) -> None:
    import pandas as pd

    data: Ensemble = found.test
    tables = {name: found.table(d) for d, name in enumerate(data.variables)}
    for d, table in enumerate(tables.values()):
        tell_scores(session, found, d, table)
    whole = pd.concat(tables, names=["variable"])
    write_bytes(folder / SCORES, csv_bytes(whole))
    joint = found.joint(seed)
    if joint is not None:
        session.section = "All variables together"
        scores = tell_joint(session, joint)
        write_bytes(folder / JOINT_SCORES, csv_bytes(scores))
