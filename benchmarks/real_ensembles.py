"""Held-out log density of real forecasts under both member models, and K chosen by BIC.

    DEGMM_DATA=folder python benchmarks/real_ensembles.py

Train on the first two thirds of the cases, test on the last third; one variable; float64.
"""

import os
from pathlib import Path

import numpy as np

from degmm import EGMM, read_ensemble

COMPONENTS = (1, 4, 8)
MEMBER_MODELS = ("independent", "shared_centre")


def stations(folder: Path) -> dict[str, np.ndarray]:
    """Return the members of each station, shape (n, M, 1), cases complete in all variables."""
    germany = read_ensemble(folder / "germany_ecmwf_t2m.nc")
    innsbruck = read_ensemble(folder / "innsbruck_gefs.nc")

    def variable(data, name: str, members=slice(None)) -> np.ndarray:
        complete = np.isfinite(data.values).all(axis=(1, 2))
        d = data.variables.index(name)
        return data.values[complete, members, d : d + 1].astype(np.float64)

    return {
        # member 0 is the control run
        "Innsbruck T_min, members 1–10": variable(innsbruck, "tmin2m", slice(1, None)),
        "Sylt 24 h": variable(germany, "t2m_list_sylt_24h"),
        "Magdeburg 24 h": variable(germany, "t2m_magdeburg_24h"),
    }


def held_out(X: np.ndarray, member_model: str, K: int) -> float:
    """Return the mean log density of the last third under the fit to the first two, nats per ensemble."""
    train = len(X) * 2 // 3
    model = EGMM(K, member_model=member_model, random_state=0).fit(X[:train])
    return model.score(X[train:])


if __name__ == "__main__":
    print(
        "| data | "
        + " | ".join(f"{m.replace('_', ' ')} K={K}" for m in MEMBER_MODELS for K in COMPONENTS)
        + " |"
    )
    print("|---|" + "---|" * (len(MEMBER_MODELS) * len(COMPONENTS)))
    for name, X in stations(Path(os.environ["DEGMM_DATA"])).items():
        row = [f"{held_out(X, m, K):.2f}" for m in MEMBER_MODELS for K in COMPONENTS]
        print(f"| {name} | " + " | ".join(row) + " |", flush=True)
