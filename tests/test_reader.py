import numpy as np
import pytest
import xarray as xr

from degmm import Ensemble, read_ensemble
from degmm.ensembles.reader import from_dataset


def dataset(dims, names=("t2m",), **coords):
    sizes = {"time": 5, "number": 4, "lat": 2, "lon": 3, "ens": 4, "realization": 4, "variable": 2, "m": 4}
    shape = [sizes[d] for d in dims]
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    variables = {name: (dims, values + 1000 * i) for i, name in enumerate(names)}
    return xr.Dataset(variables, coords=coords)


@pytest.mark.parametrize("member", ["number", "ens", "realization"])
def test_member_dimension_by_name(member):
    data = dataset(("time", member))
    found = from_dataset(data)
    assert found.values.shape == (5, 4, 1)
    np.testing.assert_array_equal(found.values[..., 0], data["t2m"].to_numpy())


def test_standard_name_wins_over_names():
    data = dataset(("time", "number", "m"), m=("m", range(4), {"standard_name": "realization"}))
    found = from_dataset(data)
    assert found.values.shape == (20, 4, 1)
    assert found.notes[0] == "members along 'm'"
    assert from_dataset(data, member_dim="number").notes[0] == "members along 'number'"


def test_variables_cases_units_and_coordinates():
    data = dataset(("number", "time", "lat"), names=("t2m", "wind"), time=np.arange(5), lat=[50.0, 60.0])
    data["wind"].attrs["units"] = "m/s"
    found = from_dataset(data)
    assert found.variables == ("t2m", "wind")
    assert found.units == ("", "m/s")
    assert found.values.shape == (10, 4, 2)
    assert found.case_dim == "case"
    np.testing.assert_array_equal(found.coords["time"], np.repeat(np.arange(5), 2))
    np.testing.assert_array_equal(found.coords["lat"], np.tile([50.0, 60.0], 5))
    i = 3  # time 1, lat 1
    np.testing.assert_array_equal(found.values[i, :, 1], data["wind"].to_numpy()[:, 1, 1])
    one = from_dataset(data, variables=["wind"])
    np.testing.assert_array_equal(one.values[..., 0], found.values[..., 1])


def test_variable_dimension(netcdf):
    found = read_ensemble(netcdf)
    assert isinstance(found, Ensemble)
    assert found.variables == ("t2m", "wind")
    assert found.units == ("degC", "m/s")
    assert (len(found), found.n_members, found.n_features) == (300, 10, 2)
    assert found.counts[3] == 0
    assert found.counts[5] == 8
    assert set(found.coords) == {"valid_date"}


def test_slices_keep_their_labels(netcdf):
    found = read_ensemble(netcdf)
    part = found[10:13]
    assert len(part) == 3
    np.testing.assert_array_equal(part.coords["valid_date"], found.coords["valid_date"][10:13])
    assert len(found[-1]) == len(found[4]) == 1
    np.testing.assert_array_equal(found[-1].values[0], found.values[-1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variables": ("a", "b")}, "variables: 2 names for 1 variables"),
        ({"units": ("K", "K")}, "units: 2 units for 1 variables"),
        ({"coords": {"date": np.arange(2)}}, "coords: 'date' has 2 labels for 3 cases"),
        ({"observations": np.zeros((2, 1))}, "observations: shape"),
        ({"values": np.zeros((3, 2))}, "values: expected an array"),
        ({"values": np.zeros((3, 2, 1), int)}, "values: expected real numbers"),
    ],
)
def test_labels_must_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        Ensemble(**{"values": np.zeros((3, 2, 1)), "variables": ("a",), **arguments})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (dataset(("number",)), "there is nothing to cluster"),
        (dataset(("time", "lat")), "no member dimension found"),
        (xr.Dataset({"name": (("time", "number"), np.full((2, 2), "a"))}), "no numeric variable"),
        (dataset(("time", "number")).assign(z=(("lat", "number"), np.zeros((2, 4)))), "different dimensions"),
    ],
)
def test_data_that_cannot_be_read(data, message):
    with pytest.raises(ValueError, match=message):
        from_dataset(data)
