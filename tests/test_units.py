"""Which units are the same, and which numbers cannot be in the same unit."""

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from degmm import GMM, Ensemble, read_ensemble
from degmm.calibration import EMOS
from degmm.ensembles.plausible import told_apart
from degmm.ensembles.units import plain_unit, same_unit, unlike_unit
from degmm.verification import crps_ensemble

rng = np.random.default_rng(0)
DAYS = pd.date_range("2020-01-01", periods=40)

SAME = [
    ("K", "kelvin", "Kelvin", "degK", "deg K", "degree_Kelvin"),
    ("degC", "°C", "Celsius", "degrees_Celsius", "degree_C", "deg C", "C", "ºC", "celsius", "degrees C"),
    (
        "m s-1",
        "m/s",
        "m s**-1",
        "m s^-1",
        "m.s-1",
        "M/S",
        "meters per second",
        "metre second-1",
        "ms-1",
        "m s⁻¹",
    ),
    ("kg m-2", "kg/m2", "kg m**-2", "kg m^-2", "mm", "millimetres", "kg/m^2"),
    ("mm d-1", "mm/day", "kg m-2 day-1", "mm per day", "mm/d"),
    ("kg m-2 s-1", "kg/m2/s", "mm s-1", "mm/s", "kg m**-2 s**-1", "s-1 kg m-2"),
    ("Pa", "pascal", "Pascals", "PA"),
    ("hPa", "mb", "mbar", "millibar", "hectopascals", "HPA"),
    ("m2 s-2", "m**2 s**-2", "m^2/s^2", "m2/s2", "(m2 s-2)"),
    ("W m-2", "W/m2", "W m**-2", "Watts m-2"),
    ("%", "percent", "pct"),
    ("1", "(0 - 1)", "fraction", "0-1", "kg kg-1", "m3 m-3", "dimensionless", "-"),
    ("kt", "knots", "kn"),
    ("km h-1", "km/h", "kmh-1", "kph", "km/hr"),
    ("gpm", "m", "metres"),
    ("m s-2", "m/s/s", "m/s2"),
]


@pytest.mark.parametrize("names", SAME, ids=lambda names: names[0])
def test_spellings_of_one_unit(names):
    assert {plain_unit(name) for name in names} == {plain_unit(names[0])}
    for others in SAME:
        assert others is names or not same_unit(names[0], others[0])


@pytest.mark.parametrize(
    "pair",
    [
        *(
            ("K", "degC"),
            ("degC", "degF"),
            ("Pa", "hPa"),
            ("mPa", "MPa"),
            ("m", "mm"),
            ("m", "cm"),
            ("g", "kg"),
        ),
        *(("%", "1"), ("m s-1", "kt"), ("m s-1", "m s"), ("0.1 mm", "mm"), ("mm h-1", "mm d-1"), ("J", "W")),
    ],
)
def test_other_units(pair):
    assert not same_unit(*pair)
    assert unlike_unit([pair[0]], [pair[1]]) == 0


@pytest.mark.parametrize("unit", ["", "unknown", " Undefined", "~", "none", "n/a"])
def test_units_that_are_not_known_stop_nothing(unit):
    assert unlike_unit(["K"], [unit]) is None


MEMBERS, OBSERVED = rng.normal(285, 5, (40, 5)), rng.normal(285, 5, 40)
PRESSURE = rng.normal(101325, 500, (40, 5))
RAIN = rng.gamma(0.7, 4, (40, 5))
APART = {
    "°C beside K": (MEMBERS, OBSERVED - 273.15, ("K", "degC")),
    "K beside °C": (MEMBERS - 273.15, OBSERVED, ("degC", "K")),
    "hPa beside Pa": (PRESSURE, PRESSURE[:, 0] / 100, ("Pa", "hPa")),
    "Pa beside hPa": (PRESSURE / 100, PRESSURE[:, 0], ("hPa", "Pa")),
    "mm beside m": (RAIN / 1000, RAIN[:, 0], ("m", "mm")),
    "m beside m2 s-2": (9.80665 * (5500 + MEMBERS), 5500 + OBSERVED, ("m2 s-2", "m")),
}


@pytest.mark.parametrize("kind", APART)
def test_numbers_that_cannot_be_in_one_unit(kind, tmp_path):
    members, observed, units = APART[kind]
    assert told_apart(members, observed) == units
    table = pd.DataFrame(members, columns=[f"x_m{m}" for m in range(5)]).assign(obs_x=observed, date=DAYS)
    table.to_csv(tmp_path / "a.csv", index=False)
    assert any(
        f"as in {units[0]} and in {units[1]}" in note for note in read_ensemble(tmp_path / "a.csv").notes
    )


@pytest.mark.parametrize(
    "pair",
    [
        (MEMBERS, OBSERVED + 30),
        (MEMBERS - 273.15, OBSERVED - 290),
        (RAIN, 20 * RAIN[:, 0]),
        (RAIN, 0 * RAIN[:, 0]),
        (PRESSURE, 0.9 * PRESSURE[:, 0]),
        (rng.normal(size=(40, 5)), rng.normal(size=40)),
        (MEMBERS * np.nan, OBSERVED),
        (MEMBERS[:1, :2], OBSERVED - 273),
    ],
)
def test_numbers_that_can(pair):
    assert told_apart(*pair) is None


def test_models_tell_of_values_without_a_unit():
    data = Ensemble.from_numpy(PRESSURE[..., None], ["sp"], units=("Pa",), observations=PRESSURE[:, 0])
    model, emos = GMM(1, n_init=1).fit(data.take_members([0])), EMOS().fit(data)
    for call in (lambda x: model.predict(x[:, :1]), emos.predict):
        with pytest.warns(
            UserWarning, match="X: variable 0 has values about 10.* fitted to values about 1.*'Pa'"
        ):
            call(PRESSURE[..., None] / 100)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            call(PRESSURE[..., None] * 1.01)
    with pytest.raises(ValueError, match="X: sp is in 'hPa'; the model was fitted to 'Pa'"):
        emos.predict(Ensemble.from_numpy(PRESSURE[..., None] / 100, ["sp"], units=("hPa",)))


def test_units_of_grib_and_netcdf_go_together():
    members = xr.DataArray(
        MEMBERS, dims=("time", "number"), coords={"time": DAYS}, attrs={"units": "m s**-1"}
    )
    seen = xr.DataArray(OBSERVED, dims="time", coords={"time": DAYS}, attrs={"units": "m/s"})
    assert crps_ensemble(members, seen).shape == (40,)
    with pytest.raises(ValueError, match="y: in 'knots'"):
        crps_ensemble(members, seen.assign_attrs(units="knots"))
