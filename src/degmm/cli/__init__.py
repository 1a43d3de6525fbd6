"""The command line: ``degmm COMMAND``. Arguments and printing only."""

import time

STARTED = time.perf_counter()
"""When the command line was first imported, to report the seconds of imports."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a user's mistake ends with one sentence and exit code 2."""
    from degmm.cli.app import app, run

    run(app, arguments)


def main_compare(arguments: list[str] | None = None) -> None:
    """Run ``compare`` as a program of its own, as the original's ``main.py``."""
    import typer

    from degmm.cli.app import compare, run

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(compare)
    run(app, arguments, "main.py")
