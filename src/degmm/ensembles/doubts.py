"""What is odd about ensembles that were read, and what is made of it."""

from collections import Counter
from dataclasses import replace

import numpy as np

from degmm.ensembles.ensemble import Ensemble
from degmm.ensembles.missing import suspects
from degmm.ensembles.plausible import unlike_observations
from degmm.wording import counted

LEAST_COMPARED = 10
"""Cases of several members, in all of which these must be equal in a label"""
LEAST_NUMBERS, SHARE = 4, 0.02
"""Numbers of a case, and share of the cases, from which on repeated cases are told of"""
MOST = 2**24
"""Numbers beyond which repeated cases are not looked for"""


def told(data: Ensemble) -> Ensemble:
    """Return ensembles with notes of what is odd about them."""
    return replace(data, notes=(*data.notes, *suspects(data), *unlike_observations(data), *_repeated(data)))


def with_labels_told(data: Ensemble) -> Ensemble:
    """Return ensembles in which variables that never differ within a case, such as a height, are labels.

    They must differ between cases, and other variables within them: rain may be 0 in all members of all
    cases.
    """
    if data.n_features < 2 or data.n_members < 2 or (data.layout is not None and data.layout.inner_dims):
        return data
    several = (~np.isnan(data.values)).sum(axis=1) > 1
    same = np.zeros(data.n_features, bool)
    for d in range(data.n_features):
        values = data.values[several[:, d], :, d]
        if len(values) >= LEAST_COMPARED:
            low, high = np.nanmin(values, axis=1), np.nanmax(values, axis=1)
            same[d] = bool((low == high).all()) and low.min() < low.max()
    same &= [name not in data.coords for name in data.variables]
    if not same.any() or same.all():
        return data
    labels = {data.variables[d]: _of_cases(data.values[..., d]) for d in np.flatnonzero(same)}
    note = f"labels of cases, since they never differ within one: {', '.join(labels)}"
    kept = data.take_variables(np.flatnonzero(~same).tolist())
    return replace(kept, coords={**kept.coords, **labels}, notes=(*kept.notes, note))


def with_variable(data: Ensemble, name: str) -> Ensemble:
    """Return ensembles with a label of numbers as the variable that it is where it differs within cases."""
    numbers = np.asarray(data.coords[name], np.float64)[:, None, None]
    column = np.broadcast_to(numbers, (*data.values.shape[:2], 1)).astype(data.values.dtype)
    seen = data.observations
    return replace(
        data,
        values=np.concatenate([data.values, column], axis=2),
        variables=(*data.variables, name),
        units=(*data.units, "") if data.units else (),
        observations=None if seen is None else np.column_stack([seen, np.full(len(data), np.nan)]),
        layout=None,
    )


def _of_cases(values: np.ndarray) -> np.ndarray:
    """Return the one value that the members of each case have, NaN where it has none."""
    first = (~np.isnan(values)).argmax(axis=1)
    return values[np.arange(len(values)), first]


def _repeated(data: Ensemble) -> list[str]:
    """Return what is to be said of cases that are copies of others.

    Cases without a spread, such as dry ones, are often alike.
    """
    n, M, D = data.shape
    if M * D < LEAST_NUMBERS or n < 2 or n * M * D > MOST:
        return []
    absent = np.isnan(data.values)
    high, low = np.where(absent, -np.inf, data.values), np.where(absent, np.inf, data.values)
    varied = low[(high.max(axis=1) > low.min(axis=1)).any(axis=1)]
    times = np.array([*Counter(row.tobytes() for row in varied).values()], int)
    if not times.size:
        return []
    copies = int(times.sum() - len(times))
    if copies < max(2, SHARE * n):
        return []
    most = int(times.max())
    return [
        f"{counted(copies, 'case')} of {n} are copies of others, value by value (one is there {most} times), "
        "and count as so many independent cases; leave out those that are repeated by mistake"
    ]
