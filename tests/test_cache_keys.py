"""What a compiled program is found by."""

import os
import subprocess
import time
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from degmm import nets
from degmm.calibration import minimisation, rows
from degmm.calibration.families import FAMILIES
from degmm.calibration.linear import objective
from degmm.compilation import origin
from degmm.compilation.fingerprints import UnknownError, fingerprint
from degmm.compilation.keys import call_of, disk_key
from degmm.families import make_family
from degmm.families.covariance import STRUCTURES, compose, floor_eigenvalues
from degmm.inference.objectives import find_objective
from degmm.nets.base import Encoder, EncoderSizes

PAIR = (np.ones((1, 2, 2)), np.ones((1, 2)))
SIZES = EncoderSizes(n_features=2, n_components=3, n_members=4, hidden=(5,))
pytestmark = pytest.mark.usefixtures("empty_store")


def key_of(function=compose, values=PAIR, static=(), donated=(), options=None):
    origin.origin.cache_clear()
    return disk_key(function, static, donated, options or {}, call_of(values, static))


def test_every_ingredient_changes_the_key(monkeypatch):
    f32 = np.ones((1, 2), np.float32)
    V = np.ones((1, 2, 2))
    keys = [key_of()]
    assert key_of() == keys[0]
    assert key_of(values=(2 * V, np.zeros((1, 2)))) == keys[0]  # values of the same kind
    keys += [
        key_of(floor_eigenvalues),
        key_of(partial(compose)),
        key_of(donated=(0,)),
        key_of(options={"a": 1}),
    ]
    keys += [
        key_of(values=values) for values in [(V, f32), (V, f32[0]), (V, 1.0), (V, 1), (V, jnp.asarray(1.0))]
    ]
    keys += [
        key_of(values=values) for values in [(V, np.float32(1)), (V, (f32,)), (V, [f32]), (V, {"a": f32})]
    ]
    keys += [key_of(values=values) for values in [(V, {"b": f32}), (V, (f32, None)), (V, (None, f32)), (V,)]]
    for static in (
        1,
        True,
        1.0,
        "1",
        np.dtype("f4"),
        (1,),
        [1].__class__,
        STRUCTURES["full"],
        STRUCTURES["diag"],
    ):
        keys.append(key_of(values=(static, V), static=(0,)))
    with jax.enable_x64(True):
        keys.append(key_of())
    with jax.default_matmul_precision("float32"):
        keys.append(key_of())
    monkeypatch.setenv("XLA_FLAGS", "--xla_some_flag=1")
    keys.append(key_of())
    monkeypatch.setenv("JAX_SOMETHING", "1")
    keys.append(key_of())
    monkeypatch.setattr("degmm.__version__", "999")
    keys.append(key_of())
    monkeypatch.setattr(jax, "__version__", "999")
    keys.append(key_of())
    monkeypatch.setattr(origin, "version", lambda name: "999")
    keys.append(key_of())
    monkeypatch.setattr(origin, "cores", lambda: 999)
    keys.append(key_of())
    monkeypatch.setattr(origin, "_first_processor", lambda lines: ("flags: none",))
    keys.append(key_of())
    monkeypatch.setattr(origin, "digest_of_source", lambda folder: "other source")
    keys.append(key_of())
    assert None not in keys
    assert len(set(keys)) == len(keys)
    monkeypatch.setattr(origin, "digest_of_source", lambda folder: None)
    assert key_of() is None
    monkeypatch.undo()
    origin.origin.cache_clear()


def test_a_mac_tells_its_processor(monkeypatch):
    monkeypatch.setattr(origin.platform, "system", lambda: "Darwin")
    called = []

    def run(command, **options):
        called.append(command)
        return subprocess.CompletedProcess(command, 0, stdout="Apple M1\n")

    monkeypatch.setattr(origin.subprocess, "run", run)
    assert origin._named_processor() == "Apple M1"
    assert called == [["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]]
    monkeypatch.setattr(origin.platform, "system", lambda: "Windows")
    assert origin._named_processor() == ""


def test_settings_of_jax_are_in_the_key():
    before = key_of()
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        assert key_of() != before
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
    assert key_of() == before


def test_the_source_is_told_by_its_content(tmp_path):
    (tmp_path / "within").mkdir()
    one, two = tmp_path / "one.py", tmp_path / "within" / "two.py"
    one.write_text("a = 1\n")
    two.write_text("b = 1\n")
    soon = time.time() + 60
    first = origin.digest_of_source(tmp_path, soon)
    assert first == origin.digest_of_source(tmp_path, soon)
    two.write_text("b = 2\n")
    second = origin.digest_of_source(tmp_path, soon)
    one.rename(tmp_path / "three.py")
    assert len({first, second, origin.digest_of_source(tmp_path, soon)}) == 3
    os.utime(two, (time.time() + 120,) * 2)  # changed since it was imported
    assert origin.digest_of_source(tmp_path, soon) is None
    assert origin.digest_of_source(tmp_path / "none", soon) is None


@dataclass(frozen=True)
class Mine:
    a: int = 1


class MyEncoder(Encoder):
    def __init__(self, sizes, *, rngs):
        self.layer = nets.deep_sets.DenseStack((1, 3), rngs=rngs)


def mine(x):
    return x


def test_what_is_a_users_own_has_no_fingerprint():
    pretending = type(mine)(mine.__code__, mine.__globals__, "compose", None, None)
    pretending.__module__ = compose.__module__
    endless = []
    endless.append(endless)
    unknown = [mine, Mine, Mine(), partial(mine), partial(compose, mine), {"a": mine}, pretending, endless]
    unknown += [object(), jnp.ones(2), np.array([None]), MyEncoder, jax.vmap(compose), lambda x: x]
    unknown += [nets.structure(MyEncoder, SIZES)]
    for value in unknown:
        with pytest.raises(UnknownError):
            fingerprint(value)
    assert key_of(mine, (np.ones(2),)) is None


def test_all_that_the_package_compiles_has_a_fingerprint():
    structures = [nets.structure(make, SIZES) for make in nets.ENCODERS.values()]
    families = [
        make_family(member_model, kind)
        for member_model in ("independent", "shared_centre")
        for kind in STRUCTURES
    ]
    compiled = [
        minimisation._compiled(objective(f, loss)) for f in FAMILIES for loss in ("crps", "likelihood")
    ]
    others = [find_objective("elbo"), find_objective("likelihood"), np.dtype("f8"), *nets.ENCODERS.values()]
    others += [rows._apply, *FAMILIES.values()]
    values = [*structures, *families, *(made.__wrapped__ for made in compiled), *others]
    told = [fingerprint(value) for value in values]
    assert len(set(told)) == len(told)
    minimisation._compiled.cache_clear()
    objective.cache_clear()
    again = minimisation._compiled(objective("normal", "crps"))
    assert again is not compiled[0]
    assert fingerprint(again.__wrapped__) == fingerprint(compiled[0].__wrapped__)
    assert [fingerprint(nets.structure(make, SIZES)) for make in nets.ENCODERS.values()] == told[
        : len(structures)
    ]
