"""The command line: ``degmm COMMAND``. Arguments and printing only."""

import sys
import time

STARTED = time.perf_counter()
"""When the command line was first imported, to report the seconds of imports."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a user's mistake ends with one sentence and exit code 2."""
    try:
        from degmm.cli.app import app, run

        run(app, arguments)
    except KeyboardInterrupt:  # before the command has begun, or when it had ended
        exec("")  # as in the above
        sys.stderr.write("degmm: interrupted\n")
        raise SystemExit(130) from None


def main_compare(arguments: list[str] | None = None) -> None:
    """Run ``compare`` as a program of its own, as the original's ``main.py``."""
    import typer

    from degmm.cli.app import compare, run

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(compare)
    run(app, arguments, "main.py")
