"""What a user waits for before anything runs, each in a process of its own."""

import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.side_by_side.launch import ROOT

HELP = "from degmm.cli import main; main(['--help'])"
README = ["--n", "1000", "--M", "10", "--D", "2", "--K", "3", "--num_epochs", "1000", "--seed", "0"]


def seconds(arguments: list[str], repeats: int) -> float:
    """Return the shortest wall time of a Python process, in a folder that is then deleted."""
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            paths = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH")) if part)
            environment = os.environ | {"PYTHONPATH": paths}
            subprocess.run(
                [sys.executable, *arguments], check=True, capture_output=True, cwd=folder, env=environment
            )
            found.append(time.perf_counter() - start)
    return min(found)


def measured(quick: bool) -> list[dict[str, Any]]:
    """Return what is waited for, and how long."""
    repeats = 1 if quick else 3
    rows = {
        "`degmm --help`": ["-c", HELP],
        "`import jax, sklearn.base`": ["-c", "import jax, sklearn.base"],
        "`from degmm import EGMM`": ["-c", "from degmm import EGMM"],
    }
    found = [{"what": what, "seconds": seconds(arguments, repeats)} for what, arguments in rows.items()]
    if not quick:
        what = f"`python main.py {' '.join(README)}`"
        found.append({"what": what, "seconds": seconds([str(ROOT / "main.py"), *README], 1)})
    return found
