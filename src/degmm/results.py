"""Results with the labels of the data they came from."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from degmm import __version__
from degmm.ensembles import Ensemble
from degmm.io import write_bytes

NO_CLUSTER = -1
"""Label of a case without a member, which has no cluster."""


def present_cases(data: Ensemble) -> Bool[np.ndarray, "n"]:
    """Return which cases have at least one member."""
    return data.counts > 0


def write_clusters(
    path: Path,
    data: Ensemble,
    present: Bool[np.ndarray, "n"],
    labels: Int[np.ndarray, "kept"],
    responsibilities: Float[np.ndarray, "kept K"],
) -> Path:
    """Write the cluster and the responsibilities of every case as NetCDF.

    All cases of the data are there, with their coordinates; those without a member have the
    cluster −1 and no responsibilities.
    """
    import xarray as xr

    n, K = len(data), responsibilities.shape[1]
    cluster = np.full(n, NO_CLUSTER, dtype=np.int32)
    cluster[present] = labels
    gamma = np.full((n, K), np.nan, dtype=responsibilities.dtype)
    gamma[present] = responsibilities
    case = data.case_dim
    dataset = xr.Dataset(
        {
            "cluster": (case, cluster, {"long_name": "most probable cluster", "missing_case": NO_CLUSTER}),
            "responsibility": (
                (case, "component"),
                gamma,
                {"long_name": "probability of the cluster given the ensemble", "units": "1"},
            ),
        },
        coords={"component": np.arange(K), **{name: (case, labels) for name, labels in data.coords.items()}},
        attrs={"Conventions": "CF-1.10", "source": f"degmm {__version__}"},
    )
    write_bytes(path, bytes(dataset.to_netcdf(engine="h5netcdf")))
    return path
