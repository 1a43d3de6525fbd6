"""The climatology of a trial is that of the place."""

import numpy as np
import pytest

from degmm import Ensemble
from degmm.past import climatology, places_of
from degmm.verification import crps_ensemble

PLACES = np.array(["peak", "lake", "town"])


def cases(n=200, *, order=None, **labels):
    """Three stations of different temperatures, one observation a day each."""
    rng = np.random.default_rng(0)
    days = np.repeat(np.datetime64("2018-01-01") + 3 * np.arange(n), 3)
    centre = np.tile([-5.0, 12.0, 10.0], n) + 3 * rng.normal(size=3 * n)
    X, y = centre[:, None, None] + rng.normal(size=(3 * n, 6, 1)), centre + rng.normal(size=3 * n)
    coords = {"time": days.astype("M8[ns]"), **labels}
    return Ensemble.from_numpy(X, ["t2m"], coords=coords, observations=y).split(2 / 3)


def score(train, test):
    return crps_ensemble(climatology(train, test)[0][..., 0], test.observations[:, 0])


@pytest.mark.parametrize(
    "labels",
    [
        {"station": np.tile(PLACES, 200)},
        {"station": np.tile([10361, 10362, 10363], 200)},
        {"latitude": np.tile([47.1, 47.2, 47.2], 200), "longitude": np.tile([8.0, 8.0, 8.5], 200)},
        {"step": np.tile(np.array([24, 48, 72], "m8[h]").astype("m8[ns]"), 200)},
        # what tells no places does not get into their way
        {"station": np.tile(PLACES, 200), "number": np.arange(600), "month": np.repeat(np.arange(200), 3)},
    ],
    ids=lambda labels: " ".join(labels),
)
def test_the_past_is_that_of_the_place(labels):
    train, test = cases(**labels)
    found, station = score(train, test), np.arange(len(test)) % 3
    for s in range(3):
        one = [data[np.arange(len(data)) % 3 == s] for data in (train, test)]
        np.testing.assert_allclose(found[station == s], score(*one))
    assert places_of(train, test).names == tuple(name for name in labels if name not in ("number", "month"))


def test_without_dates_places_are_few():
    train, test = cases(station=np.tile(PLACES, 200), number=np.arange(600))
    bare = [
        Ensemble.from_numpy(
            data.values,
            ["t2m"],
            coords={name: data.coords[name] for name in ("station", "number")},
            observations=data.observations,
        )
        for data in (train, test)
    ]
    assert places_of(*bare).names == ("station",)
    assert score(*bare).mean() < 2.2


def test_one_place_is_as_before():
    train, test = cases(month=np.repeat(np.arange(200) % 12, 3))
    assert places_of(train, test).names == ()
    np.testing.assert_array_equal(places_of(train, test).groups[0][1], np.arange(len(test)))


def test_a_place_without_a_past_leaves_all_together():
    train, test = cases(station=np.tile(PLACES, 200))
    observed = train.observations.copy()
    observed[::3] = np.nan
    from dataclasses import replace

    assert places_of(replace(train, observations=observed), test).names == ()
    assert np.isfinite(score(replace(train, observations=observed), test)).all()
