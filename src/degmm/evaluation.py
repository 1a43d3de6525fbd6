"""A calibration on trial: its forecasts of cases that it was not fitted to, beside those it must beat."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from degmm.calibration import EMOS, Forecast, RegimeEMOS, cross_validated, ecc, error_copula
from degmm.calibration.minimisation import Result
from degmm.calibration.observations import observations_of
from degmm.ensembles import Ensemble
from degmm.ensembles.matching import with_variables
from degmm.ensembles.times import complete_times
from degmm.inference.progress import SECONDS_A_LINE, TrainingProgress
from degmm.past import climatology
from degmm.verification import (
    DieboldMariano,
    central_interval,
    coverage,
    crps_ensemble,
    diebold_mariano,
    energy_score,
    inside,
    pit,
    skill_table,
    variogram_score,
)

if TYPE_CHECKING:
    import pandas as pd

CLIMATOLOGY, RAW, GLOBAL = "climatology", "raw ensemble", "EMOS"
"""Forecasts that no comparison is without"""
LEVEL = 0.9
"""Of the central intervals"""
MOST_JOINT = 50
"""Members of a climatology in the scores of several variables, whose cost is quadratic in them"""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Forecasts of the same cases of D variables, in order of time, and what was observed."""

    train: Ensemble
    """The cases of the fits"""
    test: Ensemble
    """The cases of the forecasts"""
    model: RegimeEMOS
    forecasts: dict[str, Any]
    """By name, each a ``Forecast`` or members (n, M, D): climatology, the raw ensemble, EMOS without
    context, EMOS with it if there is one, and the regimes last"""
    seasonal: bool
    """Whether the climatology is one of the time of the year"""
    held_out: dict[str, Any] = field(default_factory=dict)
    """Forecasts of the cases of the fits, each by a fit to other blocks of them"""
    _scores: dict[tuple[str, int], np.ndarray] = field(default_factory=dict, init=False, repr=False)
    """CRPS that were computed before: those of mixtures take long"""

    @property
    def emos(self) -> list[str]:
        """Names of the EMOS without regimes."""
        return [name for name in self.forecasts if name.startswith(GLOBAL)]

    @property
    def regimes(self) -> str:
        """Name of the forecasts by regime."""
        return next(reversed(self.forecasts))

    def crps(self, name: str, d: int) -> Float[np.ndarray, "n"]:
        """Return the CRPS of the cases of the test, of variable d."""
        if (name, d) not in self._scores:
            self._scores[name, d] = crps_of(margin(self.forecasts[name], d), observed_of(self.test)[:, d])
        return self._scores[name, d]

    def inside(self, name: str, d: int) -> Float[np.ndarray, "n"]:
        """Return 1 where the observation of variable d lay in its 90 % interval, 0 where not, or NaN."""
        return inside(margin(self.forecasts[name], d), observed_of(self.test)[:, d], LEVEL).inside

    def in_time(self, scores: Float[np.ndarray, "n"]) -> Float[np.ndarray, "t"]:
        """Return the means of scores of cases of the same time, such as of several stations."""
        times = complete_times(self.test)
        if times is None or (times == times[0]).all():  # one date of all cases puts nothing in order
            return scores
        moments, of = np.unique(times, return_inverse=True)
        known = ~np.isnan(scores)
        sizes = np.bincount(of[known], minlength=len(moments))
        sums = np.bincount(of[known], scores[known], len(moments))
        return sums / np.where(sizes > 0, sizes, np.nan)

    def table(self, d: int) -> "pd.DataFrame":
        """Return a row a forecast of variable d.

        The columns are those of :func:`degmm.verification.skill_table` for the CRPS, held against EMOS
        without context; ``coverage``, ``nominal`` and ``width`` of the 90 % interval; and, where there
        are forecasts of held-out cases, their ``held_out_crps`` and ``held_out_coverage``.
        """
        table = skill_table({name: self.in_time(self.crps(name, d)) for name in self.forecasts}, GLOBAL)
        observed = observed_of(self.test)[:, d]
        for name, forecast in self.forecasts.items():
            part = margin(forecast, d)
            held = coverage(part, observed, LEVEL)
            low, high = central_interval(part, LEVEL)
            table.loc[name, ["coverage", "nominal"]] = held.coverage, held.nominal
            table.loc[name, "width"] = float(np.nanmean((high - low)[~np.isnan(observed)]))
        past = observed_of(self.train)[:, d]
        for name, forecast in self.held_out.items():
            part = margin(forecast, d)
            table.loc[name, "held_out_crps"] = float(np.nanmean(crps_of(part, past)))
            table.loc[name, "held_out_coverage"] = coverage(part, past, LEVEL).coverage
        return table

    def against_best(self, d: int) -> tuple[str, DieboldMariano]:
        """Return the better EMOS without regimes, and the test of the regimes against it."""
        scores = {name: self.in_time(self.crps(name, d)) for name in (*self.emos, self.regimes)}
        best = min(self.emos, key=lambda name: float(np.nanmean(scores[name])))
        return best, diebold_mariano(scores[self.regimes], scores[best])

    def joint(self, seed: int) -> "Joint | None":
        """Return scores of all variables together; None for one, or where none of the cases has all."""
        observed, D = observed_of(self.test), self.test.n_features
        complete = ~np.isnan(observed).any(axis=1)
        if D < 2 or complete.sum() < 2:
            return None
        unit = np.nanstd(observed_of(self.train), axis=0)
        unit = np.where(unit > 0, unit, 1)
        raw, rng = self.forecasts[RAW], np.random.default_rng(seed)
        noise = np.where(np.isnan(raw), np.nan, rng.normal(size=raw.shape))
        past = self.forecasts[CLIMATOLOGY]
        regimes, best = self.forecasts[self.regimes], self.forecasts[GLOBAL]
        members = {
            CLIMATOLOGY: past[:, :: -(-past.shape[1] // MOST_JOINT)],
            RAW: raw,
            f"{GLOBAL}, reordered": ecc(best, raw, random_state=rng),
            UNORDERED: ecc(regimes, noise, random_state=rng),
            "regimes, reordered": ecc(regimes, raw, random_state=rng),
        }
        transforms = self._past_transforms()
        if not np.isnan(transforms).any(axis=1).all():
            joined = error_copula(regimes, transforms, raw.shape[1], random_state=rng)
            members["regimes, copula of errors"] = joined
        scores = {
            kind: {name: self.in_time(score(part / unit, observed / unit)) for name, part in members.items()}
            for kind, score in JOINT.items()
        }
        return Joint(scores)

    def _past_transforms(self) -> Float[np.ndarray, "n D"]:
        """Return where past observations lay in their forecasts, of held-out cases if there are some."""
        forecast = self.held_out.get(self.regimes)
        if forecast is None:
            forecast = replace(self.model.predict(self.train), labels=None)
        return pit(forecast, observed_of(self.train))


UNORDERED = "regimes, unordered"
JOINT: dict[str, Callable[..., np.ndarray]] = {
    "energy score": energy_score,
    "variogram score": variogram_score,
}


@dataclass(frozen=True, eq=False)
class Joint:
    """Scores of several variables together, each divided by the standard deviation of its observations."""

    scores: dict[str, dict[str, np.ndarray]]
    """Of each kind and forecast, in order of time; those by regime last, first the unordered one"""

    def table(self, kind: str) -> "pd.DataFrame":
        """Return the scores of a kind, held against EMOS without context."""
        return skill_table(self.scores[kind], f"{GLOBAL}, reordered")

    def gains(self, kind: str) -> dict[str, DieboldMariano]:
        """Return the tests of the ordered ensembles by regime against the same without order."""
        scores = self.scores[kind]
        names = list(scores)
        ordered = names[names.index(UNORDERED) + 1 :]
        return {name: diebold_mariano(scores[name], scores[UNORDERED]) for name in ordered}


def evaluate(
    train: Ensemble,
    test: Ensemble,
    model: RegimeEMOS,
    *,
    context: Sequence[str] | None = None,
    folds: int = 0,
    tell: Callable[[str], None] = lambda _: None,
    progress: bool = False,
) -> Evaluation:
    """Fit a calibration by regime and what it must beat, and forecast the cases of a test.

    Parameters
    ----------
    train, test : Ensemble
        With observations, in order of time. Their own context counts, if they have one.
    model : RegimeEMOS
        Settings of the calibration, which is fitted here.
    context : sequence of str, optional
        Names of coordinates, or ``"season"``.
    folds : int
        Blocks of the training for forecasts of held-out cases; 0 for none.
    tell : callable
        Is told what comes next.
    progress : bool
        Whether to show which fit it is at.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If a fit refuses its settings or cases.
    """
    test = with_variables(test, train.variables)
    for part in (train, test):
        observations_of(part, None, part.values.shape[::2])
    named = None if context is None else list(context)
    calibrations: dict[str, tuple[EMOS | RegimeEMOS, list[str] | None]] = {
        GLOBAL: (EMOS(model.family, context_terms=False), None)
    }
    if named is not None or train.context is not None:
        calibrations[f"{GLOBAL} with {context_name(named)}"] = EMOS(model.family), named
    calibrations[f"regimes, K = {model.n_components}"] = model, named
    past, seasonal = climatology(train, test)
    forecasts: dict[str, Any] = {CLIMATOLOGY: past, RAW: members(test)}
    held_out: dict[str, Any] = {RAW: members(train)} if folds else {}
    with TrainingProgress(
        progress, len(calibrations) * (1 + folds), "calibrating", "fit", SECONDS_A_LINE
    ) as shown:
        for i, (name, (calibration, its_context)) in enumerate(calibrations.items()):
            tell(
                f"fitting {name} to {len(train)} cases" + (f", and to {folds} parts of them" if folds else "")
            )

            def report(done: int, text: str, before: int = i * (1 + folds), name: str = name) -> None:
                shown.report(before + done, f"{name}, {text}")

            def report_part(done: int, text: str, report: Callable[[int, str], None] = report) -> None:
                report(1 + done, text)

            report(0, "all cases")
            calibration.fit(train, context=its_context)
            if calibration.result_ is Result.NON_FINITE:
                raise ValueError(f"X: {name}: {calibration.result_.value}")
            forecasts[name] = calibration.predict(test)
            if folds:
                report(1, f"{folds} parts of them")
                found = cross_validated(
                    calibration,
                    train,
                    context=its_context,
                    n_blocks=folds,
                    tell=report_part,
                )
                held_out[name] = replace(found, labels=None)
    return Evaluation(train, test, model, forecasts, seasonal, held_out)


def context_name(named: Sequence[str] | None) -> str:
    """Return words for a context: its names, where it has such."""
    return "context" if named is None else " and ".join(named)


def crps_of(forecast: Any, observed: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Return the CRPS of a forecast of one variable, or of its members."""
    if isinstance(forecast, Forecast):
        return np.asarray(forecast.crps(observed))
    return crps_ensemble(forecast, observed)


def margin(forecast: Any, d: int) -> Any:
    """Return the forecast, or the members (n, M), of one variable."""
    if isinstance(forecast, Forecast):
        return forecast if len(forecast.shape) == 1 else forecast.margin(d)
    return forecast[..., d]


def members(data: Ensemble) -> Float[np.ndarray, "n M D"]:
    """Return the members, NaN where absent."""
    return np.asarray(data.values, np.float64)


def observed_of(data: Ensemble) -> Float[np.ndarray, "n D"]:
    """Return the observations."""
    assert data.observations is not None  # seen before the fits
    return np.asarray(data.observations, np.float64)
