"""The command line: ``degmm COMMAND``. Arguments and printing only."""

import time

STARTED = time.perf_counter()
"""When the command line was first imported, to report the seconds of imports."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a user's mistake ends with one sentence and exit code 2."""
    from degmm.cli.app import run

    run(arguments)
