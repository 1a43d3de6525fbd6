"""Seconds of EMOS by family, for forecasts of an amount that is often zero."""

from typing import Any

import numpy as np

from benchmarks.side_by_side.timing import middle, tell, timed

FAMILIES = ("normal", "truncated_normal", "censored_logistic", "censored_gamma")


def amounts(cases: int, members: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Return ensembles (n, M) and observations (n,): gamma amounts less one, and nothing below zero."""
    rng = np.random.default_rng(0)
    scale = rng.gamma(2.0, 1.0, size=(cases, 1))
    drawn = np.maximum(scale * rng.gamma(1.5, 1.0, size=(cases, members + 1)) - 1, 0)
    return 0.8 * drawn[:, 1:], drawn[:, 0]


def seconds_of_families(told: dict[str, Any]) -> None:
    """Fit EMOS of each family for the first time, and again."""
    from degmm.calibration import EMOS

    X, y = amounts(told["cases"])
    found = []
    for family in FAMILIES:
        model = EMOS(family, random_state=0)
        first, _ = timed(lambda model=model: model.fit(X, y))  # type: ignore[misc, unused-ignore]
        again = middle(lambda model=model: model.fit(X, y))  # type: ignore[misc, unused-ignore]
        found.append([family, first, again])
        tell(families=found)
