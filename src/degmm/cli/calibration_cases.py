"""The cases of ``degmm calibrate``: in order of time, parted into training and test."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from degmm.calibration.observations import without_rounding
from degmm.cli.inputs import MOST_SHOWN, read_cases
from degmm.cli.options import CalibrationOptions, DataOptions
from degmm.cli.session import Session
from degmm.datasets import make_lorenz96
from degmm.ensembles import Ensemble
from degmm.ensembles.context import SEASON, ContextRecipe
from degmm.ensembles.times import YEAR, complete_times, month_of, split
from degmm.evaluation import context_name
from degmm.wording import counted, percent

DEMO = "demo.nc"
DEMO_CASES, DEMO_MEMBERS = 3000, 20
TRAIN = 2 / 3
LEAST = 10
"""Cases of the test with an observation, below which forecasts are not compared"""
MONTHS = 10
"""With cases of the training, below which the season is not told from them"""
MANY_ZEROS = 0.05
"""Share of the observations"""
NOTHING = "none"
"""Name of no context"""


class Trial(NamedTuple):
    """Cases for the fits, and cases to judge them by."""

    train: Ensemble
    test: Ensemble
    context: list[str] | None
    """Names of coordinates; None for the ensembles' own context, or none"""


def demo_cases(session: Session, seed: int) -> Ensemble:
    """Return generated forecasts, and say what they are."""
    # as a file of them is read, where the season is made of the dates
    data = replace(make_lorenz96(DEMO_CASES, DEMO_MEMBERS, seed), context=None)
    session.note(
        "the Lorenz-96 system, a chaotic model of the air around a circle of latitude, forecast 5 days ahead "
        f"by a model that is not quite that system: {counted(len(data), 'case')} of "
        f"{counted(data.n_members, 'member')}, {counted(data.n_features, 'variable')}, one case in two days, "
        f"seed {seed}"
    )
    return data


def file_cases(session: Session, file: Path, options: DataOptions) -> Ensemble:
    """Return the ensembles of a file that have observations, in order of time."""
    data = read_cases(session, file, options).kept
    if data.observations is None:
        raise ValueError(
            f"{file}: no observations of {', '.join(data.variables[:MOST_SHOWN])}, without which there is "
            "nothing to calibrate to; name them with --observation"
        )
    if data.n_features > MOST_SHOWN:
        raise ValueError(
            f"{file}: {data.n_features} variables, of which at most {MOST_SHOWN} are calibrated at once; "
            "choose with --variable, or leave out --feature-dim"
        )
    for name, column in zip(data.variables, data.observations.T, strict=True):
        if np.isnan(column).all():
            raise ValueError(f"{file}: every observation of {name} is missing (NaN)")
    observed, count = without_rounding(data.observations)
    if count:
        session.note(f"below 0 by no more than rounding, and so taken for 0: {counted(count, 'observation')}")
        data = replace(data, observations=observed)
    times = complete_times(data)
    return data if times is None else data[np.argsort(times, kind="stable")]


def parted(session: Session, data: Ensemble, options: CalibrationOptions, source: str) -> Trial:
    """Return the cases of the training and of the test, and say which they are and what the context is."""
    at = options.split if options.split is not None else TRAIN if options.train is None else options.train
    first = split(data, at)
    train, test = data[first], data[~first]
    for name, past, future in zip(data.variables, *map(_observed, (train, test)), strict=True):
        if not past:
            raise ValueError(
                f"{source}: no observation of {name} in the training, the first {len(train)} cases"
            )
        if future < LEAST:
            raise ValueError(
                f"{source}: {counted(future, 'case')} of the test with an observation of {name}, and {LEAST} "
                "are the least to compare forecasts by; lower --train"
            )
    session.note(
        f"training: {_cases(train)}, to which everything is fitted; test: {_cases(test)}, by which it is "
        "judged"
    )
    context, train, test = _context(session, train, test, options.context_of)
    return Trial(train, test, context)


def tell_zeros(session: Session, data: Ensemble) -> None:
    """Say which variables, such as rain, no normal distribution is for: never below 0, and often 0."""
    assert data.observations is not None  # seen when they were read
    for name, observed in zip(data.variables, data.observations.T, strict=True):
        known = observed[~np.isnan(observed)]
        zeros = float((known == 0).mean()) if len(known) else 0.0
        if zeros > MANY_ZEROS and known.min() == 0:
            session.note(
                f"{name}: none of the observations is below 0 and {percent(zeros)} are 0, which no normal "
                "distribution can be; --family censored_logistic or censored_gamma are for that"
            )


def _observed(data: Ensemble) -> list[int]:
    assert data.observations is not None  # seen when they were read
    return [int(count) for count in (~np.isnan(data.observations)).sum(axis=0)]


def _cases(data: Ensemble) -> str:
    times = complete_times(data)
    dates = "" if times is None else " of {} to {}".format(*times[[0, -1]].astype("datetime64[D]"))
    return f"{counted(len(data), 'case')}{dates}"


def _context(
    session: Session, train: Ensemble, test: Ensemble, asked: Sequence[str] | None
) -> tuple[list[str] | None, Ensemble, Ensemble]:
    """Return what the forecasts may depend on, and the cases with no context but that."""
    if asked:
        train, test = replace(train, context=None), replace(test, context=None)
        if list(asked) == [NOTHING]:
            session.note("context: none")
            return None, train, test
        _check_context(train, test, asked)
        session.note(f"context: {context_name(asked)}")
        return list(asked), train, test
    if train.context is not None:
        session.note(f"context: that of the file, {counted(train.context.shape[1], 'column')}")
        return None, train, test
    times = complete_times(train)
    if times is None:
        session.note("context: none, since the cases have no dates")
        return None, train, test
    months = np.unique(month_of(times)).size
    if months < MONTHS or (times[-1] - times[0]) / np.timedelta64(1, "D") < YEAR - 1:
        session.note(
            "context: none, since the training does not cover the year; --context season takes it all the "
            "same"
        )
        return None, train, test
    session.note("context: season, the sine and cosine of the day of the year; --context none goes without")
    return [SEASON], train, test


def _check_context(train: Ensemble, test: Ensemble, asked: Sequence[str]) -> None:
    """See before the fits that all cases have a context, and that it varies in the training."""
    recipe = ContextRecipe.fit(train, asked)
    values = recipe.of(train)
    recipe.of(test)
    constant = [name for name, column in zip(recipe.columns, values.T, strict=True) if not np.ptp(column)]
    if constant:
        raise ValueError(
            f"context: {constant[0]} does not vary in the {counted(len(train), 'case')} of the training, so "
            "that nothing can be learned of it; leave it out"
        )
