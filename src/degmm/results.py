"""Results with the labels of the data they came from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from degmm import __version__
from degmm.ensembles.chunked import ChunkedEnsemble
from degmm.ensembles.ensemble import Ensemble
from degmm.ensembles.matching import cases_of
from degmm.ensembles.storable import storable

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

NO_CLUSTER = -1
"""Stored, as the fill value, for a case without a member, which has no cluster."""


def present_cases(data: Ensemble) -> Bool[np.ndarray, "n"]:
    """Return which cases have at least one member."""
    return data.counts > 0


def data_array(data: Ensemble, values: np.ndarray, name: str, over: Sequence[str] = ()) -> "xr.DataArray":
    """Return values (n, …) of the cases as a DataArray with their coordinates.

    Parameters
    ----------
    data : Ensemble
        Of n cases.
    values : ndarray
        The first axis runs over the cases.
    name : str
        Name of the DataArray.
    over : sequence of str
        Names of the other axes, numbered from 0.
    """
    dims, sizes, dataset = cases_of(data)
    return _laid_out(data, dataset, dims, values.reshape(*sizes, *values.shape[1:]), name, over)


def chunked_array(data: ChunkedEnsemble, values: Any, name: str, over: Sequence[str] = ()) -> "xr.DataArray":
    """Return values of the cases of an archive, such as a Dask array, as a DataArray.

    The first axes of the values are the dimensions of the cases; see :func:`data_array`.
    """
    return _laid_out(data.first, data.case_coordinates(), data.case_dims, values, name, over)


def _laid_out(
    data: Ensemble, cases: "xr.Dataset", dims: tuple[str, ...], values: Any, name: str, over: Sequence[str]
) -> "xr.DataArray":
    extra = [_free_name(dim, data) for dim in over]
    numbers = {dim: np.arange(size) for dim, size in zip(extra, values.shape[len(dims) :], strict=True)}
    name = _free_name(name, data)
    # by way of the Dataset, which keeps an index of several levels
    dataset = cases.assign_coords(numbers)
    dataset[name] = ((*dims, *extra), values)
    return dataset[name]


def clusters_dataset(
    data: Ensemble,
    present: Bool[np.ndarray, "n"],
    labels: Int[np.ndarray, "kept"],
    responsibilities: Float[np.ndarray, "kept K"],
    log_density: Float[np.ndarray, "kept"] | None = None,
) -> "xr.Dataset":
    """Return the cluster and the responsibilities of every case.

    All cases of the data are there, with their coordinates; those without a member have no
    responsibilities and as cluster the fill value −1, which readers of NetCDF show as missing. The
    names ``cluster``, ``responsibility``, ``log_density`` and ``component`` are prefixed by ``degmm_``
    where the data have a coordinate or dimension so named.
    """
    K = responsibilities.shape[1]
    cluster = _of_all(labels.astype(np.int32), present, NO_CLUSTER)
    gamma = _of_all(responsibilities, present, np.nan)
    arrays = [data_array(data, cluster, "cluster"), data_array(data, gamma, "responsibility", ("component",))]
    arrays[0].attrs = {
        "long_name": "most probable cluster",
        "flag_values": np.arange(K, dtype=np.int32),
        "flag_meanings": " ".join(f"cluster_{k}" for k in range(K)),
    }
    arrays[0].encoding = {"_FillValue": np.int32(NO_CLUSTER)}
    arrays[1].attrs = {"long_name": "probability of the cluster given the ensemble", "units": "1"}
    if log_density is not None:
        arrays.append(data_array(data, _of_all(log_density, present, np.nan), "log_density"))
        arrays[2].attrs = {"long_name": "log density of the whole ensemble", "units": "nat"}
    import xarray as xr

    dataset = xr.merge(arrays, compat="equals", join="exact")
    dataset.attrs = {"Conventions": "CF-1.10", "source": f"degmm {__version__}"}
    return dataset


def clusters_table(
    data: Ensemble,
    present: Bool[np.ndarray, "n"],
    labels: Int[np.ndarray, "kept"],
    responsibilities: Float[np.ndarray, "kept K"],
    log_density: Float[np.ndarray, "kept"],
) -> "pd.DataFrame":
    """Return a row a case: its labels, ``cluster`` (−1: none), ``log_density``, ``responsibility_0``, …."""
    import pandas as pd

    columns: dict[str, np.ndarray] = {name: np.asarray(values) for name, values in data.coords.items()}
    columns[_free_name("cluster", data)] = _of_all(labels, present, NO_CLUSTER)
    columns[_free_name("log_density", data)] = _of_all(log_density, present, np.nan)
    for k, column in enumerate(responsibilities.T):
        columns[_free_name(f"responsibility_{k}", data)] = _of_all(column, present, np.nan)
    return pd.DataFrame(columns)


def _of_all(values: np.ndarray, present: Bool[np.ndarray, "n"], absent: float) -> np.ndarray:
    """Return values of the cases that are present for all cases."""
    whole = np.full((len(present), *values.shape[1:]), absent, dtype=values.dtype)
    whole[present] = values
    return whole


def netcdf_bytes(dataset: "xr.Dataset") -> bytes:
    """Return the content of a NetCDF file; labels of types that such a file has not are text."""
    return bytes(storable(dataset).to_netcdf(engine="h5netcdf"))


def _free_name(name: str, data: Ensemble) -> str:
    taken = {data.case_dim, *data.coords}
    if data.layout is not None:
        taken |= {*data.layout.case_dims, *map(str, data.layout.case_coordinates(data.case_dim).variables)}
    while name in taken:
        name = f"degmm_{name}"
    return name
