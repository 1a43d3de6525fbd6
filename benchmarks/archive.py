"""A Zarr archive larger than the memory given to the fit: time and peak memory beside reading it alone.

    pip install '.[all]' && python benchmarks/archive.py [--n 50000000] [--folder /tmp] [--keep]

Draws float32 members of a mixture (M = 50, D = 2, K = 4), n of them a chunk of 250 000, writes them to a
Zarr in a temporary folder, and then, each in a process of its own: reads every chunk and drops it; fits
an EGMM to what ``read_ensemble(path, chunks={})`` returns. The archive is deleted afterwards. 20 GB at
the default size, without compression, which random numbers do not allow anyway.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

M, D, K = 50, 2, 4
CHUNK = 250_000
WEIGHTS = np.array([0.4, 0.3, 0.2, 0.1])
MEANS = np.array([[0.0, 0.0], [3.0, 1.0], [-2.0, 3.0], [0.0, -4.0]], np.float32)
SPREADS = np.array([1.0, 1.5, 0.7, 2.0], np.float32)


def generate(path: Path, n: int) -> None:
    """Write the archive chunk by chunk."""
    import zarr

    root = zarr.open_group(path, mode="w")
    array = root.create_array(
        "forecast",
        shape=(n, M, D),
        chunks=(min(CHUNK, n), M, D),
        dtype="float32",
        dimension_names=("case", "member", "variable"),
        compressors=None,
    )
    for k, start in enumerate(range(0, n, CHUNK)):
        rng = np.random.default_rng([0, k])
        size = min(CHUNK, n - start)
        labels = rng.choice(K, size=size, p=WEIGHTS)
        X = rng.standard_normal((size, M, D), dtype=np.float32)
        array[start : start + size] = X * SPREADS[labels, None, None] + MEANS[labels, None]


def drop_from_cache(path: Path) -> None:
    """Ask the system to forget the files, so that both measurements read them from the disk."""
    for file in path.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def read(path: Path) -> str:
    """Read all chunks, with Dask's threads, and drop them."""
    import dask
    import xarray as xr

    array = xr.open_zarr(path, consolidated=False)["forecast"].data
    started = time.perf_counter()
    # one number of each chunk: everything is read, and nothing else is done
    parts = [dask.delayed(lambda x: float(x.flat[0]))(part) for part in array.to_delayed().ravel()]
    dask.compute(*parts)
    return f"{time.perf_counter() - started:.1f}"


def fit(path: Path) -> str:
    """Fit, and say what it took."""
    from degmm import EGMM, read_ensemble

    started = time.perf_counter()
    model = EGMM(K, random_state=0).fit(read_ensemble(path, chunks={}))
    seconds = time.perf_counter() - started
    order = [int(np.argmin(((MEANS - mean) ** 2).sum(axis=1))) for mean in model.means_]
    apart = np.abs(model.means_ - MEANS[order]).max()
    result = f"{model.n_iter_} iterations on all, {model.result_.name}, means within {apart:.1g} of the truth"
    return f"{seconds:.1f} {result}"


def main() -> None:
    """Generate, measure each job in a process of its own, and delete."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=50_000_000)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--job", choices=["read", "fit"])
    parser.add_argument("--path", type=Path)
    arguments = parser.parse_args()
    if arguments.job:
        said = {"read": read, "fit": fit}[arguments.job](arguments.path)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{peak:.2f} {said}")
        return
    folder = Path(tempfile.mkdtemp(prefix="degmm-archive-", dir=arguments.folder))
    path = folder / "archive.zarr"
    try:
        generate(path, arguments.n)
        size = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
        print(f"n = {arguments.n}, M = {M}, D = {D}, K = {K}: {size / 1e9:.2f} GB of float32")
        for job in ("read", "fit", "read", "fit"):
            drop_from_cache(path)
            command = [sys.executable, __file__, "--job", job, "--path", str(path)]
            peak, seconds, *rest = subprocess.run(
                command, check=True, capture_output=True, text=True
            ).stdout.split()
            print(f"{job}: {seconds} s, peak memory {peak} GB  {' '.join(rest)}", flush=True)
    finally:
        if arguments.keep:
            print(f"kept: {path}")
        else:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
