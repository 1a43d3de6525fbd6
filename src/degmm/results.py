"""Results with the labels of the data they came from."""

import numpy as np
from jaxtyping import Bool, Float, Int

from degmm import __version__
from degmm.ensembles import Ensemble

NO_CLUSTER = -1
"""Stored, as the fill value, for a case without a member, which has no cluster."""


def present_cases(data: Ensemble) -> Bool[np.ndarray, "n"]:
    """Return which cases have at least one member."""
    return data.counts > 0


def clusters_netcdf(
    data: Ensemble,
    present: Bool[np.ndarray, "n"],
    labels: Int[np.ndarray, "kept"],
    responsibilities: Float[np.ndarray, "kept K"],
) -> bytes:
    """Return the cluster and the responsibilities of every case, as the content of a NetCDF file.

    All cases of the data are there, with their coordinates; those without a member have no
    responsibilities and as cluster the fill value −1, which readers of NetCDF show as missing. The
    names ``cluster``, ``responsibility`` and ``component`` are prefixed by ``degmm_`` where the data
    have a coordinate or dimension so named.
    """
    import xarray as xr

    n, K = len(data), responsibilities.shape[1]
    cluster = np.full(n, NO_CLUSTER, dtype=np.int32)
    cluster[present] = labels
    gamma = np.full((n, K), np.nan, dtype=responsibilities.dtype)
    gamma[present] = responsibilities
    case, component = data.case_dim, _free_name("component", data)
    dataset = xr.Dataset(
        {
            _free_name("cluster", data): (
                case,
                cluster,
                {
                    "long_name": "most probable cluster",
                    "flag_values": np.arange(K, dtype=np.int32),
                    "flag_meanings": " ".join(f"cluster_{k}" for k in range(K)),
                },
                {"_FillValue": np.int32(NO_CLUSTER)},
            ),
            _free_name("responsibility", data): (
                (case, component),
                gamma,
                {"long_name": "probability of the cluster given the ensemble", "units": "1"},
            ),
        },
        coords={component: np.arange(K), **{name: (case, labels) for name, labels in data.coords.items()}},
        attrs={"Conventions": "CF-1.10", "source": f"degmm {__version__}"},
    )
    return bytes(dataset.to_netcdf(engine="h5netcdf"))


def _free_name(name: str, data: Ensemble) -> str:
    while name == data.case_dim or name in data.coords:
        name = f"degmm_{name}"
    return name
