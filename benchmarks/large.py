"""Speed of EM on grouped data, against scikit-learn and gmmx on the same members laid flat.

    pip install '.[bench]' && python benchmarks/large.py [small] [medium] [million]

Every measurement runs in a process of its own: ours from given responsibilities for exactly 100
iterations, the peers for 100 of theirs. "With compilation" is the first fit of a fresh process,
after the imports.
"""

import resource
import subprocess
import sys
import time

import numpy as np

ITERATIONS = 100
SIZES = {
    # name: n, M, D, K, dtype, peers to run, iterations that the peers run (times scaled to 100)
    "small": (10_000, 50, 2, 3, "float64", ("sklearn", "gmmx"), 100),
    "medium": (100_000, 50, 10, 8, "float32", ("sklearn", "gmmx"), 2),
    "million": (1_000_000, 50, 2, 4, "float32", (), 0),
}


def data(n: int, M: int, D: int, K: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return members (n, M, D) and starting responsibilities (n, K)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(K, size=n)
    X = rng.standard_normal((n, M, D), dtype=np.float32).astype(dtype)
    X += (1.5 * rng.normal(size=(K, D)))[labels][:, None].astype(dtype)
    return X, (np.eye(K)[labels] * 0.8 + 0.2 / K).astype(dtype)


def peak() -> float:
    """Return the largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(call) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ours(name: str) -> None:
    """Fit in this process and print the figures."""
    from degmm import EGMM
    from degmm.moments import standardised_moments

    n, M, D, K, dtype, _, _ = SIZES[name]
    X, gamma = data(n, M, D, K, dtype)
    before = peak()
    model = EGMM(K, init_params=gamma, tol=0, max_iter=ITERATIONS)
    first = timed(lambda: model.fit(X))
    grown = peak() - before
    warm = min(timed(lambda: model.fit(X)) for _ in range(3))
    copy = min(timed(X.copy) for _ in range(3))
    moments = min(timed(lambda: standardised_moments(X, np.ones(n))) for _ in range(3))
    megabytes = X.nbytes / 2**20
    print(
        f"first {first:.3f} warm {warm:.3f} copy {copy:.5f} moments {moments:.5f} input {megabytes:.0f} grown {grown:.0f}"
    )


def sklearn(name: str) -> None:
    """Fit scikit-learn's mixture to the members laid flat."""
    import warnings

    from sklearn.mixture import GaussianMixture

    warnings.simplefilter("ignore")
    n, M, D, K, dtype, _, iterations = SIZES[name]
    X, gamma = data(n, M, D, K, dtype)
    flat, weights = X.reshape(-1, D), np.repeat(gamma, M, axis=0)
    means = weights.T @ flat / weights.sum(axis=0)[:, None]
    model = GaussianMixture(
        K, tol=0, max_iter=iterations, means_init=means, init_params="random_from_data", random_state=0
    )
    seconds = timed(lambda: model.fit(flat)) * ITERATIONS / iterations
    print(f"first {seconds:.3f} warm {seconds:.3f}")


def gmmx(name: str) -> None:
    """Fit gmmx's mixture to the members laid flat."""
    import jax
    from gmmx import EMFitter, GaussianMixtureModelJax

    n, M, D, K, _, _, iterations = SIZES[name]
    dtype = "float32"  # gmmx takes no other
    X, gamma = data(n, M, D, K, dtype)
    flat, weights = X.reshape(-1, D), np.repeat(gamma, M, axis=0)
    means = weights.T @ flat / weights.sum(axis=0)[:, None]
    eye = np.tile(np.eye(D, dtype=dtype), (K, 1, 1))
    start = GaussianMixtureModelJax.from_squeezed(
        means=means, covariances=eye, weights=np.full(K, 1 / K, dtype)
    )
    fitter = EMFitter(tol=0.0, max_iter=iterations)

    def fit():
        jax.block_until_ready(jax.tree.leaves(fitter.fit(jax.numpy.asarray(flat), start)))

    scale = ITERATIONS / iterations
    first = timed(fit)
    warm = timed(fit)
    print(f"first {(first - warm) + warm * scale:.3f} warm {warm * scale:.3f}")


def measured(kind: str, name: str) -> dict[str, float]:
    """Run one measurement in a fresh process."""
    done = subprocess.run([sys.executable, __file__, kind, name], capture_output=True, text=True)
    if done.returncode:
        return {"failed": done.returncode}
    words = done.stdout.split()
    return dict(zip(words[::2], map(float, words[1::2]), strict=True))


def report(name: str) -> None:
    """Print the figures of one size, ours and the peers'."""
    n, M, D, K, dtype, peers, iterations = SIZES[name]
    own = measured("ours", name)
    print(f"\n{name}: n={n}, M={M}, D={D}, K={K}, {dtype}, {ITERATIONS} iterations")
    print(f"  degmm   {own['warm']:.3f} s once compiled, {own['first']:.2f} s in a fresh process")
    print(
        f"          moments {own['moments']:.3f} s ({own['moments'] / own['copy']:.1f} copies of the array)"
    )
    print(f"          memory beyond the input {own['grown']:.0f} MB for an input of {own['input']:.0f} MB")
    for peer in peers:
        other = measured(peer, name)
        if "failed" in other:
            print(f"  {peer:7} ended with exit code {int(other['failed'])} (out of memory shows as -9)")
            continue
        scaled = "" if iterations == ITERATIONS else f" (from {iterations} iterations)"
        print(
            f"  {peer:7} {other['warm']:.1f} s{scaled}: ratio {other['warm'] / own['warm']:.0f} once compiled, "
            f"{other['first'] / own['first']:.1f} with compilation"
        )


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in ("ours", "sklearn", "gmmx"):
        {"ours": ours, "sklearn": sklearn, "gmmx": gmmx}[sys.argv[1]](sys.argv[2])
    else:
        for chosen in sys.argv[1:] or SIZES:
            report(chosen)
