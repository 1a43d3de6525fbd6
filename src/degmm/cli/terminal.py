"""What goes to the terminal: all of it passes here, where names of others lose what a terminal would obey."""

import os
import sys
from collections.abc import Callable

from degmm.wording import in_one_line

LONGEST = 4000
"""Letters of a message"""


def say(text: str) -> None:
    """Print a sentence."""
    printed(lambda: print(in_one_line(text), flush=True))


def complain(text: str) -> None:
    """Print a sentence on the standard error; what would fill the screen is cut."""
    sentence = in_one_line(text)
    sentence = sentence if len(sentence) <= LONGEST else f"{sentence[:LONGEST]} …"
    sys.stderr.write(f"degmm: {sentence}\n")


def printed(said: Callable[[], None]) -> None:
    """Print what has no control characters already."""
    try:
        said()
    except BrokenPipeError:  # nobody listens any more, as after | head; the work goes on
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
