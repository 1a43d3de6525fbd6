"""Many fits of many sizes in one process: what it holds stays bounded."""

import json
import os
import subprocess
import sys

import pytest

from degmm.compilation.memory import MOST_PROGRAMS

SCRIPT = """
import json, os, sys, threading
import numpy as np
from degmm import DEGMM, EGMM, GMM
from degmm.calibration import EMOS
from degmm.compilation.memory import PROGRAMS

def held():
    with open("/proc/self/status") as status:
        lines = dict(line.split(":", 1) for line in status)
    return {"MB": int(lines["VmRSS"].split()[0]) // 1024, "threads": int(lines["Threads"]),
            "descriptors": len(os.listdir("/proc/self/fd")), "programs": len(PROGRAMS)}

fits, told = int(sys.argv[1]), []
rng = np.random.default_rng(0)
for i in range(fits):
    n, M, D, K = int(rng.integers(20, 400)), int(rng.integers(1, 12)), int(rng.integers(1, 6)), int(rng.integers(1, 5))
    X = rng.normal(size=(n, M, D)) + 3 * rng.integers(0, 3, size=(n, 1, 1))
    kind = i % 10
    if kind == 9:
        y = X[:, :, 0].mean(axis=1) + rng.normal(size=n)
        EMOS("normal", random_state=0).fit(X[:, :, :1], y[:, None]).predict(X[:, :, :1]).mean()
    elif kind == 8 and i % 50 == 8:
        DEGMM(K, max_epochs=2, n_networks=1, n_init=1, random_state=0).fit(X).predict(X)
    else:
        model, X = (EGMM, X) if kind % 2 else (GMM, X[:, 0])
        model(K, n_init=2, max_iter=20, random_state=0, covariance_type=("full", "diag")[kind // 2 % 2]).fit(X).predict(X)
    if (i + 1) % max(1, fits // 10) == 0:
        told.append({"fits": i + 1, **held()})
        print(told[-1], file=sys.stderr, flush=True)
print(json.dumps(told))
"""


@pytest.mark.slow
@pytest.mark.timeout(4000)
@pytest.mark.skipif("DEGMM_SOAK_FITS" not in os.environ, reason="make soak")
@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="counted by Linux's /proc")
def test_what_a_process_holds_levels_off():
    """`make soak` makes 1000 fits (docs/robustness.md)."""
    fits = int(os.environ["DEGMM_SOAK_FITS"])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(fits)],
        capture_output=True,
        text=True,
        timeout=4000,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    half, end = told[len(told) // 2], told[-1]
    assert end["programs"] <= MOST_PROGRAMS
    assert end["descriptors"] <= half["descriptors"] + 2
    assert end["threads"] <= half["threads"] + 2
    if fits >= 200:  # by then as many programs are held as may be
        assert end["MB"] <= 1.25 * half["MB"] + 50
