"""From options to a model, and from a file to ensembles: what ``describe``, ``fit`` and ``select`` share."""

import inspect
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from degmm.cli.options import DataOptions
from degmm.cli.session import Session
from degmm.ensembles import Ensemble, as_members, read_ensemble, unlike_members
from degmm.results import present_cases
from degmm.wording import counted

MOST_SHOWN = 12
"""Variables that are told of one by one"""


@dataclass(frozen=True)
class Cases:
    """The ensembles of a file."""

    file: Path
    whole: Ensemble
    """All cases"""
    kept: Ensemble
    """Those with a member, as anomalies if these were asked for"""


def make_model(name: str, settings: dict[str, Any], given: Collection[str]) -> tuple[Any, set[str]]:
    """Return the estimator ``name`` with those of the settings that it has, and the names of the others.

    Raises
    ------
    ValueError
        If one of the settings that the user gave is none of the model's.
    """
    import degmm
    from degmm.families import make_family

    make_family(settings["member_model"], settings["covariance_type"])  # told before the file is read
    settings = {key: getattr(value, "value", value) for key, value in settings.items()}
    settings["member_model"] = settings["member_model"].replace("-", "_")
    estimator = getattr(degmm, name.upper())
    known = inspect.signature(estimator.__init__).parameters
    for setting in settings:
        # Whether to show progress is no setting of the model: one that shows none obeys.
        if setting in given and setting not in known and setting != "progress":
            raise ValueError(f"{setting}: model {name} has no such option")
    model = estimator(**{key: value for key, value in settings.items() if key in known})
    return model, {key for key in settings if key not in known}


def read_cases(
    session: Session,
    file: Path,
    options: DataOptions,
    anomalies: str | None = None,
    control: Any = None,
) -> Cases:
    """Read the ensembles of a file, and say what was read, dropped and looks odd.

    ``control`` is a member to leave out if it is there.
    """
    try:
        data = read_ensemble(file, **vars(options))
    except ValueError as error:
        if not file.exists() and "file" in session.configured:
            raise ValueError(f"{error}; it is named in --config, as seen from {Path.cwd()}") from error
        raise
    if control is not None and data.places_of(control).size:
        data = data.drop_control(control)
    _check_values(file, data)
    try:
        kept = data.dropna()
        if anomalies is not None:
            kept = kept.anomalies(anomalies)
    except ValueError as error:
        if anomalies is not None and str(error).startswith(("by:", "anomalies:")):
            raise
        raise ValueError(f"{file}: {error}") from error
    cases = Cases(file, data, kept)
    _report(session, cases)
    return cases


def seen_by(session: Session, model: Any, cases: Cases) -> Ensemble:
    """Return what a model is to see: of each ensemble all members or, for gmm and dgmm, the first."""
    kept = cases.kept
    if not model._single_member or kept.n_members == 1:
        return kept
    session.note(f"{type(model).__name__} sees the first member of each ensemble")
    first = kept.take_members(slice(0, 1))
    gaps = int((~first.mask).sum())
    if gaps:
        raise ValueError(
            f"{cases.file}: the first member is missing in {counted(gaps, 'ensemble')}; use --model egmm"
        )
    return first


def _report(session: Session, cases: Cases) -> None:
    """Say what was decided and dropped, and which members are unlike the others."""
    data, kept = cases.whole, cases.kept
    session.note(f"{cases.file}: {'; '.join(kept.notes)}")
    session.note(
        f"n = {counted(len(kept), 'ensemble')}, M = {counted(kept.n_members, 'member')}, "
        f"D = {counted(kept.n_features, 'variable')}"
    )
    dropped_members = int((kept.n_members - kept.counts).sum())
    session.note(
        f"dropped for missing values: {len(data) - len(kept)} of {counted(len(data), 'ensemble')} "
        f"(no member left), and {counted(dropped_members, 'single member')} of the others"
    )
    if len(kept) < len(data) or dropped_members:
        session.note(f"missing values: {data.missing()}")
    mask = kept.mask
    low, high = (f(kept.values, axis=(0, 1), where=mask[..., None], initial=i) for f, i in LIMITS)
    constant = [name for name, a, b in zip(kept.variables, low, high, strict=True) if a == b]
    if constant:
        session.note(f"constant, and of no use for clusters: {_some(constant)}")
    for member in unlike_members(kept):
        session.warning(f"{member.sentence()}; --control {member.label} leaves it out")


LIMITS: Any = ((np.min, np.inf), (np.max, -np.inf))


def _some(names: list[str]) -> str:
    more = len(names) - MOST_SHOWN
    return ", ".join(names[:MOST_SHOWN]) + (f" and {more} others" if more > 0 else "")


def _check_values(file: Path, data: Ensemble) -> None:
    """Check the values while cases have their places in the file, before those without members go."""
    present = present_cases(data)
    values = data.values if present.all() else np.where(present[:, None, None], data.values, 0)
    as_members(values, name=str(file))
