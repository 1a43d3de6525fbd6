"""Context of coordinates: made alike for the fit and for new cases, and kept with the model."""

import numpy as np
import pytest

import degmm
from degmm import DEGMM, Ensemble
from degmm.ensembles import ContextRecipe


def cases(n=80, **coords):
    rng = np.random.default_rng(0)
    days = (np.datetime64("2019-12-01", "D") + 9 * np.arange(n)).astype("datetime64[ns]")
    station = np.array(["north", "south"])[np.arange(n) % 2]
    labels = (np.arange(n) // 2) % 2
    X = rng.normal(size=(n, 4, 2)) + 5 * labels[:, None, None]
    return Ensemble.from_numpy(X, ["t2m", "wind"], coords={"time": days, "station": station, **coords})


def test_columns_of_each_kind():
    lead = np.array([24, 48] * 40, "timedelta64[h]")
    data = cases(lead=lead, height=np.arange(80.0), id=np.arange(80) % 3, dry=np.arange(80) % 2 == 0)
    recipe = ContextRecipe.fit(data, ["season", "station", "lead", "height", "id", "dry", "time"])
    assert recipe.columns == (
        *("season (sine)", "season (cosine)", "station: north", "station: south", "lead", "height"),
        *("id: 0", "id: 1", "id: 2", "dry", "time"),
    )
    context = recipe.of(data)
    assert context.shape == (80, 11)
    np.testing.assert_allclose(context[:, 0] ** 2 + context[:, 1] ** 2, 1)
    np.testing.assert_array_equal(context[:, 2], np.arange(80) % 2 == 0)
    np.testing.assert_array_equal(context[:2, 4], [24, 48])
    np.testing.assert_array_equal(context[:, 6:9].argmax(axis=1), np.arange(80) % 3)
    assert 2019.9 < context[0, -1] < 2020 < context[4, -1] < 2020.1
    new = cases(
        lead=lead.astype("timedelta64[ns]"),
        height=np.arange(80),
        id=np.arange(80) % 3 * 1.0,
        dry=data.coords["dry"],
    )
    np.testing.assert_array_equal(recipe.of(new), context)


def test_a_coordinate_named_season_is_taken_as_it_is():
    data = cases(season=np.array(["DJF", "MAM", "JJA", "SON"])[np.arange(80) % 4])
    assert ContextRecipe.fit(data, "season").columns == (
        "season: DJF",
        "season: JJA",
        "season: MAM",
        "season: SON",
    )
    with pytest.raises(
        ValueError, match="context: no coordinate 'season' of the cases; there are time, station, season"
    ):
        ContextRecipe.fit(data, "season").of(cases())


@pytest.mark.parametrize(
    ("fitted", "new", "message"),
    [
        (
            {},
            {"station": ["north", "east"] * 40},
            "case 1 has station 'east', which was not there in the fit; there were north, south",
        ),
        ({}, {"station": ["north", ""] * 40}, "case 1 has no station"),
        ({}, {"time": np.full(80, "NaT", "M8[ns]")}, "case 0 has no date in 'time'"),
        ({}, {"time": np.arange(80)}, r"no coordinate of dates \(coordinates: time, station\)"),
        (
            {"lead": np.arange(80)},
            {},
            "context: no coordinate 'lead' of the cases; there are time, station, season",
        ),
        ({"lead": np.arange(80)}, {"lead": ["a"] * 80}, "'lead' was of numbers in the fit, here of labels"),
        (
            {"lead": np.arange(80)},
            {"lead": np.arange(80) * np.timedelta64(1, "h")},
            "of numbers in the fit, here of durations",
        ),
        ({"lead": np.arange(80)}, {"lead": [*range(79), np.nan]}, r"case 79 has no lead \(nan\)"),
        ({"lead": ["a", "b"] * 40}, {"lead": np.arange(80)}, "case 0 has lead '0', which was not there"),
    ],
)
def test_new_cases_that_do_not_fit(fitted, new, message):
    names = ["season", "station", *(["lead"] if "lead" in fitted else [])]
    recipe = ContextRecipe.fit(cases(**{k: np.asarray(v) for k, v in fitted.items()}), names)
    with pytest.raises(ValueError, match=message):
        recipe.of(cases(**{k: np.asarray(v) for k, v in new.items()}))


def test_names_that_cannot_be_learned():
    with pytest.raises(ValueError, match="context: 'station' is named twice"):
        ContextRecipe.fit(cases(), ["station", "station"])
    many = Ensemble.from_numpy(np.zeros((1100, 2, 1)), coords={"site": np.arange(1100)})
    with pytest.raises(ValueError, match="'site' has 1100 labels, too many to learn one by one"):
        ContextRecipe.fit(many, "site")
    with pytest.raises(ValueError, match="context: the cases have no coordinate of dates"):
        ContextRecipe.fit(many, "season")


def test_dates_of_text_are_dates_and_not_labels():
    text = cases(time=cases().coords["time"].astype("datetime64[D]").astype(str))
    for names in (["season"], ["time"], ["season", "time"]):
        recipe = ContextRecipe.fit(cases(), names)
        np.testing.assert_allclose(recipe.of(text), recipe.of(cases()))
        assert recipe == ContextRecipe.fit(text, names)


@pytest.fixture(scope="module")
def fitted():
    data = cases()
    model = DEGMM(2, max_epochs=3, polish=0, n_init=1, hidden=(4,), random_state=0)
    with pytest.warns(degmm_warning()):
        return model.fit(data, context=["season", "station"])


def degmm_warning():
    from sklearn.exceptions import ConvergenceWarning

    return ConvergenceWarning


def test_a_model_makes_the_context_of_new_cases(fitted, tmp_path):
    data = cases()
    new = data[10:31]
    degmm.save(fitted, tmp_path / "model")
    again = degmm.load(tmp_path / "model")
    array = fitted.predict_proba(new, context=ContextRecipe.fit(data, ["season", "station"]).of(new))
    for model in (fitted, again):
        for context in (None, ["season", "station"], ("season", "station")):
            np.testing.assert_array_equal(model.predict_proba(new, context=context), array)
        assert model.predict(new).shape == (21,)
        assert model.score(new) == pytest.approx(model.score_samples(new).mean())
        for name, ask in {"an unknown station": ["east"] * 21, "no station": [""] * 21}.items():
            other = Ensemble.from_numpy(new.values, new.variables, coords={**new.coords, "station": ask})
            with pytest.raises(ValueError, match="context: case 0 has"):
                model.predict(other)
            assert name
        with pytest.raises(
            ValueError, match="season was named, and the model was fitted with season, station"
        ):
            model.predict(new, context="season")
        with pytest.raises(ValueError, match="coordinates were named, and X is an array without any"):
            model.predict(new.values)
    changed = fitted.predict_proba(
        data, context=ContextRecipe.fit(data, ["season", "station"]).of(data)[::-1]
    )
    assert np.abs(changed - fitted.predict_proba(data)).max() > 0  # the context is read


def test_a_model_without_context_takes_no_names():
    from degmm import EGMM

    model = EGMM(2, n_init=1, random_state=0).fit(cases())
    with pytest.raises((ValueError, TypeError), match="context"):
        model.predict(cases(), context="season")
