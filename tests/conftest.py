"""Fixtures that several tests share."""

import os
from pathlib import Path

# The tests run in as many processes as there are cores: the threads that linear algebra would start in each
# could only wait for one another. It is read when NumPy is first imported, here and in processes of the tests.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest

from degmm.compilation import memory, programs
from degmm.datasets import make_exchangeable_mixture
from degmm.store.place import why_unsafe

PROGRAMS = Path(__file__).resolve().parents[1] / ".pytest_programs"
"""Programs that one test has compiled serve all others, the processes that tests start, and the next run"""
if not why_unsafe(PROGRAMS):  # else, where others may write to the checkout, they are in the user's own store
    os.environ.setdefault("DEGMM_CACHE_DIR", str(PROGRAMS))
SHARED = os.environ.get("DEGMM_CACHE_DIR")


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


@pytest.fixture(scope="module")
def quick_programs(request):
    """Compile a module's programs without optimisation, in half the time: few of them run for long.

    They are not those of other modules, in memory or in the store. The slow tests run the programs
    that users have.
    """
    if request.config.getoption("markexpr") == "slow":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(programs.OPTIONS, "xla_backend_optimization_level", 0)
        patch.setattr(programs, "PROGRAMS", memory.Programs(memory.MOST_PROGRAMS))
        yield


@pytest.fixture(autouse=True, scope="module")
def _fresh_compilations():
    """Let a module's compiled functions go: a process can map only so many of them into memory."""
    yield
    import jax

    jax.clear_caches()
