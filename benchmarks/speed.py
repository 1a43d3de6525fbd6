"""Speed of part 1: the README's command, start-up, DEGMM's epochs, EM against scikit-learn.

    python benchmarks/speed.py

Sizes are printed with each row; ratios are against a peer in the same run.
"""

import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np

from degmm import DEGMM, EGMM, datasets

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 5


def median_seconds(call, repeats: int = REPEATS) -> float:
    """Return the median wall time of a call."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def process(*arguments: str) -> None:
    """Run this Python on arguments, in a process of its own."""
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=tempfile.mkdtemp())


def start_up() -> None:
    """Print what a user waits for before anything runs."""
    command = "from degmm.cli import main; main(['--help'])"
    jax_and_sklearn = median_seconds(lambda: process("-c", "import jax, sklearn.base"))
    estimator = median_seconds(lambda: process("-c", "from degmm import EGMM"))
    print(f"degmm --help: {median_seconds(lambda: process('-c', command)):.2f} s")
    print(
        f"from degmm import EGMM: {estimator:.2f} s, which is {estimator - jax_and_sklearn:+.2f} s to "
        f"jax and scikit-learn alone ({jax_and_sklearn:.2f} s)"
    )


def readme_command() -> None:
    """Print the time of the README's command as a whole process."""
    sizes = ["--n", "1000", "--M", "10", "--D", "2", "--K", "3", "--num_epochs", "1000", "--seed", "0"]
    seconds = median_seconds(lambda: process(str(ROOT / "main.py"), *sizes), 3)
    print(f"python main.py {' '.join(sizes)}: {seconds:.1f} s (the original program: 46 to 56 s)")


def epochs() -> None:
    """Print the time of a thousand epochs of DEGMM, once compiled."""
    for M, D in ((10, 2), (50, 10)):
        X, _, _ = datasets.make_exchangeable_mixture(1000, M, D, 3, seed=0)
        for dtype in (np.float32, np.float64):
            data = X.astype(dtype)
            model = DEGMM(3, random_state=0)
            model.fit(data)
            name = np.dtype(dtype).name
            print(
                f"DEGMM, 1000 epochs, n=1000, M={M}, D={D}, {name}: {median_seconds(partial(model.fit, data)):.2f} s"
            )


def em_against_scikit_learn() -> None:
    """Print 100 iterations of EM on ensembles, beside scikit-learn on the same members laid flat."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    n, M, D, K = 10_000, 50, 2, 3
    X, labels, _ = datasets.make_exchangeable_mixture(n, M, D, K, seed=0)
    gamma = np.eye(K)[labels] * 0.8 + 0.2 / K
    ours = EGMM(K, init_params=gamma, tol=0, max_iter=100)
    first = median_seconds(lambda: ours.fit(X), 1)
    seconds = median_seconds(lambda: ours.fit(X))
    peer = GaussianMixture(K, tol=0, max_iter=100, init_params="random_from_data", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = median_seconds(lambda: peer.fit(X.reshape(-1, D)), 1)
    print(
        f"EM, 100 iterations, n={n}, M={M}, D={D}, K={K}, float64: {seconds:.3f} s ({first:.2f} s with "
        f"compilation); scikit-learn on the {n * M} members: {theirs:.1f} s, ratio {theirs / seconds:.0f}"
    )


if __name__ == "__main__":
    for part in (start_up, readme_command, epochs, em_against_scikit_learn):
        part()
