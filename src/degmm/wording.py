"""Words for numbers in messages and pictures, and texts of others made fit to be shown."""

import re

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What a terminal obeys, and what turns the order of letters around: no part of a name that is meant well"""
BREAKS = re.compile(r"[ \t]*[\n\r\v\f]\s*|\t")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``1 member`` or ``10 members``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    """Return a share as per cent: ``40 %``, or ``< 1 %`` where rounding would leave nothing."""
    return "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def visible(text: str, keep: str = "") -> str:
    r"""Return a text with its control characters written out, such as ``\x1b``, but for those to keep."""
    return CONTROL.sub(lambda m: m[0] if m[0] in keep else m[0].encode("unicode_escape").decode(), text)


def in_one_line(text: str) -> str:
    """Return a sentence that may hold names of others as one line without control characters."""
    return visible(BREAKS.sub(" ", text.strip()))
