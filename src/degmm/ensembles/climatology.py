"""The seasonal cycle of ensembles, which raw temperatures mostly cluster by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from degmm.ensembles.texts import texts_of
from degmm.ensembles.times import YEAR, day_of_year, month_of, times_of

if TYPE_CHECKING:
    from degmm.ensembles.ensemble import Ensemble

HARMONICS = 2
CONDITION = 1e-4
"""Smallest singular value of a design over its largest: about 2e-3 for a season of daily cases, and 2e-5
for a month of them, from which harmonics of the year are not to be told"""
MONTHS = 12


@dataclass(frozen=True, eq=False)
class Climatology:
    """Means of the variables over the year, by group of cases.

    ``dayofyear``: a constant and two harmonics of the year by least squares; ``month``: the mean of each
    month. Both of the members of the ensembles they were fitted to; an ensemble counts as one.
    """

    by: tuple[str, ...]
    """First the cycle, then the coordinates whose labels have one each"""
    variables: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    """Labels of each group, as text; ``((),)`` where all cases are one"""
    coefficients: np.ndarray
    """(groups, terms, D)"""
    months: np.ndarray
    """(groups, 12): in which months there were cases"""

    @classmethod
    def fit(cls, data: "Ensemble", by: str | Sequence[str]) -> "Climatology":
        """Fit the cycle to the members of ensembles."""
        names = tuple(part.strip() for part in by.split(",")) if isinstance(by, str) else tuple(by)
        if not names or names[0] not in CYCLES:
            raise ValueError(f"by: expected 'dayofyear' or 'month' first, got {by!r}")
        design, months = _terms(data, names), _months(times_of(data, "anomalies")) > 0
        groups = _groups(data, names[1:])
        known = tuple(sorted(set(groups)))
        shown = np.where(data.mask[..., None], data.values, np.nan).astype(np.float64)
        present = data.mask.any(axis=1)
        means = np.full((len(data), data.n_features), np.nan)
        means[present] = np.nanmean(shown[present], axis=1)
        coefficients = np.zeros((len(known), design.shape[1], data.n_features))
        met = np.zeros((len(known), MONTHS), bool)
        for g, label in enumerate(known):
            mine = np.array([group == label for group in groups]) & present
            where = f" of {', '.join(label)}" if label else ""
            seen = design[mine].any(axis=0)  # months without a case have no mean
            if not _determined(design[mine][:, seen], names[0]):
                raise ValueError(
                    f"by: the {int(mine.sum())} cases{where} do not cover the year, so a cycle by "
                    f"{names[0]!r} cannot be told from them"
                    + ("; try 'month'" if names[0] == "dayofyear" and mine.any() else "")
                )
            met[g] = months[mine].any(axis=0)
            coefficients[g] = np.nan
            coefficients[g, seen] = np.linalg.lstsq(design[mine][:, seen], means[mine], rcond=None)[0]
        return cls(names, data.variables, known, coefficients, met)

    def of(self, data: "Ensemble") -> np.ndarray:
        """Return the cycle at the cases of ensembles, shape (n, D)."""
        index = self._index(data)
        design, places = _terms(data, self.by), {label: g for g, label in enumerate(self.groups)}
        groups = _groups(data, self.by[1:])
        unknown = [i for i, group in enumerate(groups) if group not in places]
        if unknown:
            label = ", ".join(groups[unknown[0]])
            raise ValueError(f"X: case {unknown[0]} is of {label}, which the climatology does not know")
        mine = [places[group] for group in groups]
        month = month_of(times_of(data, "anomalies"))
        strange = ~self._reached()[mine, month]
        if strange.any():
            i = int(np.argmax(strange))
            raise ValueError(
                f"X: case {i} is of month {month[i] + 1}, which the climatology has not seen"
                + (f" of {', '.join(groups[i])}" if groups[i] else "")
            )
        return np.einsum("nt,ntd->nd", design, np.nan_to_num(self.coefficients[mine]))[:, index]

    def _index(self, data: "Ensemble") -> list[int]:
        """Return the places of the variables of ensembles among those of this climatology."""
        missing = [name for name in data.variables if name not in self.variables]
        if missing:
            raise ValueError(
                f"X: the climatology has no variable {missing[0]!r}; it is of {', '.join(self.variables)}"
            )
        return [self.variables.index(name) for name in data.variables]

    def _reached(self) -> np.ndarray:
        """Return in which months the cycle of a group holds, (groups, 12).

        A mean holds in its month; a curve also in a month between two others, but not beyond them,
        where harmonics of a part of the year run away.
        """
        if self.by[0] == "month":
            return self.months
        return self.months | (np.roll(self.months, 1, axis=1) & np.roll(self.months, -1, axis=1))

    def taken_off(self, data: "Ensemble") -> "Ensemble":
        """Return the departures from the cycle."""
        cycle = self.of(data)
        by = " and ".join(self.by)
        return replace(
            data,
            values=(data.values - cycle[:, None]).astype(data.values.dtype),
            observations=None if data.observations is None else data.observations - cycle,
            notes=(*data.notes, f"anomalies from the mean by {by}"),
            climatology=self.of_variables(self._index(data)),
            layout=None if data.layout is None else data.layout.of_other_values(),
        )

    def of_variables(self, index: Sequence[int]) -> "Climatology":
        """Return the cycle of some of the variables, by place."""
        index = list(index)
        names = tuple(self.variables[d] for d in index)
        return replace(
            self, variables=names, coefficients=np.ascontiguousarray(self.coefficients[..., index])
        )

    def same(self, other: "Climatology") -> bool:
        """Return whether another climatology is equal to this one."""
        facts = self.facts() == other.facts() and self.variables == other.variables
        return facts and np.array_equal(self.coefficients, other.coefficients, equal_nan=True)

    # --- on disk: an array, and facts that JSON can hold ----------------------------------------

    def facts(self) -> dict[str, Any]:
        """Return all but the coefficients."""
        return {
            "by": list(self.by),
            "groups": [list(group) for group in self.groups],
            "months": [np.flatnonzero(months).tolist() for months in self.months],
        }

    @classmethod
    def restored(
        cls, facts: Mapping[str, Any], coefficients: np.ndarray, variables: Sequence[str]
    ) -> "Climatology":
        """Return a climatology from its facts, its coefficients and the names of the variables."""
        groups = tuple(tuple(map(str, group)) for group in facts["groups"])
        by = tuple(map(str, facts["by"]))
        months = np.zeros((len(groups), MONTHS), bool)
        terms = {"month": MONTHS, "dayofyear": 1 + 2 * HARMONICS}
        sound = by[0] in CYCLES and coefficients.shape == (len(groups), terms[by[0]], len(variables))
        sound = sound and all(len(group) == len(by) - 1 for group in groups)
        if not sound or len(facts["months"]) != len(groups):
            raise ValueError("the climatology is damaged")
        for seen, numbers in zip(months, facts["months"], strict=True):
            seen[list(map(int, numbers))] = True
        absent = ~months[:, :, None] if by[0] == "month" else False  # a cycle has no mean of other months
        if np.isinf(coefficients).any() or (np.isnan(coefficients) != absent).any():
            raise ValueError("the climatology has coefficients that are no numbers")
        return cls(by, tuple(variables), groups, coefficients, months)


def _determined(design: np.ndarray, cycle: str) -> bool:
    """Return whether cases tell all terms of a cycle, and leave something beside it."""
    if cycle == "month":
        return len(design) > 0
    values = np.linalg.svd(design, compute_uv=False)
    return len(design) > design.shape[1] and bool(values[-1] > CONDITION * values[0])


def _harmonics(times: np.ndarray) -> np.ndarray:
    angle = 2 * np.pi * day_of_year(times) / YEAR
    waves = [part(h * angle) for h in range(1, HARMONICS + 1) for part in (np.cos, np.sin)]
    return np.stack([np.ones(len(times)), *waves], axis=1)


def _months(times: np.ndarray) -> np.ndarray:
    return np.eye(MONTHS)[month_of(times)]


CYCLES = {"dayofyear": _harmonics, "month": _months}


def _terms(data: "Ensemble", by: Sequence[str]) -> np.ndarray:
    return CYCLES[by[0]](times_of(data, "anomalies"))


def _groups(data: "Ensemble", names: Sequence[str]) -> list[tuple[str, ...]]:
    for name in names:
        if name not in data.coords:
            known = ", ".join(data.coords) or "none"
            raise ValueError(f"by: no coordinate {name!r} (coordinates: {known})")
    texts = [texts_of(data.coords[name], "by", name).tolist() for name in names]
    return list(zip(*texts, strict=True)) if names else [()] * len(data)
