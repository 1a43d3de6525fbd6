"""The climatology of a trial: what was observed before, at the same place and time of the year."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from degmm.ensembles import Ensemble
from degmm.ensembles.texts import texts_of
from degmm.ensembles.times import complete_times, dates_in
from degmm.verification import climatology_ensemble

MOST_PAST = 1000
"""Past observations of a climatology that are kept, where they have no dates"""
MOST_PLACES = 0.1
"""Places a case, at most, where no dates tell a place from what changes with time"""


class Places(NamedTuple):
    """Cases of the training and of the test by place."""

    names: tuple[str, ...]
    """Labels that tell the places; none where there is one place, or places cannot be told"""
    groups: list[tuple[Int[np.ndarray, "a"], Int[np.ndarray, "b"]]]
    """Of each place, the numbers of its cases in the training and in the test"""


def places_of(train: Ensemble, test: Ensemble) -> Places:
    """Return the cases by what labels beside their time tell apart: stations, points of a grid, leads.

    Such a label differs between cases of the same day, unlike a month or a season, and its values in the
    test are all known from the training. All is one place where one of the places has no past observation.
    """
    together = Places((), [(np.arange(len(train)), np.arange(len(test)))])
    chosen: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name in train.coords:
        if name not in test.coords or any(
            dates_in(name, part.coords[name]) is not None for part in (train, test)
        ):
            continue
        try:
            old, new = (texts_of(part.coords[name], "climatology", name) for part in (train, test))
        except ValueError:  # one is missing
            continue
        if np.isin(new, old).all() and _tells_places(old, train):
            chosen[name] = old, new
    if not chosen:
        return together
    both = [np.concatenate(pair) for pair in chosen.values()]
    codes = np.stack([np.unique(labels, return_inverse=True)[1].reshape(-1) for labels in both], axis=1)
    place = np.unique(codes, axis=0, return_inverse=True)[1].reshape(-1)
    old_place, new_place = place[: len(train)], place[len(train) :]
    known = ~np.isnan(_observed(train))
    groups = []
    for one in np.unique(new_place):
        of_train = np.flatnonzero(old_place == one)
        if not known[of_train].any(axis=0).all():
            return together
        groups.append((of_train, np.flatnonzero(new_place == one)))
    return Places(tuple(chosen), groups)


def climatology(train: Ensemble, test: Ensemble) -> tuple[Float[np.ndarray, "n M D"], bool]:
    """Return past observations of the same place as members, and whether of the time of the year.

    They are of the time of the year if there are such for all cases.
    """
    groups = places_of(train, test).groups
    old, new = complete_times(train), complete_times(test)
    observed = _observed(train)
    if old is not None and new is not None:
        try:
            dated = [_dated(observed[a], old[a], new[b]) for a, b in groups]
            return _in_order(dated, groups, len(test)), True
        except ValueError:  # a time of the year without an observation
            pass
    undated = [_undated(observed[a], len(b)) for a, b in groups]
    return _in_order(undated, groups, len(test)), False


def _tells_places(labels: np.ndarray, data: Ensemble) -> bool:
    values, codes = np.unique(labels, return_inverse=True)
    if len(values) < 2:
        return False
    times = complete_times(data)
    if times is None:
        return len(values) <= MOST_PLACES * len(labels)
    days = np.unique(times.astype("M8[D]"), return_inverse=True)[1].reshape(-1)
    pairs = np.unique(np.stack([days, codes.reshape(-1)], axis=1), axis=0)
    return len(pairs) > len(np.unique(days))


def _observed(data: Ensemble) -> Float[np.ndarray, "n D"]:
    assert data.observations is not None  # seen before the fits
    return np.asarray(data.observations, np.float64)


def _columns(past: Float[np.ndarray, "n D"]) -> list[Float[np.ndarray, "n d"]]:
    """Return all variables together; where they were never observed together, each by itself."""
    joint = ~np.isnan(past).any(axis=1)
    return [past] if joint.any() else [column[:, None] for column in past.T]


def _dated(past: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    return _side_by_side([climatology_ensemble(part, old, new) for part in _columns(past)])


def _undated(past: np.ndarray, n_cases: int) -> np.ndarray:
    found = []
    for part in _columns(past):
        known = part[~np.isnan(part).any(axis=1)]
        every = -(-len(known) // MOST_PAST)
        found.append(climatology_ensemble(known[::every], n_cases=n_cases))
    return _side_by_side(found)


def _side_by_side(parts: list[np.ndarray]) -> np.ndarray:
    if len(parts) == 1:
        return parts[0]
    most = max(part.shape[1] for part in parts)
    return np.concatenate([_padded(part, most) for part in parts], axis=2)


def _in_order(
    parts: list[np.ndarray], groups: list[tuple[np.ndarray, np.ndarray]], n: int
) -> Float[np.ndarray, "n M D"]:
    """Return the members of all places, in the order of the cases."""
    if len(parts) == 1:
        return parts[0]
    whole = np.full((n, max(part.shape[1] for part in parts), parts[0].shape[2]), np.nan)
    for part, (_, cases) in zip(parts, groups, strict=True):
        whole[cases, : part.shape[1]] = part
    return whole


def _padded(part: np.ndarray, most: int) -> np.ndarray:
    return np.pad(part, [(0, 0), (0, most - part.shape[1]), (0, 0)], constant_values=np.nan)
