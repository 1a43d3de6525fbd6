"""Ensembles in an archive that is read chunk by chunk."""

from collections.abc import Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from degmm.ensembles import blocks
from degmm.ensembles.blocks import Block, computed, grouped, of_few_layers
from degmm.ensembles.dataset import dataset_of, from_dataset
from degmm.ensembles.ensemble import Ensemble
from degmm.ensembles.roles import Roles, settled
from degmm.ensembles.summary import some

if TYPE_CHECKING:
    import xarray as xr


class ChunkedEnsemble:
    """Ensembles of a Dataset on Dask arrays, of which a block of whole chunks is read at a time.

    What :func:`degmm.read_ensemble` returns where it is given ``chunks``. It takes the place of an
    :class:`Ensemble` in the fit of a ``GMM`` or ``EGMM``, and in what any model predicts.

    Parameters
    ----------
    dataset : xarray.Dataset
        With a member dimension, on Dask arrays.
    name : str
        Name of the argument, for messages.
    **options
        ``variables``, ``member_dim``, ``feature_dims``, ``control``, ``observation`` and ``missing``, as in
        :func:`degmm.read_ensemble`; and ``notes``, what is to be said of the file.
    """

    def __init__(self, dataset: "xr.Dataset", *, name: str = "X", **options: Any) -> None:
        wanted = options.get("variables")
        self._options = {**options, "variables": [wanted] if isinstance(wanted, str) else wanted}
        keys = ("member_dim", "feature_dims", "observation")
        chosen = (self._options["variables"], *(options.get(k) for k in keys))
        self._name = name
        self._roles: Roles
        self._dataset, self._roles = settled(of_few_layers(dataset), *chosen)
        arrays = self._dataset[self._roles.names].unify_chunks()
        self.case_dims = tuple(self._roles.case_dims)
        self.sizes = tuple(arrays.sizes[d] for d in self.case_dims)
        """Sizes of the dimensions of the cases"""
        self._chunks = {d: arrays.chunksizes.get(d, (arrays.sizes[d],)) for d in self.case_dims}
        one = arrays.isel(dict.fromkeys(self.case_dims, 0))
        self._bytes_of_case = sum(int(v.size) * v.dtype.itemsize for v in one.data_vars.values())
        if not self._roles.grid:
            self.first  # noqa: B018  so that variables that are not there are told at once

    @classmethod
    def of(cls, array: "xr.DataArray", *, name: str = "X", **options: Any) -> Self:
        """Return the ensembles of a DataArray on a Dask array; see ``Ensemble.from_xarray``."""
        dataset, options = dataset_of(array, name, options)
        return cls(dataset, name=name, **options)

    # --- what is known without reading ---------------------------------------------------------------

    @cached_property
    def first(self) -> Ensemble:
        """An ensemble of one case with the names, units and dimensions of all, its values made up.

        Which points of a grid have values only values can tell: then it is of the first block.
        """
        if self._roles.grid:
            return self._read(next(self._slices()))[0]
        one = self._part(dict.fromkeys(self.case_dims, slice(0, 1)), observed=False)
        made_up = {k: np.zeros(v.shape, v.dtype) for k, v in one.data_vars.items() if v.chunks}
        return self._ensemble(one.assign({k: one[k].copy(data=v) for k, v in made_up.items()}))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of cases, members and variables, (n, M, D)."""
        return len(self), *self.first.shape[1:]

    def __len__(self) -> int:
        return int(np.prod(self.sizes))

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables, length D."""
        return self.first.variables

    @property
    def units(self) -> tuple[str, ...]:
        """Units of the variables, length D."""
        return self.first.units

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided, one sentence each."""
        return self.first.notes

    @property
    def nbytes(self) -> int:
        """How much memory all members would take."""
        return len(self) * self._bytes_of_case

    def __repr__(self) -> str:
        n, M, D = self.shape
        return (
            f"<ChunkedEnsemble: n = {n}, M = {M}, D = {D}; {self.nbytes / 1e9:.2g} GB in "
            f"{sum(1 for _ in self._slices())} blocks>\nvariables: {some(list(self.variables))}"
        )

    # --- blocks -------------------------------------------------------------------------------------

    def blocks(self) -> Iterator[Ensemble]:
        """Yield the ensembles block by block, in memory and with all their labels and observations."""
        self.first  # noqa: B018  it decides on the variables of a grid
        for where in self._slices():
            yield self._ensemble(self._part(where, observed=True).compute(), observed=True)

    def compute(self) -> Ensemble:
        """Return all ensembles, read into memory."""
        return from_dataset(self._dataset.compute(), **self._options)

    def to_xarray(self) -> "xr.Dataset":
        """Return the Dataset, unread."""
        return self._dataset

    def case_coordinates(self) -> "xr.Dataset":
        """Return a Dataset of the coordinates that run along the cases alone, and of single values."""
        coords = self._dataset.coords.to_dataset()
        coords.attrs = {}
        return coords.drop_vars([k for k, v in coords.coords.items() if not {*v.dims} <= {*self.case_dims}])

    def __iter__(self) -> Iterator[Block]:
        """Return the blocks unread."""
        self.first  # noqa: B018  it decides on the variables of a grid
        for where in self._slices():
            yield Block(partial(self._read, where), self._places(where), self._called(where))

    def _read(self, where: dict[str, slice]) -> Ensemble:
        part = self._part(where, observed=False).copy()
        chunked = {k: v for k, v in part.variables.items() if v.chunks is not None}
        for variable, values in zip(
            chunked.values(), computed(*(v.data for v in chunked.values())), strict=True
        ):
            variable.data = values
        return self._ensemble(part)

    def example(self) -> Ensemble:
        """Return one case of the sizes, type and names of all, its values made up."""
        return self.first

    def delayed(self) -> list[Block]:
        """Return the blocks unread, each an object of ``dask.delayed``."""
        import dask

        self.first  # noqa: B018  it decides on the variables of a grid
        read = dask.delayed(from_dataset)
        return [
            Block(
                read(self._part(where, observed=False), **self._settled(observed=False)),
                self._places(where),
                self._called(where),
            )
            for where in self._slices()
        ]

    def grid(self) -> tuple[list[dict[str, slice]], tuple[int, ...]]:
        """Return the places of all blocks along the dimensions of the cases, and how many along each."""
        groups = self._groups()
        return list(self._slices()), tuple(len(groups[d]) for d in self.case_dims)

    def _groups(self) -> dict[str, list[slice]]:
        """Return the slices that blocks take of each dimension of the cases."""
        chunk = {d: max(self._chunks[d]) for d in self.case_dims}
        left = max(1, blocks.BLOCK_BYTES // (int(np.prod([*chunk.values()])) * self._bytes_of_case))
        groups = {}
        for dim in reversed(self.case_dims):  # whole rows before several of them
            groups[dim] = grouped(self._chunks[dim], chunk[dim] * left)
            left = max(1, left * chunk[dim] // (groups[dim][0].stop - groups[dim][0].start))
        return groups

    def _slices(self) -> Iterator[dict[str, slice]]:
        groups = self._groups()
        for index in np.ndindex(*(len(groups[d]) for d in self.case_dims)):
            yield {d: groups[d][k] for d, k in zip(self.case_dims, index, strict=True)}

    def _places(self, where: dict[str, slice]) -> slice | np.ndarray:
        """Return the places of a block among all cases, in their order."""
        mesh = np.ix_(*(np.arange(where[d].start, where[d].stop) for d in self.case_dims))
        flat = np.ravel_multi_index(mesh, self.sizes).ravel()
        whole = flat[-1] - flat[0] + 1 == flat.size
        return slice(int(flat[0]), int(flat[-1]) + 1) if whole else flat

    def _called(self, where: dict[str, slice]) -> str:
        parts = [f"{d} {s.start} to {s.stop - 1}" for d, s in where.items()]
        return f"{self._name}, {', '.join(parts)}"

    def _part(self, where: dict[str, slice], *, observed: bool) -> "xr.Dataset":
        """Return the part of the Dataset that a block is read from, and no more."""
        names = [*self._roles.names, *(part.name for part in self._roles.parts.values())]
        names += [*dict.fromkeys(self._roles.observed.values())] if observed else []
        return self._dataset[names].isel({d: s for d, s in where.items() if d in self._dataset[names].dims})

    def _settled(self, *, observed: bool) -> dict[str, Any]:
        """Return the options for a block: the variables are those of the first."""
        options = dict(self._options)
        if self._roles.grid and "first" in self.__dict__:
            options |= {"variables": list(self.first.variables), "keep_absent": True}
        return options if observed else {**options, "observation": None}

    def _ensemble(self, part: "xr.Dataset", *, observed: bool = False) -> Ensemble:
        return from_dataset(part, **self._settled(observed=observed))
