"""Dask arrays and DataArrays: streamed here, and on the workers of a cluster, as in memory."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from streams import assert_same_fit, drifting, first_fit, nothing_kept

from degmm import EGMM, GMM, read_ensemble
from degmm.ensembles import blocks as blocks_module
from degmm.ensembles.blocks import as_blocks
from degmm.ensembles.chunked import ChunkedEnsemble
from degmm.estimators.streaming import streamed_data
from degmm.inference import cluster
from degmm.inference.cluster import DaskMoments, page_groups

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")
xr = pytest.importorskip("xarray")

SETTINGS = {"tol": 0, "max_iter": 15}


@pytest.fixture(scope="module")
def data():
    return drifting()


@pytest.fixture(scope="module")
def start():
    return first_fit()


@pytest.fixture
def no_memory(monkeypatch):
    nothing_kept(monkeypatch)


@pytest.fixture(scope="module")
def client():
    """A local cluster of two workers in processes of their own."""
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def grid(data, tmp_path):
    """A Zarr of (date 30, member 8, station 100), in chunks along both kinds of cases, and its Dataset."""
    X, _ = data
    values = X.reshape(30, 100, 8, 2)
    dims = ("date", "station", "member")
    dataset = xr.Dataset(
        {"t2m": (dims, values[..., 0], {"units": "K"}), "wind": (dims, values[..., 1], {"units": "m/s"})},
        coords={"station": 1000 + np.arange(100), "member": np.arange(8)},
    ).transpose("date", "member", "station")
    path = tmp_path / "archive.zarr"
    chunks = {"t2m": {"chunks": (7, 8, 40)}, "wind": {"chunks": (7, 8, 40)}}
    dataset.to_zarr(path, encoding=chunks, consolidated=False)
    return path, dataset


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks_module, "BLOCK_BYTES", 1)


@pytest.mark.parametrize("where", ["memory", "file"])
def test_a_dask_array_is_streamed(data, start, where, request):
    X, weights = data
    if where == "file":
        request.getfixturevalue("no_memory")
    request.getfixturevalue("small_blocks")
    whole = EGMM(3, init_params=start, **SETTINGS).fit(X, sample_weight=weights)
    chunked = da.from_array(X, chunks=(450, 3, 1))
    assert_same_fit(EGMM(3, init_params=start, **SETTINGS).fit(chunked, sample_weight=weights), whole)


@pytest.mark.parametrize("where", ["memory", "file"])
def test_an_archive_in_chunks_of_several_dimensions(grid, start, data, where, request):
    """Blocks are not in the order of the cases; labels, weights and starts are."""
    path, _ = grid
    if where == "file":
        request.getfixturevalue("no_memory")
    request.getfixturevalue("small_blocks")
    _, weights = data
    in_memory = read_ensemble(path)
    unread = read_ensemble(path, chunks={})
    assert isinstance(unread, ChunkedEnsemble)
    assert (unread.shape, unread.variables, unread.units) == (
        in_memory.shape,
        in_memory.variables,
        in_memory.units,
    )
    assert len(list(unread)) == 5 * 3
    whole = EGMM(3, init_params=start, **SETTINGS).fit(in_memory, sample_weight=weights)
    streamed = EGMM(3, init_params=start, **SETTINGS).fit(unread, sample_weight=weights)
    assert_same_fit(streamed, whole)
    by_shape = EGMM(3, init_params=start, **SETTINGS).fit(unread, sample_weight=weights.reshape(30, 100))
    assert_same_fit(by_shape, whole)
    np.testing.assert_array_equal(streamed.feature_names_in_, whole.feature_names_in_)
    if where == "memory":
        gamma = np.random.default_rng(0).dirichlet(np.ones(3), size=3000)
        one = EGMM(3, init_params=gamma, **SETTINGS).fit(unread)
        assert_same_fit(one, EGMM(3, init_params=gamma, **SETTINGS).fit(in_memory))


def test_blocks_hold_what_the_file_holds(grid, small_blocks):
    path, dataset = grid
    unread = read_ensemble(path, chunks={})
    np.testing.assert_array_equal(unread.compute().values, read_ensemble(path).values)
    parts = list(unread.blocks())
    assert [part.shape[0] for part in parts[:4]] == [7 * 40, 7 * 40, 7 * 20, 7 * 40]
    assert set(parts[1].coords["station"]) == {*range(1040, 1080)}
    assert "15 blocks" in repr(unread)
    assert unread.nbytes == dataset["t2m"].nbytes * 2


def test_variables_of_unequal_chunks(grid):
    """Dask returns collections of two kinds, such as one chunk and several, in another order."""
    dataset = grid[1].isel(station=slice(0, 10))
    three = xr.Dataset({name: dataset["t2m"] + k * 100 for k, name in enumerate("abc")})
    three = three.assign_coords(lead=("date", np.arange(30.0)))
    three["weight"] = dataset["t2m"].isel(member=0, drop=True) * 0 + three["lead"]
    three["weight"].attrs["degmm_role"] = "weights"
    chunked = three.chunk()
    for name in "bc":
        chunked[name] = three[name].chunk(date=5)
    chunked["weight"] = three["weight"].chunk(station=4)
    chunked = chunked.assign_coords(lead=("date", da.from_array(np.arange(30.0), chunks=-1)))
    unread, in_memory = ChunkedEnsemble(chunked), ChunkedEnsemble(three.chunk()).compute()
    parts = [block.X() for block in unread]
    for what in ("values", "weights"):
        found = np.concatenate([getattr(part, what) for part in parts])
        np.testing.assert_array_equal(found, getattr(in_memory, what))
    np.testing.assert_array_equal(parts[0].coords["lead"], in_memory.coords["lead"])


def test_blocks_of_several_chunks(grid):
    unread = read_ensemble(grid[0], chunks={})
    assert len(list(unread)) == 1
    assert next(iter(unread)).where == slice(0, 3000)


def test_points_of_a_grid_without_values_are_left_out_of_every_block(grid, small_blocks):
    _, dataset = grid
    masked = dataset[["t2m"]].where(dataset["station"] != 1003).chunk(date=10)
    unread = ChunkedEnsemble(masked, feature_dims=["station"])
    assert unread.shape == (30, 8, 99)
    assert {part.shape[2] for part in unread.blocks()} == {99}


def test_a_control_member_is_left_out(grid, small_blocks):
    unread = read_ensemble(grid[0], chunks={}, control=3)
    assert unread.shape == (3000, 7, 2)
    assert {part.shape[1] for part in unread.blocks()} == {7}


# --- bad input -------------------------------------------------------------------------------------------


def damage(path):
    """Cut a chunk off in the middle."""
    chunk = max((p for p in (path / "t2m").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    chunk.write_bytes(chunk.read_bytes()[:50])


def test_a_chunk_that_cannot_be_read(grid, small_blocks):
    path, _ = grid
    damage(path)
    model = EGMM(2, random_state=0)
    with pytest.raises(
        ValueError, match=r"archive.zarr, date \d+ to \d+, station \d+ to \d+: cannot be read"
    ):
        model.fit(read_ensemble(path, chunks={}))
    assert not hasattr(model, "means_")


def test_other_bad_input(data, grid, tmp_path):
    X, _ = data
    with pytest.raises(ValueError, match="GMM takes one member"):
        GMM(2).fit(da.from_array(X, chunks=(450, 8, 2)))
    array = da.from_array(X, chunks=(450, 8, 2))
    unknown = array[array[:, 0, 0] > 0]
    with pytest.raises(ValueError, match="unknown sizes"):
        EGMM(2).fit(unknown)
    with pytest.raises(ValueError, match="4 dimensions"):
        EGMM(2).fit(da.zeros((3, 3, 3, 3)))
    with pytest.raises(ValueError, match="sample_weight: expected one weight for each of 3000"):
        EGMM(2).fit(da.from_array(X), sample_weight=np.ones(7))
    np.savez(tmp_path / "x.npz", X=X)
    with pytest.raises(ValueError, match="chunks: a file of type npz is read into memory"):
        read_ensemble(tmp_path / "x.npz", chunks={})
    with pytest.raises(ValueError, match="no such file"):
        read_ensemble(tmp_path / "none.zarr", chunks={})
    with pytest.raises(ValueError, match="no variable 'tp'"):
        read_ensemble(grid[0], chunks={}, variables=["tp"])


# --- a cluster -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_threads", "groups"),
    [(1, [(0, 2), (2, 4), (4, 6), (6, 8), (8, 9)]), (8, [(k, k + 1) for k in range(9)])],
)
def test_blocks_share_pages_that_all_threads_have_some_of(n_threads, groups):
    found = page_groups([100] * 8 + [10], 7, np.float64, n_threads)
    assert [(group.start, group.stop) for group in found] == groups


def test_pages_are_not_large():
    bytes_of_one = 7 * 4  # values of float32
    groups = page_groups([1_000_000] * 1000, 7, np.float32, 2)
    assert max(group.stop - group.start for group in groups) * 1_000_000 * bytes_of_one <= 2**26


@pytest.mark.slow
@pytest.mark.parametrize("member_model", ["independent", "shared_centre"])
def test_workers_find_the_same(client, data, start, member_model, small_blocks, monkeypatch):
    X, weights = data
    if member_model == "shared_centre":
        monkeypatch.setattr(cluster, "PAGES_A_THREAD", 1)  # several blocks a page
    settings = {"init_params": start, "member_model": member_model, **SETTINGS}
    chunked = da.from_array(X, chunks=(450, 8, 2))
    found = EGMM(3, **settings).fit(chunked, sample_weight=weights)
    with client.as_current():
        kept = streamed_data(EGMM(3), as_blocks(chunked), weights).moments
    assert isinstance(kept, DaskMoments)
    assert_same_fit(found, EGMM(3, **settings).fit(X, sample_weight=weights))


@pytest.mark.slow
def test_workers_read_an_archive(client, grid, start, data, small_blocks):
    path, _ = grid
    _, weights = data
    whole = EGMM(3, init_params=start, **SETTINGS).fit(read_ensemble(path), sample_weight=weights)
    unread = read_ensemble(path, chunks={})
    assert_same_fit(EGMM(3, init_params=start, **SETTINGS).fit(unread, sample_weight=weights), whole)
    # from a search of its own, too
    whole = EGMM(3, random_state=1, n_init=4).fit(read_ensemble(path))
    searched = EGMM(3, random_state=1, n_init=4).fit(unread)
    assert searched.log_likelihood_ == pytest.approx(whole.log_likelihood_, rel=1e-5)


@pytest.mark.slow
def test_a_worker_is_killed_in_mid_fit(client, data, start, small_blocks):
    X, weights = data
    chunked = da.from_array(X, chunks=(450, 8, 2))
    settings = {"init_params": start, "tol": 0, "max_iter": 60}
    whole = EGMM(3, **settings).fit(X, sample_weight=weights)
    address, pid = next(iter(client.run(os.getpid).items()))
    passes = []
    pass_of = DaskMoments.passes

    def passes_that_kill(self, *arguments):
        go = pass_of(self, *arguments)

        def one(factors):
            passes.append(len(passes))
            if len(passes) == 20:
                os.kill(pid, signal.SIGKILL)
            return go(factors)

        return one

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DaskMoments, "passes", passes_that_kill)
        found = EGMM(3, **settings).fit(chunked, sample_weight=weights)
    assert len(passes) == 61
    assert address not in client.run(os.getpid) or client.run(os.getpid)[address] != pid
    assert_same_fit(found, whole)


@pytest.mark.slow
def test_a_chunk_that_cannot_be_read_on_a_worker(client, grid, small_blocks):
    path, _ = grid
    damage(path)
    model = EGMM(2, random_state=0)
    with pytest.raises(ValueError, match="cannot be read"):
        model.fit(read_ensemble(path, chunks={}))
    assert not hasattr(model, "means_")


@pytest.mark.slow
def test_bad_values_on_a_worker(client, data, small_blocks):
    X = data[0].copy()
    X[1000, 2, 1] = np.inf
    with pytest.raises(ValueError, match="X, ensembles 900 to 1349: infinite value at ensemble 100"):
        EGMM(2).fit(da.from_array(X, chunks=(450, 8, 2)))


CLUSTER = """
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0", protocol="tcp") as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


@pytest.mark.slow
def test_the_scheduler_is_lost_in_mid_fit(data, start, small_blocks, tmp_path):
    X, _ = data
    (tmp_path / "cluster.py").write_text(CLUSTER)
    command = [sys.executable, "-W", "ignore", str(tmp_path / "cluster.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    passes = []
    pass_of = DaskMoments.passes

    def passes_that_kill(self, *arguments):
        go = pass_of(self, *arguments)

        def one(factors):
            passes.append(len(passes))
            if len(passes) == 5:
                scheduler.kill()
            return go(factors)

        return one

    model = EGMM(3, init_params=start, tol=0, max_iter=5000)
    with subprocess.Popen(command, text=True, **pipes) as scheduler, pytest.MonkeyPatch.context() as patch:
        client = distributed.Client(scheduler.stdout.readline().strip(), timeout="5s")
        patch.setattr(DaskMoments, "passes", passes_that_kill)
        try:
            with client.as_current(), pytest.raises(ConnectionError, match="scheduler was lost"):
                model.fit(da.from_array(X, chunks=(450, 8, 2)))
        finally:
            scheduler.kill()
            client.close(timeout=2)
    assert len(passes) == 5
    assert not hasattr(model, "means_")


@pytest.mark.slow
def test_workers_see_a_mask(data, start, client):
    X, _ = data
    masked = np.ma.masked_invalid(X)
    masked.data[masked.mask] = 1e3
    whole = EGMM(3, init_params=start, **SETTINGS).fit(X)
    assert_same_fit(
        EGMM(3, init_params=start, **SETTINGS).fit(da.from_array(masked, chunks=(450, 8, 2))), whole
    )


def test_workers_refuse_an_ensemble_that_is_too_far_from_the_others(client):
    X = np.random.default_rng(0).normal(size=(40, 4, 2))
    X[27, 0, 1] = 3e30
    with pytest.raises(ValueError, match=r"X, block \d: ensemble \d+ lies more than 2e\+15 times the spread"):
        EGMM(2, n_init=1, dtype="float32").fit(da.from_array(X, chunks=(20, 4, 2)))
