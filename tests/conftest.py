"""Fixtures that several tests share."""

import os
from pathlib import Path

# The tests run in as many processes as there are cores: the threads that linear algebra would start in each
# could only wait for one another. It is read when NumPy is first imported, here and in processes of the tests.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest

from degmm.datasets import make_exchangeable_mixture
from degmm.store.place import why_unsafe

PROGRAMS = Path(__file__).resolve().parents[1] / ".pytest_programs"
"""Programs that one test has compiled serve all others, the processes that tests start, and the next run"""
if not why_unsafe(PROGRAMS):  # else, where others may write to the checkout, they are in the user's own store
    os.environ.setdefault("DEGMM_CACHE_DIR", str(PROGRAMS))
SHARED = os.environ.get("DEGMM_CACHE_DIR")

QUICKLY = "--xla_backend_optimization_level=0"
"""Programs are compiled in half the time, and few of those that tests make run for long"""


def pytest_configure(config):
    """Let the tests, and the processes that they start, compile without optimisation.

    The slow tests have the programs that users have.
    """
    if config.getoption("markexpr") != "slow":
        os.environ.setdefault("XLA_FLAGS", QUICKLY)


def real_file(name: str) -> Path:
    """Return a file of real data, or skip the test, where DEGMM_DATA does not say where they are."""
    folder = os.environ.get("DEGMM_DATA")
    if not folder:
        pytest.skip("DEGMM_DATA does not name the folder of the real data")
    path = Path(folder) / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


@pytest.fixture
def monkeypatch(monkeypatch):
    """Pytest's own, with nothing read from or left in the shared store once an attribute is patched.

    The key of a program tells of source code, not of patches. A store of a test's own is its own matter.
    """
    plain = monkeypatch.setattr

    def without_store(*arguments, **options):
        if os.environ.get("DEGMM_CACHE_DIR") == SHARED:
            monkeypatch.setenv("DEGMM_CACHE", "off")
        plain(*arguments, **options)

    monkeypatch.setattr = without_store
    return monkeypatch


@pytest.fixture(scope="session")
def mixture():
    """A small mixture: X (300, 10, 2), labels, truth."""
    return make_exchangeable_mixture(n=300, M=10, D=2, K=3, seed=1)


@pytest.fixture
def netcdf(tmp_path, mixture):
    """A NetCDF file of ensembles with a date coordinate and missing values."""
    import xarray as xr

    X = mixture[0].copy()
    X[3] = np.nan
    X[5, 2:4, 0] = np.nan
    dates = np.arange("2020-01-01", "2020-10-27", dtype="datetime64[D]").astype("datetime64[ns]")
    data = xr.Dataset(
        {"forecast": (("case", "member", "variable"), X)},
        coords={
            "member": ("member", np.arange(1, 11), {"standard_name": "realization"}),
            "variable": ["t2m", "wind"],
            "units": ("variable", ["degC", "m/s"]),
            "valid_date": ("case", dates),
        },
    )
    path = tmp_path / "ensembles.nc"
    data.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.fixture
def empty_store(tmp_path, monkeypatch):
    """An empty store of compiled programs, of this test's own."""
    monkeypatch.delenv("DEGMM_CACHE", raising=False)
    monkeypatch.setenv("DEGMM_CACHE_DIR", str(tmp_path / "programs"))
    return tmp_path / "programs"


@pytest.fixture
def compilations():
    """A list that grows with each compilation, in whatever store the test is."""
    import jax

    found = []

    def listen(event, duration, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(details)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(autouse=True, scope="module")
def _fresh_compilations():
    """Let a module's compiled functions go: a process can map only so many of them into memory."""
    yield
    import jax

    jax.clear_caches()
