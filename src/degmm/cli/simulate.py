"""``degmm simulate``: a file of ensembles of known clusters, to try everything else on."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from degmm import __version__
from degmm.cli.session import Session
from degmm.cli.tabular import TABLES, form_of, write, write_dataset, write_table
from degmm.datasets import make_exchangeable_mixture
from degmm.ensembles import Ensemble
from degmm.wording import counted

FIRST_DAY = "2001-01-01"


def run_simulation(
    session: Session,
    output: Path,
    sizes: tuple[int, int, int, int],
    seed: int,
    covariance: str,
    between: float,
    missing: float,
) -> None:
    """Draw ensembles and write them with their times, true clusters and observations."""
    n, M, D, K = sizes
    form = form_of(output, (".nc", ".npz", *TABLES))
    data = simulated(sizes, seed, covariance, between, missing)
    if form == ".nc":
        dataset = data.to_xarray()
        dataset.attrs |= {"source": f"degmm {__version__}", "history": session.command_line}
        write_dataset(output, dataset)
    elif form == ".npz":
        buffer = io.BytesIO()
        arrays: Any = {"X": data.values, "observations": data.observations}
        np.savez_compressed(buffer, variables=np.array(data.variables), **arrays)
        write(output, buffer.getvalue())
    else:
        write_table(output, data.to_dataframe(), form)
    sizes_said = f"{counted(n, 'ensemble')} of {counted(M, 'member')}, {counted(D, 'variable')}"
    session.note(f"{sizes_said}, {counted(K, 'cluster')}, seed {seed}")
    session.wrote(output)


def simulated(
    sizes: tuple[int, int, int, int], seed: int, covariance: str, between: float, missing: float
) -> Ensemble:
    """Return ensembles, one a day; the observation is one more member of each."""
    n, M, D, K = sizes
    kind: Any = covariance
    X, labels, _ = make_exchangeable_mixture(n, M + 1, D, K, seed=seed, covariance=kind, between=between)
    members = X[:, :M].astype(np.float32)
    rng = np.random.default_rng([seed, 1])
    members[rng.random((n, M)) < missing] = np.nan
    days = np.datetime64(FIRST_DAY, "ns") + np.arange(n) * np.timedelta64(1, "D")
    return Ensemble(
        members,
        tuple(f"x{d + 1}" for d in range(D)),
        case_dim="time",
        coords={"time": days, "true_cluster": labels},
        observations=X[:, M],
    )
