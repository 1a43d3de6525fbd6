"""``degmm calibrate``, its forecasts of new ensembles, and the comparison that it prints."""

import json
import tomllib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import real_file
from test_cli import degmm

from degmm import Ensemble, load, read_ensemble
from degmm.calibration import EMOS, Forecast, RegimeEMOS
from degmm.cli import calibration_cases
from degmm.evaluation import CLIMATOLOGY, GLOBAL, RAW, Evaluation, evaluate
from degmm.inference.progress import TrainingProgress

FAST = ["--n-networks", 1, "--folds", 0]
N, M = 480, 6
TRAIN = 320


def made(n=N, D=2, seed=0, **changes):
    """Forecasts of one case in two days, biased and too narrow, by an amount that turns with the year."""
    rng = np.random.default_rng(seed)
    times = np.datetime64("2001-01-01", "ns") + np.arange(n) * np.timedelta64(2, "D")
    phase = 2 * np.pi * np.arange(n) * 2 / 365.25
    centre = 10 + 4 * rng.normal(size=(n, D))
    members = centre[:, None] + 0.6 * rng.normal(size=(n, M, D))
    observed = centre + np.cos(phase)[:, None] + (1 + 0.5 * np.sin(phase))[:, None] * rng.normal(size=(n, D))
    values = {
        "units": ("K", "hPa")[:D],
        "case_dim": "time",
        "coords": {"time": times},
        "observations": observed,
    }
    return Ensemble.from_numpy(members, ["t2m", "slp"][:D], **(values | changes))


def file_of(data, path):
    data.to_xarray().to_netcdf(path, engine="h5netcdf")
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run with all that there is: two variables, dates, cross-validation."""
    folder = tmp_path_factory.mktemp("calibrate")
    data = made()
    data.values[7, 4:] = np.nan
    data.observations[330, 0] = np.nan
    file = file_of(data, folder / "x.nc")
    assert (
        degmm("calibrate", file, "--K", 2, "--n-networks", 1, "--folds", 2, "-o", folder / "out", "-q") == 0
    )
    return folder / "out", file


@pytest.fixture
def one(tmp_path):
    """A file of one variable."""
    return file_of(made(n=150, D=1), tmp_path / "one.nc")


def item_text(folder, kind):
    items = json.loads((folder / "run.json").read_text())["items"]
    return [item for item in items if item["kind"] == kind]


# --- what is written --------------------------------------------------------------------------------------


def test_the_folder_holds_all_there_is(done):
    out, _ = done
    names = {path.name for path in out.iterdir() if path.suffix != ".safetensors"}
    pictures = {f"{what}_{d}.png" for what in ("histograms", "scores", "examples") for d in (1, 2)}
    pictures |= {"regimes.png"}
    tables = {"scores.csv", "joint_scores.csv"}
    assert names == {*pictures, *tables, "forecasts.nc", "model.json", "run.json", "run.toml", "report.html"}
    assert {item["file"] for item in item_text(out, "picture")} == pictures
    assert all(len(item["caption"]) > 40 for item in item_text(out, "picture"))
    page = (out / "report.html").read_text()
    assert page.count("<img") == 7
    assert "t2m [K]: forecasts of 159 cases of the test" in page
    assert set(json.loads((out / "run.json").read_text())["files"]) == {path.name for path in out.iterdir()}


def test_scores_are_those_of_the_forecasts(done):
    import scoringrules

    out, file = done
    data = read_ensemble(file)
    train, test = data[:TRAIN], data[TRAIN:]
    table = pd.read_csv(out / "scores.csv").set_index(["variable", "forecast"])
    names = [CLIMATOLOGY, RAW, GLOBAL, "EMOS with season", "regimes, K = 2"]
    assert list(table.loc["slp"].index) == names
    raw = scoringrules.crps_ensemble(test.observations, test.values, m_axis=1, backend="numpy")
    emos = EMOS(context_terms=False).fit(train).predict(test)
    seasonal = EMOS().fit(train, context="season").predict(test)
    regimes = load(out).predict(test)
    for d, name in enumerate(data.variables):
        known = ~np.isnan(test.observations[:, d])
        rows = table.loc[name]
        assert (rows["cases"] == known.sum()).all()
        assert rows.loc[RAW, "mean"] == pytest.approx(raw[known, d].mean())
        for label, forecast in zip(names[2:], (emos, seasonal, regimes), strict=True):
            crps = forecast.margin(d).crps(test.observations[:, d])[known]
            assert rows.loc[label, "mean"] == pytest.approx(crps.mean(), rel=1e-6)
            low, high = forecast.margin(d).quantile([0.05, 0.95])[known].T
            y = test.observations[known, d]
            assert rows.loc[label, "coverage"] == pytest.approx(((y >= low) & (y <= high)).mean())
            assert rows.loc[label, "width"] == pytest.approx((high - low).mean())
        np.testing.assert_allclose(rows["skill"], 1 - rows["mean"] / rows.loc[GLOBAL, "mean"])
        # The season, which EMOS alone does not know, is all that there is to gain.
        assert rows.loc["EMOS with season", "skill"] > 0.05
        assert rows["p_value"].iloc[1] < 0.001
        past = train.observations[:, d]
        mean = np.abs(past[:, None] - past).mean() / 2
        assert 0.8 < rows.loc[CLIMATOLOGY, "mean"] / mean < 1.3
        held_out = rows["held_out_coverage"].iloc[2:]
        assert ((held_out > 0.7) & (held_out <= 1)).all()
        assert np.isnan(rows.loc[CLIMATOLOGY, "held_out_crps"])


def test_joint_scores_are_beside_those_that_they_must_beat(done):
    out, file = done
    import scoringrules

    table = pd.read_csv(out / "joint_scores.csv").set_index(["score", "forecast"])
    data = read_ensemble(file)
    unit = np.nanstd(data.observations[:TRAIN], axis=0)
    test = data[TRAIN:]
    energy = scoringrules.es_ensemble(test.observations / unit, test.values / unit, backend="numpy")
    assert table.loc[("energy score", RAW), "mean"] == pytest.approx(np.nanmean(energy))
    assert list(table.loc["variogram score"].index) == [
        CLIMATOLOGY,
        RAW,
        "EMOS, reordered",
        "regimes, unordered",
        "regimes, reordered",
        "regimes, copula of errors",
    ]
    assert table.loc[("energy score", "regimes, reordered"), "skill"] > 0
    assert table.loc[("energy score", RAW), "skill"] < 0


def test_forecasts_are_ensembles_again(done):
    out, file = done
    data = read_ensemble(file)
    test = data[TRAIN:]
    again = read_ensemble(out / "forecasts.nc")
    assert again.shape == test.shape
    assert again.variables == test.variables
    assert again.units == test.units
    np.testing.assert_array_equal(again.coords["time"], test.coords["time"])
    np.testing.assert_allclose(again.observations, test.observations)
    ranks = [values.argsort(axis=1).argsort(axis=1) for values in (again.values, test.values)]
    np.testing.assert_array_equal(*ranks)
    forecast = load(out).predict(test)
    with xr.open_dataset(out / "forecasts.nc") as stored:
        np.testing.assert_allclose(stored["forecast_mean"], forecast.mean())
        np.testing.assert_allclose(stored["forecast_std"], forecast.std())
        np.testing.assert_allclose(
            stored["forecast_quantile"].sel(quantile=[0.05, 0.5]), forecast.quantile([0.05, 0.5])
        )
        np.testing.assert_allclose(stored["regime_probability"].sum("regime"), 1)
        assert stored["regime"].to_numpy().tolist() == [1, 2]


def test_what_is_said_is_honest_about_the_regimes(done):
    out, _ = done
    notes = [item["text"] for item in item_text(out, "note")]
    scores = pd.read_csv(out / "scores.csv").set_index(["variable", "forecast"])
    for name in ("t2m", "slp"):
        (verdict,) = [note for note in notes if note.startswith(f"{name}: the regimes")]
        means = scores.loc[name, "mean"]
        share = 100 * abs(means["regimes, K = 2"] / means[[GLOBAL, "EMOS with season"]].min() - 1)
        assert f"their CRPS is {share:.1f} %" in verdict
    assert any("training: 320 cases of 2001-01-01 to 2002-10-01" in note for note in notes)
    assert any(note.startswith("climatology: what was observed at this time of the year") for note in notes)
    assert any(note.startswith("typical cases of the training") for note in notes)


# --- the same again ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_is_repeated_by_its_configuration(done, tmp_path):
    out, _ = done
    settings = tomllib.loads((out / "run.toml").read_text())
    assert (settings["command"], settings["K"], settings["gate"], settings["folds"]) == (
        "calibrate",
        "2",
        "deep",
        2,
    )
    assert degmm("calibrate", "--config", out / "run.toml", "--folds", 0, "-q", "-o", tmp_path / "again") == 0
    with (
        xr.open_dataset(out / "forecasts.nc") as one,
        xr.open_dataset(tmp_path / "again/forecasts.nc") as two,
    ):
        xr.testing.assert_allclose(one, two)
    assert "held_out_crps" not in pd.read_csv(tmp_path / "again/scores.csv")


@pytest.mark.parametrize("suffix", [".nc", ".csv"])
def test_new_ensembles_are_forecast(suffix, done, tmp_path, capsys):
    out, file = done
    new = file_of(read_ensemble(file)[400:], tmp_path / "new.nc")
    assert degmm("predict", out, new, "-o", tmp_path / f"found{suffix}") == 0
    assert "mean CRPS where something was observed: " in capsys.readouterr().out
    found = read_ensemble(tmp_path / f"found{suffix}")
    with xr.open_dataset(out / "forecasts.nc") as stored:
        np.testing.assert_allclose(found.values, stored["forecast"][80:], rtol=1e-5)
    np.testing.assert_allclose(found.observations, read_ensemble(new).observations)
    if suffix == ".csv":
        table = pd.read_csv(tmp_path / "found.csv")
        with xr.open_dataset(out / "forecasts.nc") as stored:
            np.testing.assert_allclose(
                table["slp_q95"],
                stored["forecast_quantile"].sel(variable="slp", quantile=0.95)[80:],
                rtol=1e-5,
            )
        np.testing.assert_allclose(table["regime_1"] + table["regime_2"], 1)


def test_forecasts_have_a_name_of_their_own(done, tmp_path, monkeypatch):
    out, file = done
    monkeypatch.chdir(tmp_path)
    assert degmm("predict", out, file, "-q") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["forecast.nc"]


def test_an_emos_that_python_saved_predicts_too(tmp_path, one):
    from degmm import save

    save(EMOS().fit(read_ensemble(one)), tmp_path / "emos")
    assert degmm("predict", tmp_path / "emos", one, "-o", tmp_path / "found.nc", "-q") == 0
    with xr.open_dataset(tmp_path / "found.nc") as found:
        assert "regime_probability" not in found
        assert found["forecast"].shape == (150, M, 1)


# --- choices --------------------------------------------------------------------------------------------


def test_json_and_the_number_of_regimes(one, tmp_path, capsys):
    options = ["--K", "1,2", "--gate", "mixture", "--folds", 2, "--json", "-o", tmp_path / "out"]
    assert degmm("calibrate", one, *options) == 0
    said = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    numbers, scores, regimes = said["tables"]
    best = min(numbers["rows"], key=lambda row: row["crps"])["K"]
    assert load(tmp_path / "out").n_components == best
    assert scores["rows"][-1]["forecast"] == f"regimes, K = {best}"
    assert len(regimes["rows"]) == best
    assert "n-networks" not in tomllib.loads((tmp_path / "out/run.toml").read_text())
    # less than a year of training says nothing of the season
    assert any("the training does not cover the year" in note for note in said["notes"])
    assert [row["forecast"] for row in scores["rows"]][1:3] == [RAW, GLOBAL]


@pytest.mark.slow
def test_without_dates(tmp_path, capsys):
    file = file_of(made(n=150, D=1, coords={}, case_dim="case"), tmp_path / "x.nc")
    assert degmm("calibrate", file, "--K", 2, *FAST, "-o", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "context: none, since the cases have no dates" in said
    assert "climatology: what was observed in the training" in said
    assert "training: 100 cases, to which" in said


def test_the_context_of_a_file_counts_unless_told_otherwise(tmp_path, capsys):
    data = made(n=300, D=1)
    angle = 2 * np.pi * np.arange(300) * 2 / 365.25
    file = file_of(made(n=300, D=1, context=np.stack([np.sin(angle), np.cos(angle)], 1)), tmp_path / "x.nc")
    assert degmm("calibrate", file, "--K", 1, *FAST, "-o", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "context: that of the file, 2 columns" in said
    assert "EMOS with context" in said
    assert degmm("calibrate", file, "--K", 1, *FAST, "--context", "none", "-o", tmp_path / "out") == 0
    assert "EMOS with" not in capsys.readouterr().out
    assert load(tmp_path / "out").predict(data).shape == (300,)


@pytest.mark.slow
def test_a_family_from_zero_and_a_split_by_date(tmp_path, capsys):
    data = made(n=300, D=1)
    rain = made(n=300, D=1, observations=np.maximum(data.observations - 8, 0))
    file = file_of(rain, tmp_path / "x.nc")
    options = ["--family", "censored_logistic", "--split", "2002-01-01", "--K", 2, *FAST]
    assert degmm("calibrate", file, *options, "-o", tmp_path / "out") == 0
    assert "test: 117 cases of 2002-01-02 to 2002-08-22" in capsys.readouterr().out
    assert load(tmp_path / "out").family == "censored_logistic"
    told = []
    for each in (rain, data):
        calibration_cases.tell_zeros(SimpleNamespace(note=told.append), each)
    assert len(told) == 1
    assert "--family censored_logistic" in told[0]
    with xr.open_dataset(tmp_path / "out/forecasts.nc") as found:
        assert (found["forecast"] >= 0).all()


def test_cases_are_put_in_order(tmp_path):
    data = made(n=150, D=1)
    order = np.random.default_rng(0).permutation(150)
    for name, cases in (("a", data), ("b", data[order])):
        file_of(cases, tmp_path / f"{name}.nc")
        options = ["--K", 1, *FAST, "-q", "-o", tmp_path / name]
        assert degmm("calibrate", tmp_path / f"{name}.nc", *options) == 0
    pd.testing.assert_frame_equal(*(pd.read_csv(tmp_path / name / "scores.csv") for name in "ab"))


@pytest.mark.slow
def test_the_demo_needs_no_file(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(calibration_cases, "DEMO_CASES", 400)
    assert degmm("calibrate", "--demo", "--K", 2, *FAST, "-o", tmp_path) == 0
    said = capsys.readouterr().out
    assert "400 cases of 20 members, 2 variables" in said
    assert "EMOS with season" in said
    data = read_ensemble(tmp_path / "demo.nc")
    assert data.shape == (400, 20, 2)
    assert "demo = true" in (tmp_path / "run.toml").read_text()
    # The file of the demo is not lost to a run that reads it.
    assert degmm("calibrate", tmp_path / "demo.nc", "-o", tmp_path) == 2
    assert "would replace" in capsys.readouterr().err


# --- mistakes -------------------------------------------------------------------------------------------


def without(what):
    def file(folder):
        data = made(n=150, D=1)
        changes = {
            "observations": {"observations": None},
            "any observation": {"observations": np.full((150, 1), np.nan)},
            "old observations": {"observations": np.where(np.arange(150)[:, None] < 100, np.nan, 0.0)},
            "new observations": {"observations": np.where(np.arange(150)[:, None] < 95, 1.0, np.nan)},
            "dates": {"coords": {}, "case_dim": "case"},
            "variety": {"coords": {"time": data.coords["time"], "station": np.repeat("a", 150)}},
            "cases": {},
            "few variables": {},
        }[what]
        if what == "cases":
            return file_of(made(n=12, D=1), folder / "x.nc")
        if what == "few variables":
            wide = np.random.default_rng(0).normal(size=(30, 3, 20))
            data = Ensemble.from_numpy(wide, observations=wide[:, 0], case_dim="case")
            return file_of(data, folder / "x.nc")
        return file_of(made(n=150, D=1, **changes), folder / "x.nc")

    return file


BAD = {
    "no file": (None, [], "FILE: name a file of forecasts, or --demo"),
    "both": ("dates", ["--demo"], "FILE: not with --demo"),
    "no observations": ("observations", [], "no observations of t2m, without which"),
    "all missing": ("any observation", [], "every observation of t2m is missing (NaN)"),
    "none in the training": ("old observations", [], "no observation of t2m in the training, the first 100"),
    "none in the test": ("new observations", [], "0 cases of the test with an observation of t2m, and 10"),
    "too few": ("cases", [], "4 cases of the test with an observation of t2m"),
    "too many variables": ("few variables", [], "20 variables, of which at most 12"),
    "constant context": (
        "variety",
        ["--context", "station"],
        "--context: station: a does not vary in the 100",
    ),
    "no such context": ("variety", ["--context", "lead"], "--context: no coordinate 'lead' of the cases"),
    "season without dates": (
        "dates",
        ["--context", "season"],
        "--context: the cases have no coordinate of dates",
    ),
    "date without dates": (
        "dates",
        ["--split", "2001-05-01"],
        "--split: the cases have no coordinate of dates",
    ),
    "two ways to part": (
        "dates",
        ["--split", "2001-05-01", "--train", 0.5],
        "--split: not together with --train",
    ),
    "no share": ("dates", ["--train", 2], "--train: expected a share between 0 and 1"),
    "no variable": ("dates", ["--variable", "rain"], "--variable: no variable 'rain'"),
    "K too large": ("dates", ["--K", 101, *FAST], "--K: 101 regimes are too many for 100 cases"),
    "K is no number": ("dates", ["--K", "x"], "--K: expected numbers of at least 1"),
    "K without folds": ("dates", ["--K", "1:2", "--folds", 0], "--K: 1:2 is chosen by cross-validation"),
    "one fold": ("dates", ["--folds", 1], "--folds: expected 0 for no cross-validation, or at least 2"),
    "networks of a mixture": (
        "dates",
        ["--gate", "mixture", "--n-networks", 2],
        "--n-networks: gate mixture has no",
    ),
    "a family that is none": ("dates", ["--family", "gamma"], "Invalid value for '--family'"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_sentence(case, tmp_path, capsys):
    what, options, message = BAD[case]
    file = [] if what is None else [without(what)(tmp_path)]
    assert degmm("calibrate", *file, *options, "-o", tmp_path / "out", "-q") == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_other_variables_and_folders(done, tmp_path, capsys):
    out, _ = done
    data = made(n=30, D=1)
    other = Ensemble.from_numpy(data.values, ["rain"], coords=data.coords, case_dim="time")
    file = file_of(other, tmp_path / "rain.nc")
    assert degmm("predict", out, file, "-o", tmp_path / "found.nc") == 2
    assert "variables rain; the model was fitted to t2m, slp, and t2m is missing" in capsys.readouterr().err
    assert degmm("fit", file, "-o", out) == 2
    assert "holds the results of degmm calibrate" in capsys.readouterr().err
    assert degmm("report", tmp_path) == 2
    assert "degmm describe, fit, select, calibrate or compare" in capsys.readouterr().err


# --- the comparison itself --------------------------------------------------------------------------------


def normal(mean, scale):
    mean = np.asarray(mean, float)[:, None]
    return Forecast(np.ones_like(mean), mean, np.full_like(mean, scale))


@pytest.mark.parametrize(
    ("scale", "verdict"),
    [(1.0, "the regimes help"), (3.0, "the regimes do not help beyond noise"), (6.0, "the regimes do harm")],
)
def test_verdicts(scale, verdict):
    from degmm.cli.calibration_tables import _verdict

    rng = np.random.default_rng(0)
    data = made(n=400, D=1, observations=rng.normal(size=(400, 1)))
    mean = rng.normal(scale=0.05, size=400)
    forecasts = {
        CLIMATOLOGY: rng.normal(size=(400, 5, 1)),
        RAW: data.values,
        GLOBAL: normal(np.ones(400), 3.0),
        "EMOS with season": normal(np.zeros(400), 3.0),
        "regimes, K = 2": normal(mean, scale),
    }
    found = Evaluation(data, data, RegimeEMOS(2), forecasts, True)
    said = _verdict(found, 0)
    assert said.startswith(f"t2m: {verdict}: their CRPS is ")
    assert "EMOS with season, the better EMOS" in said
    best, test = found.against_best(0)
    assert best == "EMOS with season"
    crps = [forecasts[name].crps(data.observations[:, 0]).mean() for name in ("regimes, K = 2", best)]
    assert test.difference == pytest.approx(crps[0] - crps[1])


def test_a_season_of_one_month_is_none(tmp_path, capsys):
    novembers = np.array([f"{year}-11-{day:02d}" for year in range(2001, 2016) for day in range(1, 11)])
    data = made(n=150, D=1, coords={"time": novembers.astype("datetime64[ns]")})
    file = file_of(data, tmp_path / "x.nc")
    assert degmm("calibrate", file, "--K", 1, *FAST, "-o", tmp_path / "out") == 0
    assert "context: none, since the training does not cover the year" in capsys.readouterr().out


def test_stations_of_a_day_are_told(tmp_path, capsys):
    file = file_of(stations_of_days(150), tmp_path / "x.nc")
    assert degmm("calibrate", file, "--K", 1, *FAST, "-o", tmp_path / "out") == 0
    assert "t2m [K]: forecasts of 51 cases of the test, at 17 times" in capsys.readouterr().out


def stations_of_days(n):
    return made(n=n, D=1, coords={"time": np.repeat(made(n=n // 3).coords["time"], 3)}, case_dim="case")


def test_cases_of_one_time_count_as_one():
    stations = stations_of_days(90)
    found = evaluate(stations[:60], stations[60:], RegimeEMOS(1, gate="mixture", random_state=0))
    table = found.table(0)
    assert (table["cases"] == 10).all()
    crps = found.crps(GLOBAL, 0)
    np.testing.assert_allclose(found.in_time(crps), crps.reshape(10, 3).mean(axis=1))
    assert table.loc[GLOBAL, "mean"] == pytest.approx(crps.mean())
    assert found.joint(0) is None


@pytest.mark.slow
def test_regimes_help_on_sylt(tmp_path):
    file = real_file("germany_ecmwf_t2m.nc")
    options = ["--variable", "t2m_list_sylt_24h", *FAST, "-q", "-o", tmp_path]
    assert degmm("calibrate", file, *options) == 0
    rows = pd.read_csv(tmp_path / "scores.csv").set_index("forecast")
    assert rows.loc["EMOS with season", "mean"] < rows.loc[GLOBAL, "mean"] < rows.loc[RAW, "mean"]
    assert rows.loc["regimes, K = 4", "mean"] < rows.loc["EMOS with season", "mean"]
    assert rows.loc["regimes, K = 4", "p_value"] < 0.01


def test_without_a_terminal_progress_is_told_now_and_then(capsys):
    for every in (0.0, 1e9):
        with TrainingProgress(True, 2, "calibrating", "fit", every) as shown:
            shown.report(0, "all cases")
            shown.report(1, "block 1 of 2")
    told = capsys.readouterr().err.splitlines()
    assert told == ["fit 0/2: all cases", "fit 1/2: block 1 of 2, 0 s left"]
