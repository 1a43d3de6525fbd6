"""Calibrations of real forecasts, beside what they must beat: CRPS, coverage and Diebold–Mariano tests.

    DEGMM_DATA=folder python -m benchmarks.calibration_table [--seeds 5] [--only sylt] [--joint] [--families]

The first two thirds of the days are for training, where every choice is made; the last third is scored.
``--joint`` adds the scores of the three German variables together, ``--families`` those of the censored and
truncated families.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import truncnorm

from benchmarks.drn import averaged, drn, inputs
from degmm import Ensemble, read_ensemble
from degmm.calibration import EMOS, Forecast, RegimeEMOS, cross_validated, ecc, error_copula, select_regimes
from degmm.ensembles.times import as_times, time_name
from degmm.verification import (
    climatology_ensemble,
    coverage,
    crps_ensemble,
    diebold_mariano,
    energy_score,
    pit,
    variogram_score,
)

FILES = {
    "tmin2m": "innsbruck_gefs.nc",
    "t2m_list_sylt_24h": "germany_ecmwf_t2m.nc",
    "t2m_magdeburg_24h": "germany_ecmwf_t2m.nc",
    "t2m_magdeburg_48h": "germany_ecmwf_t2m.nc",
}
YEAR = 365.25


def split(file: str, variables: list[str]) -> tuple[Ensemble, Ensemble]:
    """Return the days of training and test, without those that lack a member or an observation."""
    data = read_ensemble(Path(os.environ["DEGMM_DATA"]) / file)
    complete = ~np.isnan(data.values).any((1, 2)) & ~np.isnan(data.observations).any(1)
    data = data.take_variables([data.variables.index(name) for name in variables])[complete]
    data = data.drop_control(0) if data.n_members == 11 else data
    return data[: 2 * len(data) // 3], data[2 * len(data) // 3 :]


def season_of(data: Ensemble) -> np.ndarray:
    """Return the time of the year as an angle."""
    times = as_times(data.coords[time_name(data)]).astype("datetime64[D]")
    return 2 * np.pi * (times - times.astype("datetime64[Y]")).astype(float) / YEAR


def temperatures(variable: str, n_seeds: int) -> None:
    """Print the table of one variable."""
    train, test = split(FILES[variable], [variable])
    y, past = test.observations[:, 0], train.observations[:, 0]
    times = [as_times(part.coords[time_name(part)]) for part in (train, test)]
    rows: dict[str, tuple[list[np.ndarray], list[float], float | None]] = {}
    climate = climatology_ensemble(past[:, None], *times)
    rows["climatology"] = [crps_ensemble(climate[..., 0], y)], [coverage(climate, y).coverage], None
    rows["raw ensemble"] = [crps_ensemble(test.values[..., 0], y)], [coverage(test, y).coverage], None

    def add(name: str, make: Callable[[int], Any], context: str | None, seeds: int) -> None:
        found = [make(seed).fit(train, context=context).predict(test) for seed in range(seeds)]
        held = coverage(cross_validated(make(0), train, context=context), past).coverage
        rows[name] = (
            [np.asarray(part.crps(y)) for part in found],
            [coverage(part, y).coverage for part in found],
            held,
        )

    add("EMOS", lambda _: EMOS(), None, 1)
    add("EMOS, season", lambda _: EMOS(), "season", 1)
    K = select_regimes(RegimeEMOS(random_state=0), train).best
    add(f"regimes of a mixture, K = {K}", lambda seed: RegimeEMOS(K, random_state=seed), None, n_seeds)
    read = [inputs(part.values[..., 0], season_of(part)) for part in (train, test)]
    nets = [drn(read[0], past, read[1], seed=seed) for seed in range(n_seeds)]
    rows["DRN, season, one network"] = scored([net[0] for net in nets], y)
    rows["DRN, season, average of 5"] = scored([averaged(net) for net in nets], y)
    add(
        "deep regimes, season, K = 4", lambda s: RegimeEMOS(4, gate="deep", random_state=s), "season", n_seeds
    )
    references = {
        name: np.mean(rows[name][0], axis=0) for name in ("EMOS", "EMOS, season", "DRN, season, average of 5")
    }
    print(f"\n{variable}: {len(train)} days of training, {len(test)} of the test, {n_seeds} seeds\n")
    print("| forecast | CRPS | p: EMOS | p: EMOS, season | p: DRN | in 90 %, test | held out |")
    print("|---|---|---|---|---|---|---|")
    for name, (scores, covered, held) in rows.items():
        means = [float(score.mean()) for score in scores]
        spread = f" ± {np.std(means):.4f}" if len(means) > 1 else ""
        tests = [
            "–" if name == other else f"{diebold_mariano(np.mean(scores, axis=0), reference).p_value:.2g}"
            for other, reference in references.items()
        ]
        last = "–" if held is None else f"{held:.3f}"
        print(
            f"| {name} | {np.mean(means):.4f}{spread} | {' | '.join(tests)} | {np.mean(covered):.3f} | {last} |",
            flush=True,
        )


def scored(forecasts: list[Forecast], y: np.ndarray) -> tuple[list[np.ndarray], list[float], None]:
    """Return CRPS and coverage of some forecasts."""
    crps = [np.asarray(part.crps(y)) for part in forecasts]
    return crps, [coverage(part, y).coverage for part in forecasts], None


def joint(n_draws: int = 12) -> None:
    """Print the scores of the German variables together; what is drawn is averaged over draws."""
    names = [name for name, file in FILES.items() if file.startswith("germany")]
    train, test = split("germany_ecmwf_t2m.nc", names)
    model, y, M = RegimeEMOS(4, gate="deep", random_state=0), test.observations, test.n_members
    held_out = pit(cross_validated(model, train, context="season"), train.observations)
    forecast = model.fit(train, context="season").predict(test)
    rising = np.asarray(forecast.to_ensemble(M))
    rng = np.random.default_rng(0)
    draws: dict[str, list[np.ndarray]] = {
        "raw ensemble": [test.values],
        "calibrated, in rising order": [rising],
        "calibrated, in random order": [rng.permuted(rising, axis=1) for _ in range(n_draws)],
        "calibrated, in the raw order (ECC)": [np.asarray(ecc(forecast, test, random_state=0))],
        "calibrated, copula of past errors": [
            np.asarray(error_copula(forecast, held_out, M, random_state=seed)) for seed in range(n_draws)
        ],
    }
    scores = {
        name: [
            np.mean([score(part, y) for part in parts], axis=0) for score in (energy_score, variogram_score)
        ]
        for name, parts in draws.items()
    }
    print(f"\nTogether: {', '.join(names)}\n")
    print(
        "| members | energy score | p: random order | variogram score | p: random order |\n|---|---|---|---|---|"
    )
    for name, found in scores.items():
        cells = []
        for score, other in zip(found, scores["calibrated, in random order"], strict=True):
            same = score is other
            cells += [f"{score.mean():.4f}", "–" if same else f"{diebold_mariano(score, other).p_value:.2g}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def families() -> None:
    """Print the CRPS of the families from zero on precipitation, and on generated wind."""
    train, test = split("innsbruck_gefs.nc", ["precip"])
    rng = np.random.default_rng(0)
    # Winds of which many are light: their errors cannot go below 0.
    centre = np.abs(rng.normal(0, 3, (6000, 1)))
    X = np.abs(centre + 0.8 * rng.normal(size=(6000, 20)))
    y = truncnorm.rvs(-centre[:, 0] / 1.5, np.inf, centre[:, 0], 1.5, random_state=rng)
    for title, (past, seen), (new, truth), names in (
        (
            "Innsbruck precipitation",
            (train.values[..., 0], train.observations[:, 0]),
            (test.values[..., 0], test.observations[:, 0]),
            ("normal", "censored_logistic", "censored_gamma"),
        ),
        ("generated wind", (X[:4000], y[:4000]), (X[4000:], y[4000:]), ("normal", "truncated_normal")),
    ):
        print(f"\n{title}: {len(seen)} cases of training, {len(truth)} of the test\n")
        print("| family | CRPS | p: normal | in 90 % |\n|---|---|---|---|")
        print(
            f"| raw ensemble | {crps_ensemble(new, truth).mean():.4f} | – | {coverage(new, truth).coverage:.3f} |"
        )
        scores = {}
        for name in names:
            forecast = EMOS(name).fit(past, seen).predict(new)
            scores[name] = np.asarray(forecast.crps(truth))
            p = "–" if name == "normal" else f"{diebold_mariano(scores[name], scores['normal']).p_value:.2g}"
            held = coverage(forecast, truth).coverage
            print(f"| {name} | {scores[name].mean():.4f} | {p} | {held:.3f} |", flush=True)


def main() -> None:
    """Print all tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="part of a variable's name")
    parser.add_argument("--joint", action="store_true")
    parser.add_argument("--families", action="store_true")
    options = parser.parse_args()
    for variable in FILES:
        if options.only in variable:
            temperatures(variable, options.seeds)
    if options.joint:
        joint()
    if options.families:
        families()


if __name__ == "__main__":
    main()
