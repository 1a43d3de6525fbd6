"""Labels: slices keep all parts in step, a Dataset comes back as it was, and xarray in gives xarray out."""

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import real_file
from hypothesis import HealthCheck, given, settings

from degmm import EGMM, Ensemble, read_ensemble

few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def grid(*, order=("time", "station", "member"), dtype=np.float32, seed=0):
    """Two variables of 12 times × 3 stations × 5 members, with all kinds of coordinates and attributes."""
    rng = np.random.default_rng(seed)
    sizes = {"time": 12, "station": 3, "member": 5}
    values = [rng.integers(0, 90, [sizes[d] for d in order]).astype(dtype) for _ in range(2)]
    observed = [d for d in order if d != "member"]
    return xr.Dataset(
        {
            "t2m": (order, values[0], {"units": "K", "long_name": "temperature"}),
            "wind": (order, values[1], {"units": "m s-1"}),
            "obs_t2m": (observed, values[0].take(0, axis=order.index("member")), {"units": "K"}),
            "hres": (observed, values[1].take(0, axis=order.index("member"))),
        },
        coords={
            "time": ("time", pd.date_range("2020-02-25", periods=12), {"standard_name": "time"}),
            "station": ["a", "b", "c"],
            "member": ("member", [1, 2, 3, 5, 8], {"standard_name": "realization"}),
            "height": ((), 2.0, {"units": "m"}),
            "altitude": ("station", [5.0, 80.0, 1200.0]),
            "valid": (("time", "station"), np.arange(36).reshape(12, 3)),
            "stream": ("member", ["x"] * 5),
        },
        attrs={"title": "a test"},
    )


# --- slices -------------------------------------------------------------------------------------


def marked(n=20):
    """An ensemble whose parts all tell the number of the case."""
    number = np.arange(n, dtype=float)
    return Ensemble.from_numpy(
        number[:, None, None] + np.zeros((n, 4, 2)),
        ["a", "b"],
        units=["K", "m"],
        coords={
            "time": np.datetime64("2020-01-01", "ns") + number.astype("timedelta64[D]"),
            "number": number,
        },
        members=["p", "q", "r", "s"],
        observations=np.stack([number, number], axis=1),
        weights=number + 1,
        context=number[:, None],
    )


@few
@given(st.data())
def test_slices_keep_all_parts_in_step(data):
    whole = marked()
    index = data.draw(
        st.one_of(
            st.lists(st.integers(-20, 19), min_size=1, max_size=30),
            st.slices(20).filter(lambda s: len(range(20)[s]) > 0),
            st.lists(st.booleans(), min_size=20, max_size=20).filter(any),
        )
    )
    expected = np.arange(20)[index]
    part = whole[index]
    assert len(part) == len(expected)
    for found in (
        part.values[:, 0, 0],
        part.coords["number"],
        part.observations[:, 1],
        part.weights - 1,
        part.context[:, 0],
    ):
        np.testing.assert_array_equal(found, expected)
    assert (part.variables, part.units, list(part.member_labels)) == (
        ("a", "b"),
        ("K", "m"),
        ["p", "q", "r", "s"],
    )


def test_splits_by_time_and_by_share():
    data = marked()[np.random.default_rng(0).permutation(20)]
    first, second = data.split("2020-01-08")
    assert sorted(first.coords["number"]) == list(range(7))
    assert sorted(second.weights) == list(range(8, 21))
    for at in (np.datetime64("2020-01-08"), pd.Timestamp("2020-01-08"), 0.35, np.float32(0.35)):
        assert sorted(data.split(at)[0].coords["number"]) == list(range(7))
    assert len(data.split()[0]) == 13
    plain = Ensemble.from_numpy(np.arange(10.0)[:, None, None])
    assert plain.split(0.3)[0].values[:, 0, 0].tolist() == [0, 1, 2]
    for at, message in {
        2010: "expected a share between 0 and 1 or a time, got 2010",
        "soon": "expected a share or a time such as '2010-01-01', got 'soon'",
        "2031-01-01": "leaves all 20 cases on one side",
        0.001: None,
    }.items():
        if message:
            with pytest.raises(ValueError, match=f"at: .*{message}"):
                data.split(at)
        else:
            assert len(data.split(at)[0]) == 1
    with pytest.raises(ValueError, match="at: the cases have no coordinate of dates"):
        plain.split("2010-01-01")


def test_cases_of_one_time_stay_together():
    data = Ensemble.from_xarray(grid())
    first, second = data.split(0.5)
    assert (len(first), len(second)) == (18, 18)
    assert set(first.coords["time"]).isdisjoint(second.coords["time"])
    days = np.repeat(np.array(["2020-01-01", "2021-01-01"], "M8[ns]"), [9, 1])
    two = Ensemble.from_numpy(np.zeros((10, 2, 1)), coords={"time": days})
    assert [len(part) for part in two.split(0.3)] == [9, 1]


def test_members_and_variables_are_taken():
    data = marked()
    assert list(data.take_members([2, 0]).member_labels) == ["r", "p"]
    assert data.take_members(1).shape == (20, 1, 2)
    assert list(data.take_members(np.array([True, False, False, True])).member_labels) == ["p", "s"]
    for index in ([1], np.array([1]), np.array([False, True]), [-1]):
        one = data.take_variables(index)
        assert (one.variables, one.units, one.observations.shape) == (("b",), ("m",), (20, 1))
    assert data.drop_control("q").shape == (20, 3, 2)
    assert data.drop_control("q").notes == ("member q left out as the control",)
    floats = Ensemble.from_numpy(data.values, members=[0.0, 1.0, 2.0, 3.0])
    assert floats.drop_control("0").n_members == floats.drop_control(0).n_members == 3
    with pytest.raises(ValueError, match="control: no member 'x'; there are p, q, r, s"):
        data.drop_control("x")
    with pytest.raises(ValueError, match="there would be none left"):
        data.take_members(0).drop_control("p")


def test_masked_arrays_and_single_members():
    values = np.ma.masked_equal(np.arange(12).reshape(3, 4, 1), 5)
    found = Ensemble.from_numpy(values)
    assert found.counts.tolist() == [4, 3, 4]
    assert Ensemble.from_numpy(np.zeros((3, 2))).shape == (3, 1, 2)
    assert Ensemble.from_numpy(np.zeros((3, 2, 1)), observations=[1, 2, 3]).observations.shape == (3, 1)
    with pytest.raises(ValueError, match="values: Complex data not supported"):
        Ensemble.from_numpy(np.zeros((3, 2, 1), complex))
    with pytest.raises(ValueError, match="values: could not be read as an array of numbers"):
        Ensemble.from_numpy([[["a"]]])
    with pytest.raises(ValueError, match="variables: two are named 'a'; rename one"):
        Ensemble.from_numpy(np.zeros((3, 2, 2)), ["a", "a"])
    big = Ensemble.from_numpy(np.zeros((3, 2, 1), ">f4"))
    assert big.values.dtype == np.dtype("float32")


# --- a Dataset and back -------------------------------------------------------------------------


@few
@given(order=st.permutations(["time", "station", "member"]), dtype=st.sampled_from(["f4", "f8", "i2", "i8"]))
def test_a_dataset_comes_back_as_it_was(order, dtype):
    data = grid(order=tuple(order), dtype=np.dtype(dtype))
    back = Ensemble.from_xarray(data).to_xarray()
    xr.testing.assert_identical(back, data)
    for name in data.data_vars:
        assert (back[name].dims, back[name].dtype) == (data[name].dims, data[name].dtype)


def test_a_slice_of_a_grid_stays_a_grid():
    data = grid()
    found = Ensemble.from_xarray(data)
    late = found.coords["time"] >= np.datetime64("2020-03-01")
    xr.testing.assert_identical(found[late].to_xarray(), data.sel(time=slice("2020-03-01", None)))
    southern = found.coords["station"] != "b"
    xr.testing.assert_identical(found[southern].to_xarray(), data.sel(station=["a", "c"]))
    turned = np.arange(36).reshape(12, 3)[::-1, [2, 0]].ravel()
    xr.testing.assert_identical(
        found[turned].to_xarray(), data.isel(time=slice(None, None, -1), station=[2, 0])
    )
    xr.testing.assert_identical(found[4].to_xarray(), data.isel(time=[1], station=[1]))
    xr.testing.assert_identical(found.take_members([3, 1]).to_xarray(), data.isel(member=[3, 1]))
    xr.testing.assert_identical(found.take_variables([1]).to_xarray(), data.drop_vars(["t2m", "obs_t2m"]))


@few
@given(st.lists(st.integers(0, 35), min_size=1, max_size=40))
def test_any_cases_keep_their_labels(index):
    data = grid()
    part = Ensemble.from_xarray(data)[index]
    back = part.to_xarray()
    again = Ensemble.from_xarray(back)
    np.testing.assert_array_equal(again.values, part.values)
    np.testing.assert_array_equal(again.observations, part.observations)
    for name in ("time", "station", "altitude", "valid"):
        np.testing.assert_array_equal(again.coords[name], part.coords[name])
    assert float(back["height"]) == 2.0
    assert back.attrs == data.attrs


@pytest.mark.parametrize("name", ["germany_ecmwf_t2m.nc", "innsbruck_gefs.nc", "mediterranean_seas5_t2m.nc"])
def test_real_files_come_back_as_they_were(name, tmp_path):
    with xr.open_dataset(real_file(name), engine="h5netcdf") as data:
        found = read_ensemble(real_file(name))
        xr.testing.assert_identical(found.to_xarray(), data)
        found.to_xarray().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
        np.testing.assert_array_equal(read_ensemble(tmp_path / "a.nc").values, found.values)
        if name.startswith("med"):
            fields = read_ensemble(real_file(name), feature_dims=["lat", "lon"])
            assert fields.shape == (18, 15, 22 * 53)
            xr.testing.assert_identical(fields.to_xarray(), data)
            xr.testing.assert_identical(fields.take_members([2, 7]).to_xarray(), data.isel(member=[2, 7]))


def test_points_of_land_come_back_as_missing():
    values = np.arange(3 * 4 * 2 * 3.0).reshape(3, 4, 2, 3)
    values[:, :, 1] = np.nan
    values[:, :, 0, 2] = np.nan
    data = xr.Dataset(
        {"sst": (("time", "member", "lat", "lon"), values)}, coords={"lat": [50, 49], "lon": [0, 1, 2]}
    )
    found = Ensemble.from_xarray(data, feature_dims=["lat", "lon"])
    assert found.variables == ("sst[50,0]", "sst[50,1]")
    xr.testing.assert_identical(found.to_xarray(), data)
    assert found.take_variables([1]).to_xarray()["sst"].shape == (3, 4, 1, 1)


def test_weights_and_context_come_back(tmp_path):
    for data in (
        marked(),
        replace(
            Ensemble.from_xarray(grid()), weights=np.arange(36.0), context=np.arange(72.0).reshape(36, 2)
        ),
    ):
        data.to_xarray().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
        again = read_ensemble(tmp_path / "a.nc")
        np.testing.assert_array_equal(again.weights, data.weights)
        np.testing.assert_array_equal(again.context, data.context)
        np.testing.assert_array_equal(again.values, data.values)
        np.testing.assert_array_equal(again.observations, data.observations)
        np.testing.assert_array_equal(again.member_labels, data.member_labels)
        assert (again.variables, again.units) == (data.variables, data.units)
        np.testing.assert_array_equal(again[3:5].to_xarray()["weights"].to_numpy().ravel(), data.weights[3:5])
    unmarked = grid().assign(weights=(("time", "station"), np.ones((12, 3))))
    assert Ensemble.from_xarray(unmarked).weights is None


def test_packed_values_are_packed_again(tmp_path):
    data = grid()[["t2m"]]
    packed = {"t2m": {"dtype": "int16", "scale_factor": 0.01, "add_offset": 40.0, "_FillValue": -9999}}
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding=packed)
    back = read_ensemble(tmp_path / "a.nc").to_xarray()
    assert back["t2m"].encoding == packed["t2m"]
    back.to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "b.nc", mask_and_scale=False, engine="h5netcdf") as raw:
        assert raw["t2m"].dtype == np.int16


def test_a_file_may_go_once_it_is_read(tmp_path):
    grid().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    found = read_ensemble(tmp_path / "a.nc")
    (tmp_path / "a.nc").unlink()
    xr.testing.assert_identical(found.to_xarray(), grid())


# --- xarray in, xarray out ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    return EGMM(2, n_init=1, random_state=0).fit(grid()["t2m"])


@pytest.mark.parametrize("order", [("time", "station", "member"), ("member", "station", "time")])
def test_answers_have_the_coordinates_of_the_cases(model, order):
    array = grid(order=order)["t2m"]
    dims = tuple(d for d in order if d != "member")
    labels, gamma, density = model.predict(array), model.predict_proba(array), model.score_samples(array)
    assert (labels.dims, gamma.dims, density.dims) == (dims, (*dims, "component"), dims)
    assert (labels.name, gamma.name, density.name) == ("cluster", "responsibility", "log_density")
    for found in (labels, gamma, density):
        assert set(found.coords) - {"component"} == {"time", "station", "height", "altitude", "valid"}
        for name in ("time", "station", "height", "altitude"):
            xr.testing.assert_identical(found[name].variable, array[name].variable)
        np.testing.assert_array_equal(
            found["valid"].transpose("time", "station"), array["valid"].transpose("time", "station")
        )
    plain = array.transpose(*dims, "member").to_numpy().reshape(36, 5, 1)
    np.testing.assert_array_equal(labels.to_numpy().ravel(), model.predict(plain))
    np.testing.assert_array_equal(gamma.to_numpy().reshape(36, 2), model.predict_proba(plain))
    np.testing.assert_array_equal(density.to_numpy().ravel(), model.score_samples(plain))
    assert isinstance(model.predict(Ensemble.from_xarray(array)), np.ndarray)


def test_cases_along_an_index_of_two_levels(model):
    array = grid()["t2m"].stack(case=("time", "station"))
    labels = model.predict(array)
    assert labels.dims == ("case",)
    pd.testing.assert_index_equal(labels.indexes["case"], array.indexes["case"])
    np.testing.assert_array_equal(labels.unstack("case"), model.predict(grid()["t2m"]))
    xr.testing.assert_identical(Ensemble.from_xarray(array).to_xarray()["t2m"], array)
    assert len(Ensemble.from_xarray(array)[[3, 5]].to_xarray()["case"]) == 2


def test_a_coordinate_named_as_the_cases_or_the_answer(model):
    array = grid()["t2m"].assign_coords(case=7, cluster=("time", np.arange(12)), component=1.0)
    gamma = model.predict_proba(array)
    assert gamma.dims == ("time", "station", "degmm_component")
    assert model.predict(array).name == "degmm_cluster"
    some = Ensemble.from_xarray(array)[[0, 4, 5]]
    assert some.to_xarray()["t2m"].dims == ("degmm_case", "member")


# --- new cases ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(200, 6, 2)) + 6 * (np.arange(200) % 2)[:, None, None] * [1, -1]
    data = Ensemble.from_numpy(values, ["t2m", "wind"], units=["K", "m s-1"])
    return data, EGMM(2, n_init=1, random_state=0).fit(data)


def test_new_cases_in_another_order_and_of_other_members(two):
    data, model = two
    expected = model.predict(data)
    np.testing.assert_array_equal(model.predict(data.take_variables([1, 0])), expected)
    assert (model.predict(data.take_members(slice(0, 3))) == expected).mean() > 0.99
    more = Ensemble.from_numpy(
        np.concatenate([data.values, data.values[..., ::-1]], axis=-1), ["t2m", "wind", "x", "y"]
    )
    np.testing.assert_array_equal(model.predict(more.take_variables([3, 1, 2, 0])), expected)
    np.testing.assert_array_equal(model.predict(data.values), expected)
    dataset = data.to_xarray().to_dataarray("variable").transpose("case", "member", "variable")
    np.testing.assert_array_equal(model.predict(dataset.isel(variable=[1, 0])), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x: x.take_variables([0]),
            "X: variables t2m; the model was fitted to t2m, wind, and wind is missing",
        ),
        (
            lambda x: replace(x, units=("degC", "m s-1")),
            "X: t2m is in 'degC'; the model was fitted to 'K': convert it first",
        ),
        (lambda x: replace(x, variables=("t2m", "rain")), "and wind is missing"),
    ],
)
def test_new_cases_that_do_not_fit(two, change, message):
    data, model = two
    with pytest.raises(ValueError, match=message):
        model.predict(change(data))


@pytest.mark.parametrize("units", [("K", "m/s"), ("kelvin", "m s**-1"), ("", "m.s-1"), ()])
def test_the_same_unit_otherwise_spelled(two, units):
    data, model = two
    np.testing.assert_array_equal(model.predict(replace(data, units=units)), model.labels_)


def test_an_array_without_a_name_fits_any(model):
    array = grid()["t2m"]
    nameless = (array - array.mean() + array.mean()).rename(None)
    np.testing.assert_array_equal(model.predict(nameless.astype(np.float32)), model.predict(array))
    other = EGMM(2, n_init=1, random_state=0).fit(array.rename(None))
    np.testing.assert_array_equal(other.predict(array), other.predict(array.rename(None)))
    with pytest.raises(
        ValueError, match="X: variables wind; the model was fitted to t2m, and t2m is missing"
    ):
        model.predict(grid()["wind"])


def test_a_few_lines_at_a_prompt():
    days = np.arange("2001-01-01", "2001-02-01", dtype="datetime64[D]").astype("datetime64[ns]")
    values = np.zeros((31, 4, 9))
    values[0, 0] = np.nan
    data = Ensemble.from_numpy(
        values, list("abcdefghi"), units=("K",) * 9, case_dim="time", coords={"time": days}, notes=("read",)
    )
    assert repr(data).splitlines() == [
        "<Ensemble: n = 31, M = 4, D = 9; float64; 0.8 % of the members absent>",
        "variables: a [K], b [K], c [K], d [K], e [K], f [K] and 3 more",
        "time (time): 2001-01-01T00:00:00 … 2001-01-31T00:00:00",
        "note: read",
    ]
    assert "with observations, weights" in repr(
        Ensemble.from_numpy(values, observations=values[:, 0], weights=np.ones(31))
    )
