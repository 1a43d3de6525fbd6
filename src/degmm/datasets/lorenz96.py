"""Ensemble forecasts of a chaotic system by a model that is not quite that system."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from degmm.ensembles.context import SEASON, ContextRecipe
from degmm.ensembles.ensemble import Ensemble

DAYS = 5.0
"""Days to a unit of time of the model, by the growth of errors (Lorenz 1996)"""
YEAR = 365.25
"""Days"""
FORCING = 20.0
"""F, the model's at all times and the truth's in the mean"""
TRUTH_STEP, MODEL_STEP = 0.005, 0.01
"""In units of time of the model"""
SPIN_UP = 10.0
"""Units of time of the model, after which a run has forgotten how it began"""
FIRST_DAY = "2001-01-01"


class Truth(NamedTuple):
    """Slow variables of the truth, a case a row."""

    start: Float[np.ndarray, "n K"]
    """Where the forecasts start"""
    end: Float[np.ndarray, "n K"]
    """For when they are"""


def make_lorenz96(
    n: int,
    M: int,
    seed: int = 0,
    *,
    lead: float = 1.0,
    n_variables: int = 2,
    spacing: float = 2.0,
    season: float = 3.0,
    analysis_error: float = 0.3,
    perturbation: float = 0.3,
    observation_error: float = 0.2,
) -> Ensemble:
    """Return ensemble forecasts of the two-scale Lorenz-96 system, and what came.

    The truth is the system of K = 8 slow and 256 fast variables (h = 1, b = c = 10; Wilks 2005,
    doi:10.1256/qj.04.03), with the forcing F(t) = 20 + A cos(2π t/year), largest on 1 January. The model
    has the slow variables alone, F = 20 all year, and a polynomial of fourth order, Wilks' own, in place of
    the fast variables. Each ensemble starts from the truth plus an error that its members share, with
    perturbations of their own, and is compared with the truth plus noise. So forecasts are biased, by an
    amount that turns with the year, and their spread is smaller than their error: there is something to
    calibrate, and kinds of error to find.

    Parameters
    ----------
    n, M : int
        Numbers of cases and members.
    seed : int
        Seed of all draws.
    lead : float
        From start to forecast, in units of time of the model, to the next 0.005; one is about 5 days.
    n_variables : int
        How many of the slow variables, 1 to 8, are given: x1, x2, … are neighbours on the ring.
    spacing : float
        Days from one case to the next, to the next 0.025.
    season : float
        A, the amplitude of the forcing of the truth.
    analysis_error, perturbation, observation_error : float
        Standard deviations, in units of the variables, of the error of the start that the members of a case
        share, of their own perturbations, and of the observations. The variables have a standard deviation
        of about 5 over the years.

    Returns
    -------
    Ensemble
        Values (n, M, n_variables) in float32; observations; the time that each forecast is for, as the
        coordinate ``time``; and as context the sine and cosine of the year at that time, as
        ``context="season"`` gives them.

    Raises
    ------
    ValueError
        If a size or a setting is out of its range.

    Notes
    -----
    With the settings of default, ensemble means have the root-mean-square error 3.3 (winter 4.3, summer 3.0),
    the correlation 0.76 with the observations, and the spread 1.8; the truth is 0.2 above them in winter
    and 0.4 below in summer. Errors of neighbouring cases are all but uncorrelated.

    Integrated in float32 by the Runge-Kutta method of fourth order, in steps of 0.005 for the truth and
    0.01 for the model. The years are runs of their own, side by side, each begun 50 days before its first
    case. One seed gives one set of data on one kind of machine; elsewhere, rounding that the system
    amplifies gives other weather of the same climate.

    Examples
    --------
    >>> from degmm.datasets import make_lorenz96
    >>> data = make_lorenz96(n=3, M=5, lead=0.5)
    >>> data.shape, data.observations.shape, str(data.coords["time"][0])
    ((3, 5, 2), (3, 2), '2001-01-03T12:00:00')
    """
    for name, value, low in (("n", n, 1), ("M", M, 1), ("n_variables", n_variables, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
            raise ValueError(f"{name}: expected an integer of at least {low}, got {value!r}")
    for name, number, least in (
        ("lead", lead, TRUTH_STEP * 2),
        ("spacing", spacing, TRUTH_STEP * DAYS),
        ("season", season, 0.0),
        ("analysis_error", analysis_error, 0.0),
        ("perturbation", perturbation, 0.0),
        ("observation_error", observation_error, 0.0),
    ):
        if not (np.isfinite(number) and number >= least):
            raise ValueError(f"{name}: expected a number of at least {least:g}, got {number}")
    if n_variables > 8:
        raise ValueError(f"n_variables: there are 8 slow variables, got {n_variables}")
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)]
    for_truth, for_analyses, for_members, for_observations = streams
    between, until = round(spacing / DAYS / TRUTH_STEP), round(lead / TRUTH_STEP)
    start, end = _truth(n, between, until, season, for_truth)
    analyses = start + analysis_error * for_analyses.normal(size=start.shape)
    members = analyses[:, None] + perturbation * for_members.normal(size=(n, M, start.shape[1]))
    values = _forecast(members, until * TRUTH_STEP)[..., :n_variables]
    came = end[:, :n_variables]
    seconds = (np.arange(n) * between + until) * round(TRUTH_STEP * DAYS * 86400)
    times = np.datetime64(FIRST_DAY, "s") + seconds.astype("timedelta64[s]")
    data = Ensemble(
        values,
        tuple(f"x{d + 1}" for d in range(n_variables)),
        case_dim="time",
        coords={"time": times},
        observations=came + observation_error * for_observations.normal(size=came.shape),
        notes=(f"forecasts of the two-scale Lorenz-96 system, lead {lead:g} ({lead * DAYS:g} days)",),
    )
    return replace(data, context=ContextRecipe.fit(data, SEASON).of(data))


def _truth(n: int, spacing: int, lead: int, season: float, rng: np.random.Generator) -> Truth:
    """Return the slow variables at the start of the cases and ``lead`` later; both lengths in steps."""
    import jax.numpy as jnp

    from degmm.datasets.lorenz96_dynamics import FAST, SLOW, TwoScale, truth_run
    from degmm.precision import precision_of

    year = YEAR / DAYS / TRUTH_STEP
    cases = min(n, max(1, int(year // spacing)))  # to a run
    runs = -(-n // cases)
    first = round(SPIN_UP / TRUTH_STEP) + np.arange(cases) * spacing
    wanted = np.unique(np.concatenate([first, first + lead]))
    begin = np.arange(runs) * cases * spacing - first[0]
    slow = rng.normal(2.5, 5, size=(SLOW, runs))
    fast = rng.normal(0.0, 0.1, size=(SLOW * FAST, runs))
    with precision_of(np.float32):
        single = jnp.float32
        found = truth_run(
            TwoScale(jnp.asarray(slow, single), jnp.asarray(fast, single)),
            jnp.asarray(2 * np.pi * (begin / year % 1), single),
            jnp.asarray(np.diff(wanted, prepend=0)),
            jnp.asarray([FORCING, season, 2 * np.pi * DAYS / YEAR], single),
            jnp.asarray(TRUTH_STEP, single),
        )
        found = np.asarray(found, np.float64)

    def at(steps: np.ndarray) -> np.ndarray:
        states = found[np.searchsorted(wanted, steps)]  # (cases of a run, K, runs)
        return np.moveaxis(states, 2, 0).reshape(-1, SLOW)[:n]

    return Truth(at(first), at(first + lead))


def _forecast(members: Float[np.ndarray, "n M K"], lead: float) -> Float[np.ndarray, "n M K"]:
    """Return where the model takes states in the time ``lead``, in float32."""
    import jax.numpy as jnp

    from degmm.datasets.lorenz96_dynamics import model_run
    from degmm.precision import precision_of

    count = round(lead / MODEL_STEP)
    with precision_of(np.float32):
        single = jnp.float32
        state = tuple(jnp.asarray(part.ravel(), single) for part in np.moveaxis(members, 2, 0))
        step = jnp.asarray(lead / count, single)
        found = model_run(state, jnp.asarray(FORCING, single), step, jnp.asarray(count))
        return np.stack([np.asarray(part).reshape(members.shape[:2]) for part in found], axis=2)
