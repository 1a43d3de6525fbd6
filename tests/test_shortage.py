"""Memory that runs out is told in one sentence that says what to do."""

from concurrent.futures.process import BrokenProcessPool

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_cli import degmm

from degmm import EGMM, capacity, memory, select_components
from degmm.compilation import jit
from degmm.datasets import make_exchangeable_mixture
from degmm.shortage import as_memory_error, shortage_told

X = make_exchangeable_mixture(60, 4, 2, 2, seed=0)[0]
EXHAUSTED = "RESOURCE_EXHAUSTED: Out of memory allocating 800 bytes.\nBFC Allocator dump:\n …"
TOLD = r"^memory: this takes more than there is \(Out of memory allocating .*\); take fewer ensembles"


@jit
def enormous(x):
    return jnp.broadcast_to(x, (10**13,)) * 2


def test_what_xla_says_is_a_memory_error():
    with pytest.raises(MemoryError, match=TOLD):
        enormous(np.float32(1))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (jax.errors.JaxRuntimeError(EXHAUSTED), "(Out of memory allocating 800 bytes); take"),
        (MemoryError(), "this takes more than there is; take"),
        (MemoryError("Unable to allocate 7 GiB"), "(Unable to allocate 7 GiB); take"),
    ],
)
def test_one_sentence_of_each_kind(error, told):
    with pytest.raises(MemoryError) as found, shortage_told(), shortage_told():
        raise error
    assert told in str(found.value)
    assert str(found.value).count("memory: ") == 1
    assert "\n" not in str(found.value)


def test_other_errors_stay_as_they_are():
    for error in (
        jax.errors.JaxRuntimeError("INTERNAL: no"),
        RuntimeError("RESOURCE_EXHAUSTED"),
        ValueError(),
    ):
        assert as_memory_error(error) is error
        with pytest.raises(type(error)) as found, shortage_told():
            raise error
        assert found.value is error


def test_a_fit_says_what_to_do(monkeypatch):
    def fails(*arguments, **options):
        raise MemoryError("Unable to allocate 7 GiB")

    model = EGMM(2, n_init=1, random_state=0).fit(X)
    monkeypatch.setattr("degmm.estimators.base.standardised_moments", fails)
    with pytest.raises(MemoryError, match=r"Unable to allocate 7 GiB\); take fewer ensembles"):
        EGMM(2).fit(X)
    monkeypatch.setattr("degmm.estimators.base.moments_of", fails)
    with pytest.raises(MemoryError, match=r"Unable to allocate 7 GiB\); take fewer ensembles"):
        model.predict(X)


@pytest.mark.parametrize(
    "error", [jax.errors.JaxRuntimeError(EXHAUSTED), MemoryError("Unable to allocate 7 GiB")]
)
def test_a_command_ends_with_one_sentence(error, netcdf, tmp_path, capsys, monkeypatch):
    def fails(*arguments, **options):
        raise error

    monkeypatch.setattr("degmm.estimators.base.standardised_moments", fails)
    assert degmm("fit", netcdf, "-q", "-o", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert said.startswith("degmm: memory: this takes more than there is (")
    assert "--covariance-type diag" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_process_that_the_system_ends_is_told(monkeypatch, netcdf, tmp_path, capsys):
    def broken(*arguments):
        raise BrokenProcessPool("A worker process was unexpectedly terminated")

    monkeypatch.setattr("joblib.Parallel.__call__", broken)
    with pytest.raises(MemoryError, match=r"ended one of \d+ processes.*\(n_jobs=1\)"):
        select_components(EGMM(), X, [1, 2])
    assert degmm("select", netcdf, "--K", "1,2", "-q", "-o", tmp_path / "out") == 2
    assert "degmm: memory: the system has ended one of" in (said := capsys.readouterr().err)
    assert "(--jobs 1)" in said


# --- what is told before ---------------------------------------------------------------------------------------


def test_little_memory_that_is_free_is_pointed_out(monkeypatch):
    wide = np.random.default_rng(0).normal(size=(12, 2, 300)).astype(np.float32)
    monkeypatch.setattr(capacity, "memory_of_machine", lambda: 10**9)
    monkeypatch.setattr(capacity, "free_memory", lambda: 10**6)
    structure = EGMM(2)._family().covariance
    with pytest.warns(UserWarning, match=r"X: the fit takes about 0\.0\d+ GB, and 0\.001 GB .* are free"):
        capacity.check_capacity(len(wide), 2, 300, 2, structure, np.float32)
    monkeypatch.setattr(capacity, "free_memory", lambda: None)  # where it cannot be told
    capacity.check_capacity(len(wide), 2, 300, 2, structure, np.float32)


def test_a_container_s_memory_is_what_it_has(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    whole = memory.memory_of_machine()
    assert memory.free_memory() < whole
    for name, text in {
        "memory.max": "1000000",
        "memory.current": "900000",
        "memory.stat": "anon 5\ninactive_file 50000\nactive_file 7\n",
    }.items():
        (tmp_path / name).write_text(text)
    assert memory.memory_of_machine() == 1_000_000
    assert memory.free_memory() == 150_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.memory_of_machine() == whole


def test_long_work_says_what_it_is(monkeypatch, capsys):
    import time

    from degmm.cli import waiting

    monkeypatch.setattr(waiting, "SECONDS_A_LINE", 0.02)
    monkeypatch.setattr(memory, "memory_of_machine", lambda: 10**9)
    monkeypatch.setattr(memory, "free_memory", lambda: 10**6)
    with waiting.waiting(True, "fitting EGMM, K = 2"):
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 6  # ever more rarely
    assert lines[0].startswith("fitting EGMM, K = 2: 0 s so far; 0.999 of 1 GB of memory are in use")
    for enabled in (True, False):
        with waiting.waiting(enabled, "quick"):
            pass
    assert capsys.readouterr().err == ""
