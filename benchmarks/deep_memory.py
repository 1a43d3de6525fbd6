"""Memory of a deep fit in batches of a million ensembles that lie in a file: resident, above the imports.

    python benchmarks/deep_memory.py [--folder /tmp] [--epochs 3] [--encoder moments]

The file (381 MiB of float32) is written first and mapped into memory; pages of it that are read count as
resident.
"""

import argparse
import threading
import time
import warnings
from pathlib import Path

import numpy as np

N, M, D, K = 1_000_000, 50, 2, 4
BLOCK = 50_000


def written(folder: Path) -> Path:
    """Write the ensembles block by block and return the file."""
    path = folder / "degmm_million.npy"
    file = np.lib.format.open_memmap(path, "w+", np.float32, (N, M, D))
    rng = np.random.default_rng(0)
    centres = 2 * rng.normal(size=(K, D))
    for first in range(0, N, BLOCK):
        labels = rng.integers(K, size=BLOCK)
        file[first : first + BLOCK] = centres[labels][:, None, :] + rng.normal(size=(BLOCK, M, D))
    file.flush()
    return path


def resident() -> float:
    """Return the resident memory of this process in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def main() -> None:
    """Print seconds, KL and the greatest resident memory above the imports."""
    from degmm import DEGMM

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("/tmp"))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--encoder", default="moments")
    arguments = parser.parse_args()
    path = written(arguments.folder)
    settings = {"encoder": arguments.encoder, "random_state": 0}
    small = np.random.default_rng(0).normal(size=(200, M, D)).astype(np.float32)
    DEGMM(K, batch_size=50, max_epochs=1, **settings).fit(small)  # imports all that a fit imports
    before, greatest = resident(), [0.0]

    def watch() -> None:
        while True:
            greatest[0] = max(greatest[0], resident())
            time.sleep(0.01)

    threading.Thread(target=watch, daemon=True).start()
    start = time.perf_counter()
    model = DEGMM(K, batch_size=4096, max_epochs=arguments.epochs, **settings)
    model.fit(np.load(path, mmap_mode="r"))
    seconds = time.perf_counter() - start
    print(
        f"{arguments.encoder}, {arguments.epochs} epochs: {seconds:.1f} s, KL {model.kl_:.2g}, "
        f"{greatest[0] - before:.0f} MiB above the {before:.0f} MiB after imports"
    )
    path.unlink()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
