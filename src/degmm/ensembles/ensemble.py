"""The labelled ensemble: values with the names of their cases and variables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from degmm.ensembles.arrays import check_members


@dataclass(frozen=True)
class Ensemble:
    """Ensembles of exchangeable members, with labels.

    Parameters
    ----------
    values : ndarray, shape (n, M, D)
        Member m of case i has the variables ``values[i, m]``; NaN marks an absent member.
    variables : tuple of str, length D
        Names of the variables.
    units : tuple of str, length D, optional
        Units of the variables, ``""`` where unknown.
    case_dim : str
        Name of the dimension that runs over the cases.
    coords : mapping of str to ndarray, each of shape (n,), optional
        Labels of the cases, such as dates or stations.
    observations : ndarray, shape (n, D), optional
        What was observed.
    notes : tuple of str
        What a reader decided, one sentence each.
    """

    values: np.ndarray
    variables: tuple[str, ...]
    units: tuple[str, ...] = ()
    case_dim: str = "case"
    coords: Mapping[str, np.ndarray] = field(default_factory=dict)
    observations: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n, _, D = check_members(self.values, "values").shape
        if len(self.variables) != D:
            raise ValueError(f"variables: {len(self.variables)} names for {D} variables in values")
        if self.units and len(self.units) != D:
            raise ValueError(f"units: {len(self.units)} units for {D} variables in values")
        for name, labels in self.coords.items():
            if len(labels) != n:
                raise ValueError(f"coords: {name!r} has {len(labels)} labels for {n} cases")
        if self.observations is not None and self.observations.shape != (n, D):
            raise ValueError(f"observations: shape {self.observations.shape}, expected {(n, D)}")

    def __len__(self) -> int:
        return self.values.shape[0]

    @property
    def n_members(self) -> int:
        """Largest number of members of a case, M."""
        return self.values.shape[1]

    @property
    def n_features(self) -> int:
        """Number of variables, D."""
        return self.values.shape[2]

    @property
    def mask(self) -> np.ndarray:
        """Which members are present, shape (n, M): those with no missing variable."""
        return ~np.isnan(self.values).any(axis=-1)

    @property
    def counts(self) -> np.ndarray:
        """Number of members present in each case, shape (n,)."""
        return self.mask.sum(axis=1)

    def __getitem__(self, index: Any) -> "Ensemble":
        """Return the cases that ``index`` selects (slice, boolean or integer array)."""
        if isinstance(index, int | np.integer):
            index = slice(index, index + 1 or None)
        return Ensemble(
            values=self.values[index],
            variables=self.variables,
            units=self.units,
            case_dim=self.case_dim,
            coords={name: labels[index] for name, labels in self.coords.items()},
            observations=None if self.observations is None else self.observations[index],
            notes=self.notes,
        )
