"""What the parser of arguments says of a mistake, in plain sentences that name the option.

Its versions say the same in several ways: up to 0.28 typer left it to click, later ones to pydantic.
"""

import re
from typing import Any

SAYINGS = (
    # of click
    (r"'?(?P<given>.*?)'? is not a valid integer( range)?\.?", "expected an integer"),
    (r"'?(?P<given>.*?)'? is not a valid float( range)?\.?", "expected a number"),
    (r"'?(?P<given>.*?)'? is not a valid boolean.*", "expected true or false"),
    (r"(?P<given>\S+) is not in the range x>=(?P<least>[^<\s]+)\.", "expected at least {least}"),
    (r"(?P<given>\S+) is not in the range x<=(?P<most>[^<\s]+)\.", "expected at most {most}"),
    (
        r"(?P<given>\S+) is not in the range (?P<least>[^<\s]+)<=x<=(?P<most>[^<\s]+)\.",
        "expected from {least} to {most}",
    ),
    # of pydantic
    (r"Input should be a valid integer.*", "expected an integer"),
    (r"Unable to parse input string as an integer.*", "expected an integer of fewer digits"),
    (r"Input should be a valid number.*", "expected a number"),
    (r"Input should be a finite number", "expected a finite number"),
    (r"Input should be a valid boolean.*", "expected true or false"),
    (r"Input should be a valid string.*", "expected a text"),
    (r"Input (should be|is not) a valid path.*", "expected the name of a file or folder"),
    (r"Input should be greater than or equal to (?P<least>\S+)", "expected at least {least}"),
    (r"Input should be less than or equal to (?P<most>\S+)", "expected at most {most}"),
    # of both
    (r"(Value error, )?'(?P<given>.*)' is not one of (?P<known>'.*')\.?", "expected one of {known}"),
)
"""How the parser puts it, and how we do; what was given is told after it"""
LONGEST = 60
"""Letters of what was given that are repeated"""


def in_plain_words(error: Any, program: str) -> str:
    """Return one sentence of an error of the parser, which tells where help is."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    message = str(getattr(error, "message", "") or "").strip()
    said = str(error.format_message()).strip()
    told = _retold(*(_told_by(error.__cause__) or (message, None)))
    if told and said.endswith(message):
        said = said[: len(said) - len(message)] + told
    said = re.sub(r"^Option '(\S+)' requires an argument\.?$", r"\1 needs a value", said)
    said = re.sub(r" \(Possible options: (.*)\)$", r"; did you mean \1?", said)
    if getattr(parameter, "name", None) in (getattr(context, "default_map", None) or {}):
        said = f"--config: {said}"
    where = getattr(context, "command_path", program)
    return f"{said.rstrip('.').replace('Value error, ', '')} ({where} --help says more)"


def _retold(message: str, given: Any) -> str:
    """Return a message in our words, or an empty text where it is none of those that are known."""
    for pattern, ours in SAYINGS:
        found = re.fullmatch(pattern, message, re.DOTALL)
        if found:
            parts = {"given": given} | found.groupdict()
            given = parts.pop("given")
            return ours.format(**parts) + (f"; got {_short(given)!r}" if given is not None else "")
    return ""


def _told_by(cause: Any) -> tuple[str, Any] | None:
    """Return what pydantic says, and of what; of a list, what it says of an item. None of another parser."""
    try:
        first = cause.errors()[0]
        inner = first.get("ctx", {}).get("error")
        return _told_by(inner) or (str(first["msg"]), first["input"])
    except Exception:  # it has no such method, or another form
        return None


def _short(given: Any) -> str:
    text = str(given)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
