"""Past observations as ensembles, by a loop over cases."""

import numpy as np
import pytest

from degmm.verification import climatology_ensemble, crps_ensemble


@pytest.mark.parametrize("window", [0.0, 10.3, 400])
@pytest.mark.parametrize("D", [None, 2])
def test_members_are_the_observations_of_the_season(window, D):
    rng = np.random.default_rng(0)
    past = np.datetime64("2000-01-01") + np.arange(3 * 366)
    y = rng.normal(size=len(past) if D is None else (len(past), D))
    y[20], y[400] = np.nan, np.nan
    times = np.array(["2005-01-02", "2005-07-01", "2008-12-30"], "datetime64[D]")
    found = climatology_ensemble(y, past, times, window=window)
    year = past.astype("datetime64[Y]")
    day = (past - year).astype(int)
    for case, time in zip(found, times, strict=True):
        distance = np.abs(day - (time - time.astype("datetime64[Y]")).astype(int))
        near = np.minimum(distance, np.abs(365.25 - distance)) <= window
        expected = y[near & ~np.isnan(y if D is None else y[:, 0])]
        shown = case[~np.isnan(case if D is None else case[:, 0])]
        np.testing.assert_array_equal(np.sort(shown, axis=0), np.sort(expected, axis=0))
        if D:  # the variables of one past case stay together
            assert {tuple(row) for row in shown} == {tuple(row) for row in expected}
    assert found.shape[:2] == (3, max((~np.isnan(case.reshape(len(case), -1)[:, 0])).sum() for case in found))


def test_all_past_observations_without_dates():
    found = climatology_ensemble([1.0, np.nan, 3], n_cases=2)
    assert found.tolist() == [[1, 3], [1, 3]]
    assert climatology_ensemble(np.zeros((4, 2))).shape == (1, 4, 2)


def test_the_season_has_skill_over_all_of_the_past():
    days = np.datetime64("2000-01-01") + np.arange(6 * 365)
    rng = np.random.default_rng(1)
    y = 10 * np.cos(2 * np.pi * np.arange(len(days)) / 365.25) + rng.normal(size=len(days))
    past, rest = slice(0, 4 * 365), slice(4 * 365, None)
    by_season = climatology_ensemble(y[past], days[past].astype(str), days[rest])
    of_all = climatology_ensemble(y[past], n_cases=2 * 365)
    assert crps_ensemble(by_season, y[rest]).mean() < 0.4 * crps_ensemble(of_all, y[rest]).mean()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([np.nan],), "train_y: there is no observation"),
        ((np.zeros((2, 2, 2)),), "train_y: expected shape"),
        (([1.0], ["2000-01-01"]), "test_times: give the dates of past and cases"),
        (([1.0], None, ["2000-01-01"]), "train_times: give"),
        (([1.0], ["a"], ["2000-01-01"]), "train_times: expected dates"),
        (([1.0], ["2000-01-01"], ["2000-01-01", "NaT"]), "test_times: expected dates"),
        (([1.0, 2], ["2000-01-01"], ["2000-01-01"]), "train_times: 1 dates for 2"),
        (
            ([1.0], ["2000-01-01"], ["2000-01-09", "2000-06-01"]),
            "window: no observation within 15 days .* case 1",
        ),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        climatology_ensemble(*arguments)
    with pytest.raises(ValueError, match="window: expected"):
        climatology_ensemble([1.0], ["2000-01-01"], ["2000-01-01"], window=-1)
    with pytest.raises(ValueError, match="n_cases: expected"):
        climatology_ensemble([1.0], n_cases=0)
