"""Messages of GRIB files that make no one table: which are read, and that none is lost without a word."""

import numpy as np
import pytest
from grib import GRID

from degmm import read_ensemble

pytest.importorskip("cfgrib")


def write(path, messages):
    """Write messages, each a dict of keys and the ``value`` of its first point."""
    import eccodes as ec

    with path.open("wb") as file:
        for message in messages:
            keys = {
                "productDefinitionTemplateNumber": 1,
                **GRID,
                "dataDate": 20200101,
                "shortName": "2t",
                **message,
            }
            value = keys.pop("value", 280.0)
            grib = ec.codes_grib_new_from_samples("regular_ll_sfc_grib2")
            for key, v in keys.items():
                ec.codes_set(grib, key, v)
            ec.codes_set_values(grib, value + np.arange(6.0))
            ec.codes_write(grib, file)
            ec.codes_release(grib)
    return path


def of_members(*numbers, **keys):
    return [{**keys, "perturbationNumber": m, "numberOfForecastsInEnsemble": 3} for m in numbers]


def rain(*ranges):
    keys = {"productDefinitionTemplateNumber": 11, "shortName": "tp"}
    return [m for r in ranges for m in of_members(0, 1, 2, **keys, stepRange=r, value=float(len(r)))]


def temperature(*steps):
    return [m for s in steps for m in of_members(0, 1, 2, step=s)]


def test_messages_of_the_same_place_are_not_lost(tmp_path):
    path = write(tmp_path / "a.grib", rain("0-48", "24-48"))
    with pytest.raises(ValueError, match=r"3 of its 6 messages would be lost.* \(stepRange 0-48 and 24-48\)"):
        read_ensemble(path)
    path = write(tmp_path / "a.grib", [*rain("0-48", "24-48"), *temperature(0, 24)])
    assert read_ensemble(path, variables="t2m").shape == (12, 3, 1)


def test_messages_that_are_there_twice_are_told_of(tmp_path):
    path = write(tmp_path / "a.grib", 2 * temperature(0, 24))
    found = read_ensemble(path)
    assert found.shape == (12, 3, 1)
    assert "6 messages that are there twice were read once" in found.notes
    path = write(tmp_path / "a.grib", [*temperature(0), *of_members(1, step=0, value=290.0)])
    with pytest.raises(ValueError, match="1 of its 4 messages would be lost"):
        read_ensemble(path)


def test_variables_are_chosen_before_they_are_joined(tmp_path):
    path = write(tmp_path / "a.grib", [*temperature(0, 24, 48), *rain("0-24", "0-48")])
    with pytest.raises(ValueError, match=r"variables: t.*, t.* have different dimensions or labels \('step'"):
        read_ensemble(path)
    assert read_ensemble(path, variables=["t2m"]).shape == (18, 3, 1)
    assert read_ensemble(path, variables="tp").shape == (12, 3, 1)
    path = write(tmp_path / "b.grib", [*temperature(24, 48), *rain("0-24", "0-48")])
    assert read_ensemble(path).shape == (12, 3, 2)


def test_variables_of_other_members_are_not_filled_up(tmp_path):
    path = write(tmp_path / "a.grib", [*temperature(24), *rain("0-24")[1:]])
    with pytest.raises(ValueError, match=r"different dimensions or labels \('number'"):
        read_ensemble(path)


def test_variables_without_members_need_not_fit(tmp_path):
    lone = {"productDefinitionTemplateNumber": 0, "shortName": "sp", "step": 0}
    found = read_ensemble(write(tmp_path / "a.grib", [*temperature(0, 24), lone]))
    assert (found.variables, found.shape) == (("t2m",), (12, 3, 1))
    assert "left out, without members: sp" in found.notes


def test_members_of_two_centres_are_not_pooled(tmp_path):
    messages = [*of_members(0, 1, step=24, centre="ecmf"), *of_members(0, 1, step=24, centre="kwbc")]
    with pytest.raises(ValueError, match=r"do not fit into one table of dimensions \(centre ecmf and kwbc\)"):
        read_ensemble(write(tmp_path / "a.grib", messages))


def test_one_date_and_step_label_all_cases(tmp_path):
    path = write(tmp_path / "a.grib", temperature(24))
    found = read_ensemble(path, feature_dims=["latitude", "longitude"])
    assert found.shape == (1, 3, 6)
    assert found.coords["valid_time"][0].astype("M8[D]") == np.datetime64("2020-01-02")
    assert found.coords["step"] == [np.timedelta64(24, "h")]
    assert (read_ensemble(path).coords["valid_time"].astype("M8[D]") == np.datetime64("2020-01-02")).all()
