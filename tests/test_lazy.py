"""Answers for chunked ensembles: unread, and those for the ensembles in memory once they are computed."""

import numpy as np
import pytest
from streams import drifting, first_fit

from degmm import DEGMM, EGMM, read_ensemble
from degmm.calibration import EMOS
from degmm.ensembles import blocks as blocks_module
from degmm.results import data_array

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
xr = pytest.importorskip("xarray")

ANSWERS = {
    "predict": ("cluster",),
    "predict_proba": ("responsibility", ["component"]),
    "posterior": ("responsibility", ["component"]),
    "score_samples": ("log_density",),
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks_module, "BLOCK_BYTES", 1)


@pytest.fixture
def archive(tmp_path):
    """A Zarr of (date 30, member 8, station 100), in chunks along both kinds of cases."""
    values = drifting()[0].reshape(30, 100, 8, 2)
    dims = ("date", "station", "member")
    dataset = xr.Dataset(
        {"t2m": (dims, values[..., 0], {"units": "K"}), "wind": (dims, values[..., 1], {"units": "m/s"})},
        coords={
            "date": np.datetime64("2020-01-01", "ns") + np.arange(30) * np.timedelta64(1, "D"),
            "height": ("station", np.linspace(0, 1000, 100)),
            "member": np.arange(8),
        },
    ).transpose("date", "member", "station")
    path = tmp_path / "archive.zarr"
    chunks = {"t2m": {"chunks": (7, 8, 40)}, "wind": {"chunks": (7, 8, 40)}}
    dataset.to_zarr(path, encoding=chunks, consolidated=False)
    return path


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_archive_is_answered_lazily(archive, answer):
    model, data = first_fit(), read_ensemble(archive)
    wanted = data_array(data, getattr(model, answer)(data), *ANSWERS[answer])
    found = getattr(model, answer)(read_ensemble(archive, chunks={}))
    assert dask.is_dask_collection(found)
    assert found.chunks[:2] == ((7, 7, 7, 7, 2), (40, 40, 20))
    xr.testing.assert_allclose(found.compute(), wanted, rtol=1e-9)
    assert found.name == wanted.name
    assert set(found.coords) == set(wanted.coords)
    assert found.dtype == wanted.dtype


def test_from_zarr_to_zarr(archive, tmp_path):
    model = first_fit()
    unread = read_ensemble(archive, chunks={})
    clusters = xr.merge([model.predict(unread), model.predict_proba(unread)])
    clusters.to_zarr(tmp_path / "clusters.zarr", consolidated=False)
    with xr.open_zarr(tmp_path / "clusters.zarr", consolidated=False) as stored:
        gamma = first_fit().predict_proba(drifting()[0])
        np.testing.assert_allclose(stored["responsibility"].values.reshape(3000, 3), gamma, rtol=1e-9)
        np.testing.assert_array_equal(stored["cluster"].values.ravel(), gamma.argmax(axis=1))
        np.testing.assert_array_equal(stored["height"], np.linspace(0, 1000, 100))


def test_nothing_is_read_before_it_is_wanted(archive):
    unread = read_ensemble(archive, chunks={})
    found = first_fit().predict(unread)
    damaged = max((p for p in (archive / "wind").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    damaged.write_bytes(b"no chunk")
    with pytest.raises(Exception, match="decompression"):
        found.compute()


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_dask_array_is_answered_by_one(ndim):
    X = drifting()[0][:, :1].astype(np.float32)
    model = EGMM(2, random_state=0, n_init=2).fit(X)
    chunked = da.from_array(X[:, 0] if ndim == 2 else X, chunks=700)
    for answer in ANSWERS:
        found = getattr(model, answer)(chunked)
        assert isinstance(found, da.Array)
        wanted = getattr(model, answer)(X)
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_allclose(found.compute(), wanted, rtol=1e-4, atol=1e-6)
    assert model.score(chunked) == pytest.approx(model.score(X), rel=1e-5)


def test_the_labels_of_a_fit_have_their_coordinates(archive):
    model = EGMM(3, init_params=first_fit(), max_iter=5, tol=0)
    labels = model.fit_predict(read_ensemble(archive, chunks={}))
    data = read_ensemble(archive)
    xr.testing.assert_equal(labels, data_array(data, model.predict(data), "cluster"))


@pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning"
)  # few epochs are enough to compare
def test_contexts_go_with_their_blocks(archive):
    data = read_ensemble(archive)
    small = data[np.arange(0, 3000, 20)]
    season = DEGMM(2, max_epochs=3, n_init=2, polish=2, random_state=0).fit(small, context=["season"])
    unread = read_ensemble(archive, chunks={})
    found = season.predict_proba(unread).values.reshape(3000, 2)
    np.testing.assert_allclose(found, season.predict_proba(data), rtol=1e-5)
    given = np.random.default_rng(0).normal(size=(3000, 2))
    model = DEGMM(2, max_epochs=3, n_init=2, polish=2, random_state=0).fit(small, context=given[::20])
    found = model.score_samples(unread, context=given).values.ravel()
    np.testing.assert_allclose(found, model.score_samples(data, context=given), rtol=1e-5)
    with pytest.raises(ValueError, match="context: expected a row for each of 3000 ensembles"):
        model.predict(unread, context=given[:10])
    with pytest.raises(ValueError, match=r"context: .* was fitted with a context of 2 columns"):
        model.predict(unread)
    with pytest.raises(ValueError, match="context"):
        model.predict(unread, context=given[:, :1])
    with pytest.raises(ValueError, match="context"):
        first_fit().predict_proba(unread, context=given)


def test_what_does_not_fit_is_told_at_once(archive):
    other = EGMM(2, random_state=0, n_init=2).fit(read_ensemble(archive, variables=["t2m"]))
    with pytest.raises(ValueError, match="t2m is missing"):
        other.predict(read_ensemble(archive, chunks={}, variables=["wind"]))
    with pytest.raises(ValueError, match="X has 1 features, but EGMM is expecting 2"):
        first_fit().predict(da.zeros((10, 3, 1)))


def test_bad_values_name_their_block():
    X = drifting()[0].copy()
    X[1000, 2, 1] = np.inf
    found = first_fit().predict(da.from_array(X, chunks=(450, 8, 2)))
    with pytest.raises(ValueError, match="X, ensembles 900 to 1349: infinite value at ensemble 100"):
        found.compute()


def test_forecasts_of_an_archive(archive):
    data = read_ensemble(archive)
    y = data.values[..., 0, :] + np.random.default_rng(0).normal(size=(3000, 2))
    model = EMOS(random_state=0).fit(data[::10], y[::10])
    forecast, whole = model.predict(read_ensemble(archive, chunks={})), model.predict(data)
    assert forecast.shape == whole.shape == (3000, 2)
    median = forecast.quantile([0.5, 0.9])
    assert dask.is_dask_collection(median)
    assert median.dims == ("date", "station", "variable", "quantile")
    assert list(median["variable"].values) == ["t2m", "wind"]
    np.testing.assert_array_equal(median["quantile"], [0.5, 0.9])
    np.testing.assert_allclose(median.values.reshape(3000, 2, 2), whole.quantile([0.5, 0.9]), rtol=1e-9)
    for found, wanted in (
        (forecast.mean(), whole.mean()),
        (forecast.std(), whole.std()),
        (forecast.quantile(0.1), whole.quantile(0.1)),
        (forecast.cdf(275), whole.cdf(275)),
    ):
        np.testing.assert_allclose(found.values.reshape(3000, 2), wanted, rtol=1e-9)
    with pytest.raises(ValueError, match="q: expected probabilities"):
        forecast.quantile(2)
    with pytest.raises(ValueError, match="y: of chunked ensembles, expected one number"):
        forecast.cdf(np.zeros(3000))


def test_forecasts_of_a_dask_array():
    X = drifting()[0][..., :1]
    y = X[:, 0, 0] + np.random.default_rng(0).normal(size=3000)
    known = ~np.isnan(y)
    model = EMOS(random_state=0).fit(X[known], y[known])
    found = model.predict(da.from_array(X, chunks=(700, 8, 1))).mean()
    assert found.chunks == ((700, 700, 700, 700, 200),)
    np.testing.assert_allclose(found.compute(), model.predict(X).mean(), rtol=1e-9)


def test_a_mask_counts():
    X = drifting()[0][:900]
    masked = np.ma.masked_invalid(X)
    masked.data[masked.mask] = 1e3
    answered = first_fit().score_samples(da.from_array(masked, chunks=(300, 8, 2))).compute()
    np.testing.assert_allclose(answered, first_fit().score_samples(X), rtol=1e-9)


def test_quantiles_go_into_a_dataset(archive):
    data = read_ensemble(archive)
    model = EMOS(random_state=0).fit(data[::10], data.values[::10, 0])
    labelled = xr.DataArray(
        data.values, dims=("case", "member", "variable"), coords={"variable": list(data.variables)}
    )
    for X in (labelled, read_ensemble(archive, chunks={})):
        forecast = model.predict(X)
        stored = xr.merge([forecast.mean(), forecast.std(), forecast.quantile([0.1, 0.9])])
        assert set(stored.data_vars) == {"forecast_mean", "forecast_std", "forecast_quantile"}


def test_many_small_arrays_are_put_into_one_graph():
    X = drifting()[0][:600]
    parts = [da.from_array(x, chunks=-1) + 0 for x in np.split(X, 60)]
    together = da.concatenate(parts)
    blocks = blocks_module.as_blocks(together)
    graphs = [len(dask.delayed(block.X).__dask_graph__().layers) for block in blocks.delayed()]
    assert len(together.__dask_graph__().layers) > 120
    assert max(graphs) < 10
    answered = first_fit().score_samples(together).compute()
    np.testing.assert_allclose(answered, first_fit().score_samples(X), rtol=1e-9)
