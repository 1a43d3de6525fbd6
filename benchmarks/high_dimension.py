"""Ensembles of fields: how near DEGMM comes to Bayes' rule in 1000 variables, and real seasonal forecasts.

    DEGMM_DATA=folder python benchmarks/high_dimension.py [--seeds 3] [--picture docs/images/mediterranean.png]

The simulated fields hide 5 latent numbers a member. Bayes' rule is told them, and the true densities of the regimes:
no method that sees the fields alone can do better in the mean, so it is an upper bound. Accuracy is on fresh
ensembles; the time of a fit is that of a second one, all being compiled.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from when_deep import Draw, OnComponents, deep

from degmm import DEGMM
from degmm.metrics import accuracy
from degmm.plotting import cluster_fields, save_figure

K, M, D, LATENT = 3, 10, 1000, 5
N, FRESH = 2000, 2000
WEIGHTS = np.array([0.45, 0.33, 0.22])
GAIN = 2.0
"""How far tanh is driven into its bend: the linear fields have about this standard deviation."""
NOISE = 0.5
FILE = "mediterranean_seas5_t2m.nc"


def patterns() -> np.ndarray:
    """Return what each latent number adds to the linear field: smooth waves along the grid points."""
    rng = np.random.default_rng(7)
    phase = 2 * np.pi * np.outer(np.arange(9), np.arange(D) / D)
    waves = np.concatenate([np.cos(phase), np.sin(phase[1:])])
    return GAIN * rng.normal(size=(LATENT, len(waves))) @ waves / np.sqrt(LATENT * len(waves) / 2)


def draw(n: int, rng: np.random.Generator) -> Draw:
    """Return ensembles of curved, noisy fields from three regimes that overlap in the latent numbers."""
    fixed = np.random.default_rng(3)
    means, spreads = 0.35 * fixed.normal(size=(K, LATENT)), np.exp(0.2 * fixed.normal(size=(K, LATENT)))
    labels = rng.choice(K, size=n, p=WEIGHTS)
    latent = means[labels][:, None] + spreads[labels][:, None] * rng.normal(size=(n, M, LATENT))
    field = np.tanh(latent @ patterns()).astype(np.float32)
    field += NOISE * rng.standard_normal(field.shape, np.float32)
    parts = zip(WEIGHTS, means, spreads, strict=True)
    log_joint = [
        np.log(w) - 0.5 * (((latent - m) / s) ** 2).sum(axis=(1, 2)) - M * np.log(s).sum()
        for w, m, s in parts
    ]
    return Draw(field, labels, np.argmax(log_joint, axis=0))


SETTINGS: dict[str, Any] = {"latent_dim": LATENT, "hidden": (64,), "max_epochs": 200}
MODELS: dict[str, Callable[[], Any]] = {
    "scikit-learn's PCA, then EGMM": lambda: OnComponents(K, LATENT),
    "DEGMM, linear projection": deep(K, projection="linear", **SETTINGS),
    "DEGMM, autoencoder": deep(K, projection="autoencoder", **SETTINGS),
}


def simulated(seeds: int) -> None:
    """Print the accuracy of each model, averaged over draws, beside that of Bayes' rule."""
    rows: dict[str, list[list[float]]] = {name: [] for name in ("Bayes' rule", *MODELS)}
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 1])
        train, fresh = draw(N, rng), draw(FRESH, rng)
        bayes = accuracy(fresh.labels, fresh.bayes)
        rows["Bayes' rule"].append([bayes, 0, np.nan])
        for name, make in MODELS.items():
            if seed == 0:
                make().fit(train.X)  # compiled from here on
            start = time.perf_counter()
            model = make().fit(train.X)
            seconds = time.perf_counter() - start
            found = accuracy(fresh.labels, model.predict(fresh.X))
            rows[name].append([found, bayes - found, seconds])
    print(
        f"| n = {N}, M = {M}, D = {D}, {seeds} draws | accuracy | below Bayes' | largest of draws | fit, s |"
    )
    print("|---|---|---|---|---|")
    for name, values in rows.items():
        found, lost, seconds = np.mean(values, axis=0)
        worst = max(row[1] for row in values)
        last = "" if np.isnan(seconds) else f"{seconds:.1f}"
        print(f"| {name} | {found:.3f} | {lost:.3f} | {worst:.3f} | {last} |", flush=True)


def forecasts(folder: str | None, picture: Path) -> None:
    """Cluster seasonal forecasts of temperature, print which month is in which cluster, and draw the clusters.

    The values are Kelvin as they are, so the year's cycle is most of what varies, and the clusters are
    months. Departures from the climatology of each lead cannot be had from six starts: their mean would
    hold a sixth of each.
    """
    if not folder or not (Path(folder) / FILE).exists():
        print(f"\nNo real forecasts: DEGMM_DATA names no folder with {FILE}.")
        return
    import xarray as xr

    # read_ensemble makes the grid points cases; here they are the variables of a member.
    with xr.open_dataset(Path(folder) / FILE, engine="h5netcdf") as data:
        field = data["forecast"].transpose("init", "lead", "member", "lat", "lon").load()
    starts, leads, members, rows, columns = field.shape
    X = field.to_numpy().reshape(starts * leads, members, rows * columns)
    model = DEGMM(
        K,
        covariance_type="tied",  # 18 ensembles say too little of one a cluster
        projection="autoencoder",
        latent_dim=4,
        hidden=(16,),
        max_epochs=200,
        random_state=0,
    ).fit(X)
    labels = model.labels_.reshape(starts, leads)
    # numbered by what is most in the first lead, the second, the third
    shares = np.array([(labels == k).sum(axis=0) for k in range(K)])
    order = np.lexsort((np.arange(K), shares.argmax(axis=1)))
    left = ((model.decode(model.encode(X)) - X) ** 2).mean() / ((X - X.mean(axis=(0, 1))) ** 2).mean()
    print(f"\n{len(X)} ensembles of {members} fields of {rows} × {columns} points; ", end="")
    print(f"codes keep {100 * (1 - left):.0f} % of the variance. Starts in each cluster, of {starts}:\n")
    months = field["init"].to_index()[0].month + field["lead"].to_numpy() - 1
    names = [time.strftime("%B", (2000, (int(m) - 1) % 12 + 1, 1, 0, 0, 0, 0, 1, 0)) for m in months]
    print(f"| cluster | {' | '.join(names)} | mean, °C |\n|---|{'---|' * (leads + 1)}")
    means = model.decode(model.means_)[order].reshape(K, rows, columns)
    area = np.cos(np.radians(field["lat"].to_numpy()))
    for k in range(K):
        average = np.average(means[k].mean(axis=1), weights=area) - 273.15
        print(f"| {k} | {' | '.join(map(str, shares[order][k]))} | {average:.1f} |")
    titles = [
        f"cluster {k}: " + ", ".join(f"{c} × {name}" for c, name in zip(row, names, strict=True) if c)
        for k, row in enumerate(shares[order])
    ]
    axes = cluster_fields(
        means,
        field["lat"].to_numpy(),
        field["lon"].to_numpy(),
        weights=model.weights_[order],
        titles=titles,
        unit="K",
    )
    save_figure(axes[0].get_figure(root=True), picture)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--picture", type=Path, default=Path("docs/images/mediterranean.png"))
    arguments = parser.parse_args()
    if arguments.seeds:
        simulated(arguments.seeds)
    forecasts(os.environ.get("DEGMM_DATA"), arguments.picture)
