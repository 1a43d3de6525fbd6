"""``describe``, ``fit`` and ``calibrate`` on dates in every calendar and spelling, and on single labels.

docs/robustness.md has the table of what works.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from test_cli import degmm

from degmm import read_ensemble

cftime = pytest.importorskip("cftime")

N, M, STEP = 45, 4, 8
"""Cases, members, and days between two cases: their dates have 29, 30 and 31 February where there are such"""
START = "2000-02-06"
CALENDARS = (
    "standard",
    "gregorian",
    "proleptic_gregorian",
    "noleap",
    "365_day",
    "all_leap",
    "366_day",
    "360_day",
    "julian",
)
DAYS = np.datetime64(START) + STEP * np.arange(N)
COMPACT = [str(day).replace("-", "") for day in DAYS]
SPELLINGS = {
    "text 2020-01-31": [str(day) for day in DAYS],
    "text 2020-01-31T06:00Z": [f"{day}T06:00Z" for day in DAYS],
    "text 2020-01-31_06:00:00": [f"{day}_06:00:00" for day in DAYS],
    "bytes 2020-01-31": np.array([str(day) for day in DAYS], "S10"),
    "int YYYYMMDD": np.array(COMPACT, np.int64),
    "text YYYYMMDD": COMPACT,
    "int YYYYMMDDHH": np.array([f"{day}06" for day in COMPACT], np.int64),
    "text YYYYMMDDHH": [f"{day}06" for day in COMPACT],
    "bytes YYYYMMDDHH": np.array([f"{day}06" for day in COMPACT], "S10"),
    "float YYYYMMDD": np.array(COMPACT, np.float64),
}
SINGLE = {
    "date": ("time", np.datetime64("2020-01-31", "ns")),
    "step": ("step", np.timedelta64(24, "h").astype("m8[ns]")),
    "height": ("height", 2.0),
    "run": ("run", "00"),
}
QUICK = ["--no-progress", "--n-init", 2, "--K", 2, "-q"]
CALIBRATE = ["--K", 1, "--gate", "mixture", "--folds", 0, "-q"]


def values():
    rng = np.random.default_rng(0)
    centre = 280 + 6 * (np.arange(N) % 2) + rng.normal(size=N)
    return (centre[:, None] + rng.normal(size=(N, M))).astype("float32"), centre + 1 + rng.normal(size=N)


def dated(times, attributes=None, case="time"):
    members, observed = values()
    arrays = {"t2m": ((case, "member"), members, {"units": "K"}), "obs": (case, observed, {"units": "K"})}
    return xr.Dataset(arrays, coords={"time": (case, times, attributes or {})})


def with_commands(kinds, calibrated):
    """Return each kind with the commands to run; a calibration takes seconds, and few are run each time."""
    found = [pytest.param(kind, "fit") for kind in kinds]
    for kind in kinds:
        found.append(pytest.param(kind, "calibrate", marks=() if kind in calibrated else pytest.mark.slow))
    return found


def runs(command: str, file: Path, folder: Path, capsys) -> str:
    """Run ``describe`` and another command, and return what the first says."""
    assert degmm("describe", file) == 0
    said = capsys.readouterr().out
    options = {"fit": QUICK, "calibrate": CALIBRATE}[command]
    assert degmm(command, file, *options, "-o", folder / "out") == 0
    assert not capsys.readouterr().err
    name = {"fit": "clusters.nc", "calibrate": "forecasts.nc"}[command]
    with xr.open_dataset(folder / "out" / name) as found:
        assert found.sizes.keys() & {"time", "station"}
    return said


@pytest.mark.parametrize(("calendar", "command"), with_commands(CALENDARS, ["360_day"]))
def test_every_calendar(calendar, command, tmp_path, capsys):
    units, numbers = f"days since {START}", STEP * np.arange(N)
    file = tmp_path / "a.nc"
    dated(numbers, {"units": units, "calendar": calendar}).to_netcdf(file, engine="h5netcdf")
    dates = cftime.num2date(numbers, units, calendar)
    said = runs(command, file, tmp_path, capsys)
    last = f"{dates[-1].year:04d}-{dates[-1].month:02d}-{dates[-1].day:02d}"
    assert f"cases from {START} to {last} (time)" in said
    name = {"fit": "clusters.nc", "calibrate": "forecasts.nc"}[command]
    with xr.open_dataset(tmp_path / "out" / name, decode_times=False) as written:
        time = written["time"]  # in the calendar of the file
        again = cftime.num2date(time.to_numpy(), time.attrs["units"], time.attrs["calendar"])
        assert [d.timetuple()[:3] for d in again] == [d.timetuple()[:3] for d in dates[-len(again) :]]


@pytest.mark.parametrize(
    ("kind", "command"), with_commands(SPELLINGS, ["bytes 2020-01-31", "int YYYYMMDDHH"])
)
def test_every_spelling_of_dates(kind, command, tmp_path, capsys):
    file = tmp_path / "a.nc"
    dated(SPELLINGS[kind]).to_netcdf(file, engine="h5netcdf")
    said = runs(command, file, tmp_path, capsys)
    assert f"cases from {DAYS[0]} to {DAYS[-1]} (time)" in said


@pytest.mark.parametrize("kind", ["text 2020-01-31T06:00Z", "int YYYYMMDD", "int YYYYMMDDHH"])
def test_dates_in_tables(kind, tmp_path):
    members, observed = values()
    table = pd.DataFrame(members, columns=[f"t2m_m{m}" for m in range(M)]).assign(obs_t2m=observed)
    table = table.assign(time=SPELLINGS[kind])
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    hour = np.timedelta64(6 if "06" in kind or "HH" in kind else 0, "h")
    for name in ("a.csv", "a.parquet"):
        np.testing.assert_array_equal(read_ensemble(tmp_path / name).coords["time"], DAYS + hour)


@pytest.mark.parametrize("form", ["scalar", "length 1"])
@pytest.mark.parametrize(("kind", "command"), with_commands(SINGLE, ["date"]))
def test_a_single_label_is_that_of_all_cases(kind, command, form, tmp_path, capsys):
    name, value = SINGLE[kind]
    case = "station" if kind == "date" else "time"
    data = dated(DAYS.astype("M8[ns]"), case=case)
    data = data.drop_vars("time").assign_coords(station=np.arange(N)) if kind == "date" else data
    data = data.assign_coords({name: value})
    if form == "length 1":
        data["t2m"] = data["t2m"].expand_dims(name, axis=1)  # the observations have none
    file = tmp_path / "a.nc"
    data.to_netcdf(file, engine="h5netcdf")
    found = read_ensemble(file)
    assert found.shape == (N, M, 1)
    assert (found.coords[name] == value).all()
    assert found.observations is not None
    said = runs(command, file, tmp_path, capsys)
    assert ("cases from 2020-01-31 to 2020-01-31" if kind == "date" else f"{name} (1 values)") in said


def test_what_works_is_written_down():
    page = (Path(__file__).parents[1] / "docs" / "robustness.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| works \| works \| works \|", page, flags=re.MULTILINE)
    told = ", ".join(rows)
    for what in (*CALENDARS, "text", "bytes", "YYYYMMDD", "YYYYMMDDHH", *SINGLE, "scalar", "length 1"):
        assert re.search(rf"\b{re.escape(what)}\b", told), what
