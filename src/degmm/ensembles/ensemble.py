"""The labelled ensemble: values with the names of their cases and variables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from degmm.ensembles.arrays import check_members


@dataclass(frozen=True, eq=False)  # arrays have no truth value to compare by
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

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of cases, members and variables, (n, M, D)."""
        n, M, D = self.values.shape
        return n, M, D

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype, copy=copy)

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

    def dropna(self) -> "Ensemble":
        """Return the cases that have at least one member.

        A member that misses one of its variables is absent, so a case goes where each of its members
        misses some variable. Members that are absent from other cases stay, as NaN.

        Raises
        ------
        ValueError
            If no case has a member.
        """
        present = self.counts > 0
        if not present.any():
            raise ValueError(
                f"every ensemble has a missing value in each of its members "
                f"(missing values: {self.missing()}); leave out a variable that is missing throughout"
            )
        return self[present]

    def missing(self) -> str:
        """Return how many values each variable misses, in words; ``none`` where all are there."""
        gaps = np.isnan(self.values).sum(axis=(0, 1))
        total = self.values[..., 0].size
        parts = [f"{name} {n} of {total}" for name, n in zip(self.variables, gaps, strict=True) if n]
        return ", ".join(parts) or "none"

    def __getitem__(self, index: Any) -> "Ensemble":
        """Return the cases that ``index`` selects.

        Parameters
        ----------
        index : int, slice, or list or array of int or bool
            An integer selects an ensemble of one case.

        Raises
        ------
        IndexError
            If a case is not there, or more than the cases are indexed.
        """
        # scikit-learn selects rows of what has a shape by X[rows, ...].
        if isinstance(index, tuple) and len(index) == 2 and index[1] is Ellipsis:
            index = index[0]
        if isinstance(index, tuple):
            raise IndexError(f"an Ensemble is indexed by its cases alone, not by {len(index)} indices")
        if isinstance(index, int | np.integer):
            if not -len(self) <= index < len(self):
                raise IndexError(f"case {index} is out of range for {len(self)} cases")
            index = [index]
        return Ensemble(
            values=self.values[index],
            variables=self.variables,
            units=self.units,
            case_dim=self.case_dim,
            coords={name: np.asarray(labels)[index] for name, labels in self.coords.items()},
            observations=None if self.observations is None else self.observations[index],
            notes=self.notes,
        )
