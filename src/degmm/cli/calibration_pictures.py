"""The pictures of ``degmm calibrate``."""

from pathlib import Path
from typing import Any

import numpy as np

from degmm.cli.session import Session
from degmm.ensembles.times import complete_times
from degmm.evaluation import (
    CLIMATOLOGY,
    LEVEL,
    RAW,
    Evaluation,
    margin,
    members,
    observed_of,
)
from degmm.wording import counted, percent

EXAMPLES = 4
MOST_ROWS = 6
"""Variables whose regimes are drawn"""


def draw_calibration(session: Session, found: Evaluation, folder: Path, format: str) -> None:
    """Draw regimes, histograms, scores and examples, and record what each picture shows."""
    with session.picture(
        f"regimes.{format}",
        "Above: which regimes the cases of the training are in. Below: the mean error of each regime's "
        "ensembles (pale) and what its expert takes off, and by how much it widens them. A forecast mixes "
        "the experts of all regimes of its case, so that error and correction of one need not be equal.",
    ):
        _draw_regimes(found, folder / f"regimes.{format}")
    data, censored = found.test, found.model.family.startswith("censored")
    for d, name in enumerate(data.titles):
        session.section = name if data.n_features > 1 else "Pictures"
        with session.picture(
            f"histograms_{d + 1}.{format}",
            f"{name}: ranks of the observations among the raw members (left), and their probabilities under "
            "calibrated forecasts. Level bars are reliable forecasts; high ends are too narrow ones, a slope "
            "is a bias.",
        ):
            _draw_histograms(found, d, folder / f"histograms_{d + 1}.{format}", name)
        with session.picture(
            f"scores_{d + 1}.{format}",
            f"{name}: mean CRPS of the test {_by(found)} (above; lower is better), and how many observations "
            f"lay in their {percent(LEVEL)} intervals as time went on (below; reliable forecasts keep to the "
            "band).",
        ):
            _draw_scores(found, d, folder / f"scores_{d + 1}.{format}", name)
        with session.picture(
            f"examples_{d + 1}.{format}",
            f"{name}: cases of the test that are surest of a regime, whatever came: raw members (ticks), "
            f"densities of calibrated forecasts, their {percent(LEVEL)} intervals (bars) and the observation "
            f"(dotted).{' The probability of no more than 0 is not drawn.' if censored else ''}",
        ):
            _draw_examples(found, d, folder / f"examples_{d + 1}.{format}", name)


def _by(found: Evaluation) -> str:
    return "part by part" if complete_times(found.test) is None else "by month of the year"


def _colours(found: Evaluation) -> dict[str, int]:
    """Return the colour number of each forecast, alike in all pictures."""
    return dict(zip(found.forecasts, (9, 4, *((3, 1)[: len(found.emos)]), 0), strict=True))


def _best_emos(found: Evaluation) -> str:
    return found.emos[-1]


def _draw_regimes(found: Evaluation, path: Path) -> None:
    from degmm.plotting import new_figure, regime_errors, responsibilities, save_figure
    from degmm.plotting.style import across

    data, regimes = found.train, found.model.regimes_
    times = complete_times(data)
    gamma = np.asarray(found.model.predict_proba(data))
    D = min(data.n_features, MOST_ROWS)
    figure, axes = new_figure(1 + D, 2, size=(8.2, 2.7 * (1 + D)))
    top = across(axes[:2])
    by = "time" if times is None else "dayofyear"
    title = "Mean probability of each regime " + ("case by case" if times is None else "over the year")
    responsibilities(top, gamma, times, by=by, noun="regime", first=1, title=title)
    for d in range(D):
        name = data.variables[d]
        rows = regimes.xs(name, level="variable") if data.n_features > 1 else regimes
        unit = data.units[d] if data.units else ""
        named = name if data.n_features > 1 else ""
        regime_errors(axes[2 + 2 * d], axes[3 + 2 * d], rows, unit=unit, name=named)
    save_figure(figure, path)


def _draw_histograms(found: Evaluation, d: int, path: Path, name: str) -> None:
    from degmm.plotting import new_figure, pit_histogram, rank_histogram, save_figure

    observed = observed_of(found.test)[:, d]
    figure, axes = new_figure(1, 3, size=(9.8, 2.8))
    rank_histogram(axes[0], members(found.test)[..., d], observed, legend=False, title=f"before: {RAW}")
    best = _best_emos(found)
    for panel, label in zip(axes[1:], (best, found.regimes), strict=True):
        forecast = margin(found.forecasts[label], d)
        pit_histogram(panel, forecast, observed, legend=panel is axes[2], title=f"after: {label}")
    axes[0].set_xlabel(f"rank among {counted(found.test.n_members, 'member')}")
    for panel in axes[1:]:
        panel.set_ylabel("")
    figure.suptitle(name, fontsize=10)
    save_figure(figure, path)


def _draw_scores(found: Evaluation, d: int, path: Path, name: str) -> None:
    from degmm.plotting import coverage_in_time, new_figure, save_figure, scores_by_month

    times, colours = complete_times(found.test), _colours(found)
    shown = [label for label in found.forecasts if label != CLIMATOLOGY]
    unit = found.test.units[d] if found.test.units else ""
    figure, (upper, lower) = new_figure(2, 1, size=(7.2, 5.2))
    looks: Any = {"colours": [colours[label] for label in shown]}
    scores = {label: found.crps(label, d) for label in shown}
    scores_by_month(upper, scores, times, label=f"CRPS [{unit}]" if unit else "CRPS", **looks)
    coverage_in_time(lower, {label: found.inside(label, d) for label in shown}, times, level=LEVEL, **looks)
    figure.suptitle(f"{name}: forecasts of the test", fontsize=10)
    save_figure(figure, path)


def _draw_examples(found: Evaluation, d: int, path: Path, name: str) -> None:
    from degmm.plotting import forecast_density, new_figure, save_figure
    from degmm.plotting.marks import legend_beside

    data, colours = found.test, _colours(found)
    shown = [_best_emos(found), found.regimes]
    gamma = np.asarray(found.model.predict_proba(data))
    times, unit = complete_times(data), data.titles[d]
    cases = _examples(gamma, ~np.isnan(observed_of(data)[:, d]))
    figure, axes = new_figure(2, 2, size=(8.4, 4.8))
    for panel, i in zip(axes, cases, strict=False):
        one = {label: margin(found.forecasts[label], d)[[i]] for label in shown}
        when = f"case {i}" if times is None else str(times[i].astype("datetime64[D]"))
        k = int(gamma[i].argmax())
        forecast_density(
            panel,
            members(data)[i, :, d],
            one,
            observed_of(data)[i, d],
            level=LEVEL,
            colours=[colours[label] for label in shown],
            unit=unit,
            title=f"{when}: regime {k + 1} ({percent(float(gamma[i, k]))})",
        )
    for panel in axes[len(cases) :]:
        panel.remove()
    legend_beside(axes[1 if len(cases) > 1 else 0])
    save_figure(figure, path)


def _examples(gamma: np.ndarray, known: np.ndarray) -> list[int]:
    """Return the cases that are surest of each regime and, to have enough, some evenly through the series."""
    usable = np.flatnonzero(known & ~np.isnan(gamma).any(axis=1))
    K = gamma.shape[1]
    surest = [int(usable[gamma[usable, k].argmax()]) for k in range(K)] if K > 1 else []
    even = [int(usable[place]) for place in np.linspace(0, len(usable) - 1, EXAMPLES).round().astype(int)]
    return sorted([*dict.fromkeys([*surest, *even])][:EXAMPLES])
