import numpy as np
import pytest
import xarray as xr

from degmm import EGMM, Ensemble, read_ensemble
from degmm.ensembles.dataset import from_dataarray, from_dataset


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


@pytest.mark.parametrize(
    "member",
    [
        "member_id",
        "ensemble_member",
        "realisation",
        "ens_member",
        "Member",
        "Number",
        "members",
        "variant_label",
    ],
)
def test_member_dimensions_of_other_archives(member):
    data = dataset(("time", "number")).rename(number=member)
    assert from_dataset(data).notes[0] == f"members along {member!r}"
    both = dataset(("time", "number", "m")).rename(m=member)
    assert from_dataset(both).notes[0] == "members along 'number'"


@pytest.mark.parametrize("member", ["M", "ens_of_runs", "perturbed_run", "my_members"])
def test_what_may_be_meant_by_members_is_offered(member):
    data = dataset(("time", "number", "lat")).rename(number=member)
    with pytest.raises(ValueError, match=f"did you mean '{member}'. Give it as member_dim"):
        from_dataset(data)
    with pytest.raises(ValueError, match=r"found \(its dimensions are time, density\); rename one to"):
        from_dataset(dataset(("time", "number")).rename(number="density"))


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


def test_variables_are_chosen_before_they_are_compared():
    data = dataset(("time", "number"), names=("t2m", "wind"))
    data = data.assign(
        z=(("time", "lat", "number"), np.zeros((5, 2, 4))),
        other=(("sample",), np.zeros(3)),
        label=("time", list("abcde")),
    )
    with pytest.raises(ValueError, match="different dimensions"):
        from_dataset(data)
    turned = from_dataset(data, variables=["wind", "t2m"])
    assert turned.variables == ("wind", "t2m")
    np.testing.assert_array_equal(turned.values[..., 0], data["wind"])
    np.testing.assert_array_equal(turned.to_xarray()["wind"], data["wind"])
    assert from_dataset(data, variables="z").values.shape == (10, 4, 1)
    with pytest.raises(ValueError, match="have different dimensions"):
        from_dataset(data, variables=["z", "t2m"])
    with pytest.raises(ValueError, match="no variable 'rain' of members; there are t2m"):
        from_dataset(data, variables=["t2m", "rain"])
    with pytest.raises(ValueError, match="no numeric variable"):
        from_dataset(data, variables=["label"], member_dim="time")
    # The member dimension is looked for among those of the chosen variables.
    assert (
        from_dataset(data.rename(number="ens").assign(n=("number", [1.0])), variables=["t2m"]).n_members == 4
    )


def test_labels_along_a_variable_dimension_are_chosen_too(netcdf):
    assert read_ensemble(netcdf, variables=["wind"]).variables == ("wind",)
    assert read_ensemble(netcdf, variables=["forecast"]).variables == ("t2m", "wind")
    assert read_ensemble(netcdf, variables=["wind", "forecast"]).variables == ("wind", "t2m")
    with xr.open_dataset(netcdf) as data:
        data = data.assign(z=(("level", "member"), np.zeros((3, 10))))
        assert from_dataset(data, variables=["wind"]).variables == ("wind",)


def test_damaged_values_give_one_sentence(netcdf, monkeypatch):
    def fails(*arguments, **options):
        raise OSError("Can't synchronously read data")

    monkeypatch.setattr("degmm.ensembles.reader.from_dataset", fails)
    with pytest.raises(ValueError, match=r"ensembles.nc: cannot be read \(Can't"):
        read_ensemble(netcdf)


def test_data_arrays_are_read_by_the_names_of_dimensions():
    values = np.random.default_rng(0).normal(size=(5, 4, 3))
    array = xr.DataArray(values, dims=("time", "member", "variable"))
    np.testing.assert_array_equal(from_dataarray(array).values, values)
    np.testing.assert_array_equal(
        from_dataarray(array.transpose("variable", "member", "time")).values, values
    )
    assert from_dataarray(array.rename(variable="x").transpose("time", "x", "member")).values.shape == (
        15,
        4,
        1,
    )
    assert from_dataarray(array.rename(variable="x")[..., :1]).values.shape == (5, 4, 1)
    named_as_a_dimension = array.rename("time").assign_coords(time=np.arange(5))
    assert from_dataarray(named_as_a_dimension[..., 0]).variables == ("value",)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (
            xr.DataArray(np.zeros((5, 4, 3)), dims=("time", "member", "x")),
            "X: dimension 'x' follows that of the members, 'member': if it holds variables, rename it to 'variable'",
        ),
        (
            xr.DataArray(np.zeros((5, 4)), dims=("time", "x")),
            r"X: no member dimension found .*; rename one to 'member', or give its name to read_ensemble as member_dim$",
        ),
        (
            dataset(("time", "number")),
            r"X: expected a DataArray, got a Dataset; pass one of its variables, such as X\['t2m'\]",
        ),
        (
            xr.Variable(("time", "number"), np.zeros((5, 4))),
            "X: expected a DataArray, got a Variable; convert it",
        ),
    ],
)
def test_xarray_objects_that_a_fit_cannot_read(X, message):
    with pytest.raises(ValueError, match=message):
        EGMM(2).fit(X)


def labelled(n=30):
    values = np.random.default_rng(0).normal(size=(n, 4, 2))
    return Ensemble(values, ("a", "b"), coords={"day": np.arange(n)}, observations=values[:, 0])


def test_dropna_keeps_the_cases_that_have_a_member():
    data = labelled()
    data.values[3] = np.nan
    data.values[4, :, 1] = np.nan
    data.values[5, :3] = np.nan
    left = data.dropna()
    assert left.coords["day"].tolist() == [i for i in range(30) if i not in (3, 4)]
    assert left.counts[3] == 1
    np.testing.assert_array_equal(left.observations, np.delete(data.observations, [3, 4], axis=0))
    assert data.missing() == "a 7 of 120, b 11 of 120"
    assert labelled().missing() == "none"
    data.values[..., 1] = np.nan
    with pytest.raises(ValueError, match=r"each of its members \(missing values: a 7 of 120, b 120 of 120\)"):
        data.dropna()


def test_classic_files_are_read(tmp_path):
    data = dataset(("time", "number"), time=np.arange(5))
    for name, options in {"classic": "NETCDF3_CLASSIC", "offset": "NETCDF3_64BIT"}.items():
        path = tmp_path / f"{name}.nc"
        data.to_netcdf(path, engine="scipy", format=options)
        np.testing.assert_array_equal(read_ensemble(path).values[..., 0], data["t2m"].to_numpy())


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (
            b"CDF\x05",
            "is NetCDF-3 with 64-bit data; convert it to NetCDF-4 first, as by nccopy -k nc4 IN OUT",
        ),
        (b"GRIB", "not a readable GRIB file"),
        (b"CDF\x01", r"file.nc: not a readable NetCDF file"),
        (b"", r"file.nc: is empty \(0 bytes\)"),
    ],
)
def test_files_that_must_be_converted(tmp_path, start, message):
    path = tmp_path / "file.nc"
    path.write_bytes(start)
    with pytest.raises(ValueError, match=message):
        read_ensemble(path)


def test_why_a_variable_cannot_be_had():
    data = dataset(("time", "number"), names=("t2m", "wind")).assign(
        hres=("time", np.zeros(5)), flag=(("time", "number"), np.full((5, 4), "a"))
    )
    for wanted, message in {
        ("hres",): "variables: 'hres': no member dimension 'number' .dimensions: time.",
        ("t2m", "hres"): "variables: 'hres': no member dimension 'number' .dimensions: time.",
        ("t2m", "flag"): "variables: 'flag' is of type <U1, not numeric",
        ("wnd", "t2m"): "variables: no variable 'wnd' of members; there are t2m, wind; did you mean 'wind'?",
        ("zzz",): r"there are t2m, wind$",
    }.items():
        with pytest.raises(ValueError, match=message.replace("?", r"\?")):
            from_dataset(data, variables=wanted)
    with pytest.raises(ValueError, match="'hres': no member dimension 'number'"):
        from_dataset(data, variables="hres", member_dim="number")


def test_one_case_without_its_dimension():
    X = np.random.default_rng(0).normal(size=(30, 4, 2))
    array = xr.DataArray(X, dims=("case", "member", "variable"), coords={"case": np.arange(30)})
    model = EGMM(2, n_init=2, random_state=0).fit(array)
    np.testing.assert_array_equal(model.predict(array.isel(case=7)), model.predict(X[7:8]))
    one = from_dataarray(array.isel(case=7, variable=0))
    assert one.values.shape == (1, 4, 1)
    assert one.coords["case"].tolist() == [7]
    dated = array.rename(case="day").isel(day=3)
    assert from_dataarray(dated).values.shape == (1, 4, 2)


def test_iteration_ends_and_gives_single_cases():
    data = labelled()
    cases = list(data)
    assert [int(case.coords["day"][0]) for case in cases] == list(range(30))
    for index in (30, -31, np.int64(30)):
        with pytest.raises(IndexError, match=f"case {index} is out of range for 30 cases"):
            data[index]
    with pytest.raises(IndexError, match="not by 2 indices"):
        data[0, 1]


@pytest.mark.parametrize(
    "kind", [list, np.array, lambda i: np.isin(np.arange(30), i), lambda i: (np.array(i), ...)]
)
def test_lists_and_arrays_select_cases(kind):
    part = labelled()[kind([2, 5, 7])]
    np.testing.assert_array_equal(part.coords["day"], [2, 5, 7])
    np.testing.assert_array_equal(part.observations, part.values[:, 0])


def test_an_ensemble_is_an_array_to_numpy_and_an_object_to_itself():
    data = labelled()
    assert data.shape == (30, 4, 2)
    assert np.asarray(data) is data.values
    assert np.array(data) is not data.values
    assert np.asarray(data, dtype=np.float32).dtype == np.float32
    assert data == data
    assert data != labelled()
    assert len({data, data}) == 1


def test_cross_validation_of_an_ensemble():
    from sklearn.model_selection import cross_val_score

    data, model = labelled(), EGMM(1, n_init=1, random_state=0)
    scores = cross_val_score(model, data, cv=3)
    np.testing.assert_array_equal(scores, cross_val_score(model, data.values, cv=3))


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
        (dataset(("time", "lat")), "no member dimension found"),
        (xr.Dataset({"name": (("time", "number"), np.full((2, 2), "a"))}), "no numeric variable"),
        (dataset(("time", "number")).assign(z=(("lat", "number"), np.zeros((2, 4)))), "different dimensions"),
    ],
)
def test_data_that_cannot_be_read(data, message):
    with pytest.raises(ValueError, match=message):
        from_dataset(data)


def test_members_alone_are_one_case():
    assert from_dataset(dataset(("number",))).shape == (1, 4, 1)
