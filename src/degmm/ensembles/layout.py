"""Where the values of an :class:`Ensemble` lie in an xarray Dataset, and the way back to one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from degmm.ensembles.packing import holds, stored_as

if TYPE_CHECKING:
    import xarray as xr


STORED = ("_FillValue", "dtype", "scale_factor", "add_offset")
"""Of a variable's encoding, what says how its values are stored; the rest is about one file"""


@dataclass(frozen=True, eq=False)
class Layout:
    """Places of cases, members and variables in the Dataset that they were read from."""

    template: "xr.Dataset"
    """That Dataset without the values of members and observations: coordinates, attributes, and what has
    no members"""
    arrays: Mapping[str, "xr.Variable"]
    """Data variables of the members by name: an empty one each, for dimensions, type and attributes"""
    case_dims: tuple[str, ...]
    sizes: tuple[int, ...]
    """Sizes of the case dimensions in that Dataset"""
    member_dim: str
    cases: np.ndarray
    """(n, number of case dimensions): place of each case"""
    members: np.ndarray
    """(M,): place of each member"""
    features: np.ndarray
    """(D, 1 + number of inner dimensions): number of the data variable, and the place in it"""
    inner_dims: tuple[str, ...] = ()
    """Dimensions that run over variables: one of their labels, and those of a grid"""
    inner_places: tuple[np.ndarray, ...] = ()
    """Which places of each of these dimensions are kept, in order, also where no value is"""
    observations: Mapping[str, tuple[str, "xr.Variable"]] = field(default_factory=dict)
    """Name and empty variable of the observations of each data variable, by its name"""

    def of(
        self,
        *,
        cases: Any = slice(None),
        members: Any = slice(None),
        features: Any = slice(None),
    ) -> "Layout":
        """Return the layout of some cases, members and variables."""
        chosen = self.features[features]
        whole = isinstance(features, slice) and features == slice(None)
        inner = range(len(self.inner_dims))
        return replace(
            self,
            cases=self.cases[cases],
            members=self.members[members],
            features=chosen,
            inner_places=self.inner_places if whole else tuple(np.unique(chosen[:, 1 + k]) for k in inner),
        )

    def of_other_values(self) -> "Layout":
        """Return the layout of values that were computed from those in the Dataset, such as anomalies.

        They need not fit into the integers that a file packs its values in, and what has no members is
        no longer of the same kind.
        """
        observations = {k: (name, _plain(like)) for k, (name, like) in self.observations.items()}
        return replace(
            self,
            template=self.template.drop_vars(list(self.template.data_vars)),
            arrays={name: _plain(like) for name, like in self.arrays.items()},
            observations=observations,
        )

    def grid(self) -> tuple[np.ndarray, ...] | None:
        """Return the places along each case dimension whose product the cases are; None if they are none."""
        places = [column[np.sort(np.unique(column, return_index=True)[1])] for column in self.cases.T]
        if int(np.prod([len(p) for p in places])) != len(self.cases):
            return None
        product = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1).reshape(-1, len(places))
        return tuple(places) if np.array_equal(product, self.cases) else None

    def case_sizes(self) -> tuple[int, ...]:
        """Return the sizes of the dimensions of the cases as they are laid out."""
        grid = self.grid()
        return (len(self.cases),) if grid is None else tuple(map(len, grid))

    def cases_of(self, dataset: "xr.Dataset", name: str) -> "xr.Dataset":
        """Return a Dataset at the cases alone, along one dimension ``name`` where they are no grid."""
        grid = self.grid()
        if grid is not None:
            pairs = zip(self.case_dims, grid, self.sizes, strict=True)
            parts = {d: p for d, p, size in pairs if not np.array_equal(p, np.arange(size))}
            return dataset.isel({d: p for d, p in parts.items() if d in dataset.dims})
        import xarray as xr

        places = {
            dim: xr.DataArray(self.cases[:, k], dims=name)
            for k, dim in enumerate(self.case_dims)
            if dim in dataset.dims
        }
        # a dimension that is itself the case's name stays its own coordinate
        return dataset.isel({d: p.to_numpy() if d == name else p for d, p in places.items()})

    def case_coordinates(self, name: str) -> "xr.Dataset":
        """Return a Dataset of the coordinates that run along the cases alone, and of single values."""
        dims = self.case_dimensions(name)
        dataset = self.cases_of(self.template.coords.to_dataset(), name)
        return dataset.drop_vars([k for k, v in dataset.coords.items() if not {*v.dims} <= {*dims}])

    def case_dimensions(self, name: str) -> tuple[str, ...]:
        """Return the dimensions of the cases as they are laid out."""
        return (name,) if self.grid() is None else self.case_dims

    def filled(self, values: np.ndarray, observed: np.ndarray | None, name: str) -> "xr.Dataset":
        """Return the Dataset of values (n, M, D) and observations (n, D)."""
        inner = self.inner_places
        kept = {self.member_dim: self.members, **dict(zip(self.inner_dims, inner, strict=True))}
        # dimensions without a coordinate are not in the template
        dataset = self.template.isel({d: p for d, p in kept.items() if d in self.template.dims})
        dataset = self.cases_of(dataset, name)
        dims, sizes = self.case_dimensions(name), self.case_sizes()
        for k, (variable, like) in enumerate(self.arrays.items()):
            mine = self.features[:, 0] == k
            if not mine.any():
                continue
            places = tuple(np.searchsorted(inner[j], self.features[mine, 1 + j]) for j in range(len(inner)))
            shape = tuple(len(part) for part in inner)
            block = _placed(values[..., mine], places, shape).reshape(*sizes, values.shape[1], *shape)
            dataset[variable] = _ordered(like, (*dims, self.member_dim, *self.inner_dims), block)
            if observed is not None and variable in self.observations:
                block = _placed(observed[..., mine], places, shape).reshape(*sizes, *shape)
                observed_name, like = self.observations[variable]
                dataset[observed_name] = _ordered(like, (*dims, *self.inner_dims), block)
        return dataset


def empty_like(array: "xr.DataArray") -> "xr.Variable":
    """Return a variable of the same dimensions, type and attributes that holds nothing."""
    import xarray as xr

    encoding = {k: v for k, v in array.encoding.items() if k in STORED}
    return xr.Variable(array.dims, np.empty((0,) * array.ndim, array.dtype), array.attrs, encoding)


def _plain(like: "xr.Variable") -> "xr.Variable":
    import xarray as xr

    dtype = like.dtype if like.dtype.kind == "f" else np.dtype(np.float64)
    return xr.Variable(like.dims, np.empty(like.shape, dtype), like.attrs)


def _placed(values: np.ndarray, places: tuple[np.ndarray, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Return values (…, d) in an array (…, *shape), NaN where there is none."""
    if not shape:
        return values[..., 0]
    block = np.full((*values.shape[:-1], *shape), np.nan, values.dtype)
    where: Any = (..., *places)
    block[where] = values
    return block


def _ordered(like: "xr.Variable", dims: Sequence[str], block: np.ndarray) -> Any:
    """Return a block of values with the order of dimensions, the type and the attributes of its source."""
    import xarray as xr

    block = block.astype(like.dtype) if holds(like.dtype, block) else block
    variable = xr.Variable(dims, block, like.attrs, stored_as(like.encoding, block))
    wanted = [d for d in like.dims if d in dims]
    return variable.transpose(*wanted) if len(wanted) == len(dims) else variable
