"""The labelled ensemble: values with the names of their cases, members and variables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from degmm.ensembles.arrays import check_members, numbers_of
from degmm.ensembles.layout import Layout

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from degmm.ensembles.climatology import Climatology


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
    members : ndarray, shape (M,), optional
        Labels of the members; by default 0, 1, …
    observations : ndarray, shape (n, D), optional
        What was observed.
    weights : ndarray, shape (n,), optional
        Weights of the cases, which a fit takes where it is given no others.
    context : ndarray, shape (n, C), optional
        What else is known of each case, which a deep model takes where it is given no other.
    notes : tuple of str
        What a reader decided, one sentence each.
    climatology : Climatology, optional
        The seasonal cycle that was taken off the values (:meth:`anomalies`).
    layout : Layout, optional
        Places of the values in the Dataset that they were read from.
    """

    values: np.ndarray
    variables: tuple[str, ...]
    units: tuple[str, ...] = ()
    case_dim: str = "case"
    coords: Mapping[str, np.ndarray] = field(default_factory=dict)
    members: np.ndarray | None = None
    observations: np.ndarray | None = None
    weights: np.ndarray | None = None
    context: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    climatology: "Climatology | None" = None
    layout: Layout | None = None

    def __post_init__(self) -> None:
        n, M, D = check_members(self.values, "values").shape
        if len(self.variables) != D:
            raise ValueError(f"variables: {len(self.variables)} names for {D} variables in values")
        if len({*self.variables}) < D:  # they are matched by name
            twice = next(name for name in self.variables if self.variables.count(name) > 1)
            raise ValueError(f"variables: two are named {twice!r}; rename one")
        if self.units and len(self.units) != D:
            raise ValueError(f"units: {len(self.units)} units for {D} variables in values")
        for name, labels in self.coords.items():
            if len(labels) != n:
                raise ValueError(f"coords: {name!r} has {len(labels)} labels for {n} cases")
        if self.members is not None and len(self.members) != M:
            raise ValueError(f"members: {len(self.members)} labels for {M} members in values")
        for name in ("observations", "weights", "context"):
            part = getattr(self, name)
            if part is not None and part.dtype.kind not in "fiub":
                raise ValueError(f"{name}: expected real numbers, got dtype {part.dtype}")
        if self.observations is not None and self.observations.shape != (n, D):
            raise ValueError(f"observations: shape {self.observations.shape}, expected {(n, D)}")
        if self.weights is not None and self.weights.shape != (n,):
            raise ValueError(f"weights: shape {self.weights.shape}, expected {(n,)}")
        if self.context is not None and (self.context.ndim != 2 or len(self.context) != n):
            raise ValueError(f"context: shape {self.context.shape}, expected ({n}, C)")

    @classmethod
    def from_numpy(cls, values: Any, variables: Sequence[str] | None = None, **labels: Any) -> "Ensemble":
        """Return an ensemble of an array (n, M, D), or (n, D) for single members.

        Parameters
        ----------
        values : array-like
            NaN marks what is missing.
        variables : sequence of str, optional
            Their names; by default ``x1``, ``x2``, …
        **labels
            The other arguments of :class:`Ensemble`, such as ``units``, ``coords``, ``observations``. A
            single label is that of all cases.
        """
        values = numbers_of(values, "values")
        values = values[:, None] if values.ndim == 2 else values
        D = check_members(values, "values").shape[2]
        names = tuple(f"x{d + 1}" for d in range(D)) if variables is None else tuple(map(str, variables))
        for name in ("observations", "weights", "context"):
            if labels.get(name) is not None:
                labels[name] = np.asarray(numbers_of(labels[name], name), np.float64)
        if labels.get("observations") is not None and labels["observations"].ndim == 1 and D == 1:
            labels["observations"] = labels["observations"][:, None]
        labels["coords"] = {str(k): for_all(v, len(values)) for k, v in (labels.get("coords") or {}).items()}
        if labels.get("members") is not None:
            labels["members"] = np.asarray(labels["members"])
        units = labels.get("units")
        labels["units"] = () if units is None else tuple(map(str, units))
        return cls(values, names, **labels)

    @classmethod
    def from_xarray(cls, data: "xr.Dataset | xr.DataArray", **options: Any) -> "Ensemble":
        """Return the ensembles of a Dataset or DataArray with a member dimension.

        Parameters
        ----------
        data : xarray.Dataset or xarray.DataArray
        **options
            ``variables``, ``member_dim``, ``feature_dims``, ``control`` and ``observation``, as in
            :func:`degmm.read_ensemble`.
        """
        from degmm.ensembles.dataset import from_xarray

        return from_xarray(data, **options)

    @classmethod
    def from_dataframe(cls, table: "pd.DataFrame", **options: Any) -> "Ensemble":
        """Return the ensembles of a table; see :func:`degmm.ensembles.tables.from_dataframe`."""
        from degmm.ensembles.tables import from_dataframe

        return from_dataframe(table, **options)

    def to_xarray(self) -> "xr.Dataset":
        """Return the ensembles as a Dataset, laid out as the one that they were read from, if any."""
        from degmm.ensembles.export import to_xarray

        return to_xarray(self)

    def to_dataframe(self) -> "pd.DataFrame":
        """Return the ensembles as a wide table, a row a case; see :meth:`from_dataframe`."""
        from degmm.ensembles.frames import to_dataframe

        return to_dataframe(self)

    def __repr__(self) -> str:
        from degmm.ensembles.summary import summary

        return summary(self)

    # --- sizes ----------------------------------------------------------------------------------

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

    @property
    def member_labels(self) -> np.ndarray:
        """Labels of the members, shape (M,)."""
        return np.arange(self.n_members) if self.members is None else self.members

    @property
    def titles(self) -> tuple[str, ...]:
        """The variables as a picture names them, length D: ``t2m [K]``, ``anomaly of t2m [K]``."""
        units = self.units or ("",) * self.n_features
        of = "" if self.climatology is None else "anomaly of "
        pairs = zip(self.variables, units, strict=True)
        return tuple(f"{of}{name} [{unit}]" if unit else f"{of}{name}" for name, unit in pairs)

    # --- parts ----------------------------------------------------------------------------------

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
        if len(parts) > 12:  # grid points
            return f"{int(gaps.sum())} of {self.values.size} values, in {len(parts)} of {len(gaps)} variables"
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
        parts: dict[str, Any] = {
            name: None if part is None else part[index]
            for name, part in (
                ("observations", self.observations),
                ("weights", self.weights),
                ("context", self.context),
            )
        }
        return replace(
            self,
            values=self.values[index],
            coords={name: np.asarray(labels)[index] for name, labels in self.coords.items()},
            layout=None if self.layout is None else self.layout.of(cases=index),
            **parts,
        )

    def take_members(self, index: Any) -> "Ensemble":
        """Return all cases with some of their members, by place (a slice, or an array of int or bool)."""
        index = [index] if isinstance(index, int | np.integer) else index
        return replace(
            self,
            values=self.values[:, index],
            members=self.member_labels[index],
            layout=None if self.layout is None else self.layout.of(members=index),
        )

    def take_variables(self, index: Sequence[int]) -> "Ensemble":
        """Return all cases with some of their variables, by place, in the order given."""
        index = np.arange(self.n_features)[np.asarray(index)].tolist()
        return replace(
            self,
            values=self.values[..., index],
            variables=tuple(self.variables[d] for d in index),
            units=tuple(self.units[d] for d in index) if self.units else (),
            observations=None if self.observations is None else self.observations[:, index],
            climatology=None if self.climatology is None else self.climatology.of_variables(index),
            layout=None if self.layout is None else self.layout.of(features=index),
        )

    def places_of(self, member: Any) -> np.ndarray:
        """Return the places of the members of a label, which may be given as text."""
        found = np.flatnonzero(self.member_labels == member)
        if found.size:
            return found
        return np.flatnonzero([str(label) in (str(member), f"{member}.0") for label in self.member_labels])

    def drop_control(self, member: Any) -> "Ensemble":
        """Return the ensembles without the member of this label, such as a control run.

        A run from unperturbed initial conditions is not exchangeable with the others.

        Raises
        ------
        ValueError
            If there is no such member, or no other.
        """
        labels, found = self.member_labels, self.places_of(member)
        if found.size != 1:
            known = ", ".join(map(str, labels[:10])) + (", …" if len(labels) > 10 else "")
            raise ValueError(f"control: no member {member!r}; there are {known}")
        if len(labels) == 1:
            raise ValueError(f"control: member {member!r} is the only one; there would be none left")
        dropped = self.take_members(np.delete(np.arange(len(labels)), found))
        return replace(dropped, notes=(*self.notes, f"member {labels[found[0]]} left out as the control"))

    def split(self, at: Any = 2 / 3) -> tuple["Ensemble", "Ensemble"]:
        """Return the cases before a time, and those from it on.

        Parameters
        ----------
        at : float, or a time as text or datetime64
            A share of the cases between 0 and 1: in the order of their time where they have one, and
            cases of the same time stay together; else in their order. Or the time of the first case
            of the second part.
        """
        from degmm.ensembles.times import split

        first = split(self, at)
        return self[first], self[~first]

    def anomalies(
        self, by: str | Sequence[str] = "dayofyear", *, climatology: "Climatology | None" = None
    ) -> "Ensemble":
        """Return the departures of members and observations from the seasonal cycle.

        Parameters
        ----------
        by : str or sequence of str
            ``"dayofyear"`` (two harmonics of the year) or ``"month"`` (twelve means); besides it, names
            of coordinates, such as ``"station"`` or ``"lead"``, each label of which has a cycle of its own:
            ``["dayofyear", "station"]`` or ``"dayofyear,station"``.
        climatology : Climatology, optional
            The cycle to take off, such as ``train.anomalies().climatology`` for the cases of a test; by
            default it is fitted to these ensembles.
        """
        from degmm.ensembles.climatology import Climatology

        if self.climatology is not None:
            raise ValueError("anomalies: a climatology was taken off these ensembles before")
        climatology = Climatology.fit(self, by) if climatology is None else climatology
        return climatology.taken_off(self)


def for_all(labels: Any, n: int) -> np.ndarray:
    """Return labels of n cases, of which a single one is that of all."""
    labels = np.asarray(labels)
    return (
        np.repeat(labels.reshape(1), n) if labels.shape == () or (labels.shape == (1,) and n > 1) else labels
    )
