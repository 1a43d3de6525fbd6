"""What ``fit`` and ``select`` share: from the options to a model, from the file to its members."""

import inspect
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from degmm.ensembles import Ensemble, as_members, read_ensemble
from degmm.results import present_cases
from degmm.wording import counted


def make_model(name: str, settings: dict[str, Any], given: Collection[str]) -> Any:
    """Return the estimator ``name`` with those of the settings that it has.

    Raises
    ------
    ValueError
        If one of the settings that the user gave is none of the model's.
    """
    import degmm
    from degmm.families import make_family

    make_family(settings["member_model"], settings["covariance_type"])  # told before the file is read
    settings = settings | {"member_model": settings["member_model"].replace("-", "_")}
    estimator = getattr(degmm, name.upper())
    known = inspect.signature(estimator.__init__).parameters
    for setting in given:
        # Whether to show progress is no setting of the model: one that shows none obeys.
        if setting not in known and setting != "progress":
            raise ValueError(f"{setting}: model {name} has no such option")
    return estimator(**{key: value for key, value in settings.items() if key in known})


def read_cases(
    file: Path, variables: Sequence[str] | None, member_dim: str | None
) -> tuple[Ensemble, Ensemble]:
    """Return the ensembles of a file, all cases and those that have a member."""
    data = read_ensemble(file, variables=variables, member_dim=member_dim)
    _check_values(file, data)
    try:
        return data, data.dropna()
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def report_data(file: Path, data: Ensemble, kept: Ensemble) -> None:
    """Print what was read, and what was dropped of it."""
    print(f"{file}: {'; '.join(data.notes)}")
    print(
        f"n = {counted(len(kept), 'ensemble')}, M = {counted(kept.n_members, 'member')}, "
        f"D = {counted(kept.n_features, 'variable')}"
    )
    dropped_members = int((kept.n_members - kept.counts).sum())
    print(
        f"dropped for missing values: {len(data) - len(kept)} of {counted(len(data), 'ensemble')} "
        f"(no member left), and {counted(dropped_members, 'single member')} of the others"
    )
    if len(kept) < len(data) or dropped_members:
        print(f"missing values: {data.missing()}")
    flat = kept.values[kept.mask]
    constant = [name for name, column in zip(kept.variables, flat.T, strict=True) if np.ptp(column) == 0]
    if constant:
        print(f"constant, and of no use for clusters: {', '.join(constant)}")


def members_seen(file: Path, model: Any, kept: Ensemble) -> np.ndarray:
    """Return the members that a model is to see: of each ensemble all or, for gmm and dgmm, the first."""
    members = kept.values[:, :1] if model._single_member else kept.values
    if members.shape[1] < kept.n_members:
        print(f"{type(model).__name__} sees the first member of each ensemble")
        gaps = int(np.isnan(members).any(axis=(1, 2)).sum())
        if gaps:
            raise ValueError(
                f"{file}: the first member is missing in {counted(gaps, 'ensemble')}; use --model egmm"
            )
    return members


def _check_values(file: Path, data: Ensemble) -> None:
    """Check the values while cases have their places in the file, before those without members go."""
    present = present_cases(data)
    values = data.values if present.all() else np.where(present[:, None, None], data.values, 0)
    as_members(values, name=str(file))
