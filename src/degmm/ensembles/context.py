"""Context of ensembles from their coordinates: the season, the lead, a station, or any other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from degmm.ensembles.ensemble import Ensemble
from degmm.ensembles.texts import texts_of
from degmm.ensembles.times import YEAR, dates_in, day_of_year, decimal_year, times_of

SEASON = "season"
LABELS = ("station", "site", "location", "id", "season")
"""Coordinates that are labels even where they are numbers"""
MOST_LABELS = 1000


NUMBERS, DATES, DURATIONS = "numbers", "dates", "durations"


@dataclass(frozen=True)
class ContextRecipe:
    """How the columns of a context are made of coordinates, so that new cases get the same.

    ``season`` gives the sine and cosine of the day of the year, where no coordinate is so named; a
    coordinate of numbers gives itself, one of durations its hours, one of dates its year with the fraction,
    and one of labels a column a label, of which the first layer of a network makes an embedding.
    """

    names: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]
    """Known labels of the coordinates that are no numbers"""
    kinds: Mapping[str, str]
    """What the other coordinates are of: numbers, dates or durations"""

    @classmethod
    def fit(cls, data: Ensemble, names: str | Sequence[str]) -> "ContextRecipe":
        """Return the recipe for some coordinates of ensembles."""
        names = (names,) if isinstance(names, str) else tuple(names)
        labels: dict[str, tuple[str, ...]] = {}
        kinds: dict[str, str] = {}
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"context: {name!r} is named twice")
            if name == SEASON and SEASON not in data.coords:
                times_of(data, "context")
                continue
            values = _coordinate(data, name)
            kind = _kind(name, values)
            if name not in LABELS and kind is not None:
                kinds[name] = kind
                continue
            labels[name] = tuple(sorted({*texts_of(values, "context", name).tolist()}))
            if len(labels[name]) > MOST_LABELS:
                raise ValueError(
                    f"context: {name!r} has {len(labels[name])} labels, too many to learn one by one"
                )
        return cls(names, labels, kinds)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        found: list[str] = []
        for name in self.names:
            if name in self.labels:
                found += [f"{name}: {label}" for label in self.labels[name]]
            elif name in self.kinds:
                found.append(name)
            else:
                found += ["season (sine)", "season (cosine)"]
        return tuple(found)

    def of(self, data: Ensemble) -> np.ndarray:
        """Return the context of ensembles, shape (n, C).

        Raises
        ------
        ValueError
            If a coordinate is missing or of another kind, or has a label that was not seen in the fit.
        """
        columns: list[np.ndarray] = []
        for name in self.names:
            if name in self.labels:
                columns += _one_hot(name, self.labels[name], _coordinate(data, name))
            elif name in self.kinds:
                columns.append(_numbers(name, self.kinds[name], _coordinate(data, name)))
            else:
                angle = 2 * np.pi * day_of_year(times_of(data, "context")) / YEAR
                columns += [np.sin(angle), np.cos(angle)]
        return np.stack(columns, axis=1)


def _kind(name: str, values: np.ndarray) -> str | None:
    """Return what a coordinate is of; None for labels."""
    if dates_in(name, values) is not None:
        return DATES
    return {"m": DURATIONS, "f": NUMBERS, "i": NUMBERS, "u": NUMBERS, "b": NUMBERS}.get(values.dtype.kind)


def _one_hot(name: str, known: tuple[str, ...], values: np.ndarray) -> list[np.ndarray]:
    texts = texts_of(values, "context", name)
    unknown = ~np.isin(texts, known)
    if unknown.any():
        i = int(np.argmax(unknown))
        raise ValueError(
            f"context: case {i} has {name} {str(texts[i])!r}, which was not there in the fit; there were "
            f"{', '.join(known[:12])}{', …' if len(known) > 12 else ''}"
        )
    return [(texts == label).astype(np.float64) for label in known]


def _numbers(name: str, kind: str, values: np.ndarray) -> np.ndarray:
    given = _kind(name, values)
    if given != kind:
        raise ValueError(
            f"context: coordinate {name!r} was of {kind} in the fit, here of {given or 'labels'}"
        )
    if kind == DATES:
        times = dates_in(name, values)
        assert times is not None  # its kind says so
        numbers = decimal_year(times)
    else:
        numbers = values / np.timedelta64(1, "h") if kind == DURATIONS else values.astype(np.float64)
    if not np.isfinite(numbers).all():
        i = int(np.argmin(np.isfinite(numbers)))
        raise ValueError(f"context: case {i} has no {name} ({values[i]})")
    return numbers


def _coordinate(data: Ensemble, name: str) -> np.ndarray:
    if name not in data.coords:
        known = ", ".join(dict.fromkeys([*data.coords, SEASON]))
        raise ValueError(f"context: no coordinate {name!r} of the cases; there are {known}")
    return np.asarray(data.coords[name])


def named_context(context: Any) -> tuple[str, ...] | None:
    """Return the names in a context that names coordinates; None where it is an array of numbers."""
    names = (context,) if isinstance(context, str) else context
    if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None
