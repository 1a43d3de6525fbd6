"""What is told of numbers that may be missing, labels that look like variables, and cases that recur."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from degmm import GMM, Ensemble, read_ensemble

h5py = pytest.importorskip("h5py")
rng = np.random.default_rng(0)
N, M = 40, 4
X = rng.normal(size=(N, M)).round(2)
DAYS = pd.date_range("2020-01-01", periods=N)
HEIGHTS = np.repeat(np.linspace(100, 900, N)[:, None], M, axis=1)


def wide(path, members=X, **columns):
    table = pd.DataFrame(members, columns=[f"t_m{m + 1:02d}" for m in range(M)]).assign(**columns)
    table.to_csv(path, index=False)
    return path


def notes_of(path, **options):
    return read_ensemble(path, **options).notes


# --- numbers that stand for what is missing -------------------------------------------------------------


@pytest.mark.parametrize(
    "codes", [[-999.0], [-999, -888], [-99.99], [9999], [-999, 9999], [-1e34], [32767], [-77.7]]
)
def test_codes_are_pointed_out(codes, tmp_path):
    members = X.copy()
    for k, code in enumerate(codes):
        members[3 + k :: 9, 1] = code
    notes = notes_of(wide(tmp_path / "a.csv", members))
    for code in codes:
        assert any(f"t: {code:g}, far from all other values" in note for note in notes), notes
    assert not any("far from" in note for note in notes_of(tmp_path / "a.csv", missing=codes))


def test_codes_of_observations_are_pointed_out_too(tmp_path):
    seen = rng.normal(size=N).round(1)
    seen[::7] = -999
    notes = notes_of(wide(tmp_path / "a.csv", obs_t=seen))
    assert any(
        "observations of t: -999, far from all other values, is there 6 times" in note for note in notes
    )
    assert not any(note.startswith("t:") for note in notes)


@pytest.mark.parametrize(
    "values", [np.maximum(X, 0), np.where(X > 0, 100, X), 50 + X, np.round(X), X * 0 + 255]
)
def test_usual_values_are_not(values, tmp_path):
    assert not any("far from" in note for note in notes_of(wide(tmp_path / "a.csv", values)))


@pytest.mark.parametrize(
    "attributes",
    [
        {"valid_min": "-100"},
        {"valid_range": "-100, 100"},
        {"valid_range": "-100 100"},
        {"valid_range": np.array([-100.0, 100])},
        {"missing_value": np.array([-999.0, -888])},
        {"missing_value": "-999"},
        {"valid_max": 50.0, "valid_min": -50},
    ],
    ids=lambda attributes: "-".join(map(str, attributes)),
)
def test_attributes_in_any_form(attributes, tmp_path):
    values = np.where(X < -1, -999, X)
    data = xr.Dataset({"t": (("time", "member"), values)}, coords={"time": DAYS})
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding={"t": {"_FillValue": None}})
    with h5py.File(tmp_path / "a.nc", "a") as file:
        file["t"].attrs.update(attributes)
    found = read_ensemble(tmp_path / "a.nc").values[..., 0]
    np.testing.assert_array_equal(found, np.where(X < -1, np.nan, X))


def test_unsigned_bytes_of_a_packing(tmp_path):
    packed = np.arange(N * M).reshape(N, M).astype("u1") + 60  # beyond 127, where signed bytes end
    data = xr.Dataset({"t": (("time", "member"), packed.astype("f8"))}, coords={"time": DAYS})
    encoding = {"dtype": "i1", "_Unsigned": "true", "_FillValue": -1, "scale_factor": 1.0}
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding={"t": encoding})
    found = read_ensemble(tmp_path / "a.nc")
    np.testing.assert_array_equal(found.values[..., 0], packed)
    other = Ensemble.from_xarray(found.to_xarray())
    np.testing.assert_array_equal(other.values, found.values)
    found.to_xarray().to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    np.testing.assert_array_equal(read_ensemble(tmp_path / "b.nc").values, found.values)


# --- variables that are labels --------------------------------------------------------------------------


def fields(**more):
    arrays = {"t": (("time", "member"), X), "height": (("time", "member"), HEIGHTS), **more}
    return xr.Dataset(arrays, coords={"time": DAYS})


def test_what_never_differs_within_a_case_is_a_label(tmp_path):
    fields().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    np.savez(tmp_path / "a.npz", X=np.stack([X, HEIGHTS], axis=2), variables=["t", "height"])
    wide(tmp_path / "a.csv", **{f"height_m{m + 1:02d}": HEIGHTS[:, m] for m in range(M)})
    for data in (
        Ensemble.from_xarray(fields()),
        *(read_ensemble(tmp_path / f"a.{e}") for e in ("nc", "npz", "csv")),
    ):
        assert data.variables == ("t",)
        np.testing.assert_allclose(data.coords["height"], HEIGHTS[:, 0], rtol=1e-6)
        assert any(
            "labels of cases, since they never differ within one: height" in note for note in data.notes
        )
    assert read_ensemble(tmp_path / "a.nc", variables=["t", "height"]).variables == ("t", "height")


def test_what_is_a_variable_stays_one():
    for other in (np.maximum(X, 9), X.round(), X * 0 + 5, np.where(np.arange(M) < 2, HEIGHTS, HEIGHTS + 1)):
        data = Ensemble.from_xarray(fields(other=(("time", "member"), other)))
        assert data.variables == ("t", "other")
    few = Ensemble.from_xarray(fields().isel(time=slice(5)))
    assert few.variables == ("t", "height")


def test_a_model_of_a_variable_takes_it_as_a_label_too():
    cloud = np.where(rng.random((N, M)) < 0.5, 1.0, rng.random((N, M)))
    data = Ensemble.from_xarray(fields().drop_vars("height").assign(cloud=(("time", "member"), cloud)))
    model = GMM(1, n_init=1).fit(data.take_members([0]))
    overcast = Ensemble.from_xarray(fields().rename(height="cloud"))
    assert "cloud" in overcast.coords
    both = Ensemble.from_xarray(fields().rename(height="cloud"), variables=["t", "cloud"])
    np.testing.assert_array_equal(
        model.score_samples(overcast.take_members([0])), model.score_samples(both.take_members([0]))
    )


@pytest.mark.parametrize(
    "names", [["depth_m10", "depth_m20"], ["wind.m10"], ["area_m2", "volume_m3"], ["gauge_number_2"]]
)
def test_columns_of_few_members_beside_many(names, tmp_path):
    many = pd.DataFrame(rng.normal(size=(N, 10)), columns=[f"q_m{m + 1:02d}" for m in range(10)])
    table = many.assign(**dict.fromkeys(names, 1.5))
    data = Ensemble.from_dataframe(table)
    assert data.variables == ("q",)
    assert (data.counts == 10).all()
    assert any(f"no members but labels of cases: {', '.join(names)}" in note for note in data.notes)


# --- cases that recur -----------------------------------------------------------------------------------


def test_a_case_that_recurs_is_told_of(tmp_path):
    again = np.repeat(X[:1], N, axis=0)
    notes = notes_of(wide(tmp_path / "a.csv", again))
    assert any(
        note.startswith("39 cases of 40 are copies of others, value by value (one is there 40 times)")
        for note in notes
    )
    half = np.concatenate([X[:20], X[:20]])
    assert any("20 cases of 40 are copies" in note for note in notes_of(wide(tmp_path / "b.csv", half)))


def test_cases_that_are_alike_by_nature_are_not(tmp_path):
    for values in (
        X,
        np.zeros((N, M)),
        np.where(X < 3, 0, X),
        np.where(np.arange(M) < 1, np.ones((N, 1)), np.nan),
    ):
        notes = notes_of(wide(tmp_path / "a.csv", values))
        assert not any("copies" in note for note in notes)
