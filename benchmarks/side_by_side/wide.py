"""Many variables: iterations of EM, default fits and what they need, beside scikit-learn's on the same members."""

import contextlib
import time
from typing import Any

import numpy as np

from benchmarks.side_by_side import memory
from benchmarks.side_by_side.timing import middle, tell, timed

ITERATIONS = 20
PEER_ITERATIONS = 6


def drawn(told: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return members (n, M, D) in float32 and the clusters that they are drawn from.

    All clusters are equally likely and have one covariance A Aᵀ, with A = I + G/2 and G normal of variance
    1/D. Their centres are normal in the coordinates of A, at a mean distance of ``distance``/√M: this
    is ``distance`` standard deviations of the mean of M members, whatever M and D are.
    So neighbours overlap, and EM takes tens of iterations.
    """
    n, M, D, K = (told[name] for name in "nMDK")
    rng = np.random.default_rng(0)
    labels = rng.integers(K, size=n)
    centres = rng.normal(size=(K, D)) * told["distance"] / np.sqrt(2 * D * M)
    shape = np.eye(D) + 0.5 * rng.normal(size=(D, D)) / np.sqrt(D)
    X = rng.standard_normal((n, M, D), dtype=np.float32)
    X += centres.astype(np.float32)[labels, None]
    for some in np.array_split(np.arange(n), 20):
        X[some] = X[some] @ shape.astype(np.float32)
    return X, labels


def starting(labels: np.ndarray, K: int) -> np.ndarray:
    """Return responsibilities (n, K) to start from: halfway between the true clusters and random ones."""
    random = np.random.default_rng(1).dirichlet(np.ones(K), size=len(labels))
    return (0.5 * np.eye(K)[labels] + 0.5 * random).astype(np.float32)


def measure(told: dict[str, Any]) -> None:
    """Measure ours first: what was told stays, where the peer takes too long."""
    X, labels = drawn(told)
    model = _default_fits(X, told)
    model.predict(X)  # compiles
    tell(predict=middle(lambda: model.predict(X), told["repeats"]))
    start = starting(labels, told["K"])
    tell(iteration=_iteration(X, start, told))
    if told["beside"]:
        _beside(X, start, told)


def _default_fits(X: np.ndarray, told: dict[str, Any]) -> Any:
    """Fit with all defaults: memory and seconds of the first fit, then seconds of those after it."""
    from degmm import EGMM
    from degmm.inference import search

    run, final = search.best_run, []

    def timed_run(*arguments: Any, **more: Any) -> Any:
        seconds, solution = timed(lambda: run(*arguments, **more))
        final.append(seconds)
        return solution

    search.best_run = timed_run  # the last run of a search is that on all ensembles
    model = EGMM(told["K"], covariance_type=told["covariance"], random_state=0)
    memory.forget_peak()
    before = memory.status("VmRSS")
    first, _ = timed(lambda: model.fit(X))
    tell(first=first, memory=memory.status("VmHWM") - before, iterations=int(model.n_iter_))
    fits, runs = [], []
    for _ in range(told["repeats"]):
        fits.append(timed(lambda: model.fit(X))[0])
        runs.append(final[-1])
    search.best_run = run
    tell(fit=float(np.median(fits)), final=float(np.median(runs)))
    return model


def _iteration(X: np.ndarray, start: np.ndarray, told: dict[str, Any]) -> float:
    """Return seconds of one iteration: the difference of fits of 21 and of one, the median of several."""
    from degmm import EGMM

    few, many = (
        EGMM(
            told["K"],
            covariance_type=told["covariance"],
            init_params=start,
            tol=0,
            max_iter=count,
            random_state=0,
        )
        for count in (1, 1 + ITERATIONS)
    )
    few.fit(X), many.fit(X)  # compiles
    found = [timed(lambda: many.fit(X))[0] - timed(lambda: few.fit(X))[0] for _ in range(told["repeats"])]
    return float(np.median(found)) / ITERATIONS


def _beside(X: np.ndarray, start: np.ndarray, told: dict[str, Any]) -> None:
    """Measure scikit-learn's iterations from the same start on the members laid flat, and its predictions."""
    flat = X.reshape(-1, told["D"])
    model = peer(np.repeat(start, told["M"], axis=0), told, time.perf_counter() + told["patience"])
    with contextlib.suppress(TimeoutError):
        model.fit(flat)
    tell(peer_iteration=float(np.median(np.diff(model.stamps))), peer_iterations=len(model.stamps) - 1)
    model.predict(flat)
    tell(peer_predict=middle(lambda: model.predict(flat), told["repeats"]))


def peer(start: np.ndarray, told: dict[str, Any], until: float) -> Any:
    """Return scikit-learn's mixture, to be fitted from given responsibilities.

    Its ``stamps`` are the times at which its iterations begin. After ``until``, and at least one
    iteration, it raises TimeoutError.
    """
    from sklearn.mixture import GaussianMixture

    class Peer(GaussianMixture):  # type: ignore[misc, unused-ignore]
        def _initialize_parameters(self, X: Any, random_state: Any, xp: Any = None) -> None:
            self._initialize(X, start)

        def _e_step(self, X: Any, **more: Any) -> Any:  # the first step of each iteration
            self.stamps.append(time.perf_counter())
            if len(self.stamps) > 1 and self.stamps[-1] > until:
                raise TimeoutError
            return super()._e_step(X, **more)

    model = Peer(told["K"], covariance_type=told["covariance"], tol=0, max_iter=PEER_ITERATIONS)
    model.stamps = []
    return model
