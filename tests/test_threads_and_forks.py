"""Fits that hung or ended the process: in several threads at once, after a fork, in a hundred variables."""

import os
import subprocess
import sys
import textwrap

import pytest

COMMON = """
import faulthandler, sys, threading, warnings
faulthandler.dump_traceback_later(float(sys.argv[1]), exit=True)  # what hangs ends, and says where
import numpy as np
from degmm import DEGMM, EGMM, GMM
from degmm.calibration import EMOS

def ensembles(D, n=300, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 6, D)) + 2.0 * rng.integers(0, 3, size=(n, 1, 1))

def shared(D, **more):
    return EGMM(3, member_model="shared_centre", random_state=0, **more), ensembles(D)

def independent(D, **more):
    return EGMM(3, random_state=0, **more), ensembles(D)

def at_once(threads, work):
    wrong = []
    def guarded(i):
        try:
            work(i)
        except BaseException as error:
            wrong.append(error)
    running = [threading.Thread(target=guarded, args=(i,)) for i in range(threads)]
    for thread in running: thread.start()
    for thread in running: thread.join()
    if wrong: raise wrong[0]
"""


def run(script: str, seconds: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """Return what a script printed, in a process that ends itself where it hangs."""
    return subprocess.run(
        [sys.executable, "-c", COMMON + textwrap.dedent(script), str(seconds)],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        env={**os.environ, **environment},
    )


def test_two_threads_fit_in_many_dimensions():
    """At D = 16 and 30 two fits at once waited for each other for ever."""
    done = run(
        """
        alone = {}
        for D in (16, 30):
            model, X = shared(D, n_init=4)
            alone[D] = model.fit(X).means_
        def work(i):
            for D in (16, 30):
                for _ in range(2):
                    model, X = shared(D, n_init=4)
                    assert np.array_equal(model.fit(X).means_, alone[D])
        at_once(2, work)
        print("done")
        """,
        150,
    )
    assert done.stdout.strip() == "done", done.stderr


@pytest.mark.slow
def test_four_threads_200_fits_and_2000_predictions():
    """Mixed kinds and dimensions, with the results of one after the other."""
    done = run(
        """
        kinds = [
            lambda: shared(2), lambda: shared(16, n_init=4), lambda: shared(30, n_init=4), lambda: shared(64, n_init=1),
            lambda: independent(2), lambda: independent(8, n_init=4), lambda: independent(16, n_init=4),
            lambda: independent(64, n_init=1), lambda: independent(30, n_init=4, covariance_type="diag"),
            lambda: (GMM(3, n_init=4, random_state=0), ensembles(16)[:, 0]),
            lambda: (DEGMM(3, max_epochs=3, n_networks=1, random_state=0), ensembles(2)),
        ]
        alone = []
        for kind in kinds:
            model, X = kind()
            alone.append((model.fit(X), X, model.predict_proba(X)))
        drawn = np.random.default_rng(0)
        jobs = list(drawn.permutation([(i % len(kinds), int(i < 200)) for i in range(2200)]))
        lock = threading.Lock()
        def work(_):
            while True:
                with lock:
                    if not jobs: return
                    place, fits = jobs.pop()
                model, X, expected = alone[place]
                if fits:
                    fresh, X = kinds[place]()
                    model = fresh.fit(X)
                assert np.array_equal(model.predict_proba(X), expected), type(model)
        at_once(4, work)
        print("done")
        """,
        400,
    )
    assert done.stdout.strip() == "done", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_after_a_fit_says_what_to_do():
    """Such a fit waited for ever for threads that the fork had not copied."""
    done = run(
        """
        import multiprocessing
        model, X = independent(2, n_init=1)
        model.fit(X)
        def child(work):
            try:
                work()
            except RuntimeError as error:
                print(error, flush=True)
        warnings.simplefilter("ignore")  # JAX's own, at the fork
        fork = multiprocessing.get_context("fork")
        for work in (lambda: model.fit(X), lambda: model.predict(X)):
            process = fork.Process(target=child, args=(work,))
            process.start()
            process.join()
        """,
        60,
    )
    assert done.stdout.count("get_context('spawn')") == 2, done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_before_any_fit_fits():
    """Nothing of JAX's runs at the fork."""
    done = run(
        """
        import multiprocessing
        def child():
            model, X = independent(2, n_init=1)
            print(model.fit(X).result_.name, flush=True)
        warnings.simplefilter("ignore")
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join()
        """,
        60,
    )
    assert "CONVERGED" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_a_network_with_shared_centres_in_a_hundred_variables():
    """XLA's code of its gradient wrote to address 0, which ended the process (compilation/programs.py)."""
    done = run(
        """
        warnings.simplefilter("ignore")
        model = DEGMM(4, member_model="shared_centre", objective="likelihood", max_epochs=2, n_networks=1, n_init=1)
        print(np.isfinite(model.set_params(random_state=0).fit(ensembles(100, 600)).means_).all())
        """,
        300,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
