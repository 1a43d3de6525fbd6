"""``degmm predict`` of a calibration: calibrated forecasts of new ensembles."""

from pathlib import Path
from typing import Any

import numpy as np

from degmm.cli.session import Session
from degmm.cli.tabular import write_dataset, write_table
from degmm.ensembles import Ensemble
from degmm.ensembles.matching import with_variables
from degmm.forecast_results import forecast_dataset, forecast_table

OUTPUT = "forecast.nc"


def write_forecasts(session: Session, model: Any, kept: Ensemble, output: Path, form: str) -> None:
    """Predict, report, write: the ensembles are those of the file that have a member."""
    session.section = "Forecasts"
    forecast = model.predict(kept)
    kept = with_variables(kept, forecast.variables)
    regimes = np.asarray(model.predict_proba(kept)) if hasattr(model, "predict_proba") else None
    if form == ".nc":
        dataset = forecast_dataset(kept, forecast, regimes)
        dataset.attrs["history"] = session.command_line
        write_dataset(output, dataset)
    else:
        write_table(output, forecast_table(kept, forecast, regimes), form)
    D = kept.n_features
    raw = np.asarray(kept.values, np.float64)
    facts = {
        "mean": _means(forecast.mean(), D),
        "raw mean": _means(raw, D),
        "spread": _means(forecast.std(), D),
        "raw spread": _means(_spread(raw), D),
    }
    records = [
        {"variable": name, **{fact: values[d] for fact, values in facts.items()}}
        for d, name in enumerate(kept.variables)
    ]
    rows = [
        [title, *("–" if values[d] is None else f"{values[d]:.3f}" for values in facts.values())]
        for d, title in enumerate(kept.titles)
    ]
    session.table(
        "calibrated forecasts, and the raw ensembles: means over the cases",
        ["variable", *facts],
        rows,
        records,
    )
    if kept.observations is not None and np.isfinite(kept.observations).any():
        session.note(f"mean CRPS where something was observed: {-model.score(kept):.4f}")
    session.wrote(output)


def _means(values: Any, D: int) -> list[float | None]:
    """Return the mean of each variable, the last axis, over all that is no NaN; None of nothing."""
    columns = np.asarray(values, np.float64).reshape(-1, D).T
    return [float(np.nanmean(column)) if np.isfinite(column).any() else None for column in columns]


def _spread(members: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the members, (n, D); NaN with fewer than two."""
    counts = (~np.isnan(members)).sum(axis=1)
    mean = np.nansum(members, axis=1) / np.maximum(counts, 1)
    squares = np.nansum((members - mean[:, None]) ** 2, axis=1)
    return np.sqrt(squares / np.where(counts > 1, counts - 1, np.nan))
