"""What a user waits for before anything runs, each in a process of its own."""

import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.side_by_side.launch import environment

HELP = "from degmm.cli import main; main(['--help'])"


def seconds(arguments: list[str], repeats: int) -> float:
    """Return the median wall time of a Python process, in a folder that is then deleted."""
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, *arguments],
                check=True,
                capture_output=True,
                cwd=folder,
                env=environment(None),
            )
            found.append(time.perf_counter() - start)
    return statistics.median(found)


def measured(quick: bool) -> list[dict[str, Any]]:
    """Return what is waited for, and how long."""
    repeats = 1 if quick else 3
    rows = {
        "`degmm --help`": ["-c", HELP],
        "`import jax, sklearn.base`": ["-c", "import jax, sklearn.base"],
        "`from degmm import EGMM`": ["-c", "from degmm import EGMM"],
    }
    return [{"what": what, "seconds": seconds(arguments, repeats)} for what, arguments in rows.items()]
