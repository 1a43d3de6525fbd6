"""One HTML page of the results of a command, with everything in it."""

import base64
import os
import re
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from degmm import __version__
from degmm.folders import PAGE, READINGS, located, write_result
from degmm.report.record import RECORD, read_record

MEDIA = {".png": "image/png", ".svg": "image/svg+xml", ".gif": "image/gif"}
"""Pictures that a browser shows within a page; others are named."""
MANY = 10
"""Columns beyond which a table is printed small."""
BROAD = 14
"""Columns beyond which the section of a table is printed across the paper."""


def write_report(folder: str | Path, path: str | Path | None = None) -> Path:
    """Write the page of an output folder to a file.

    Parameters
    ----------
    folder : str or Path
        Output folder of a command.
    path : str or Path, optional
        The file, by default ``report.html`` in the folder.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        As :func:`render`, or if the file cannot be written.
    """
    folder = Path(folder)
    target = folder / PAGE if path is None else Path(path)
    page = render(folder).encode()
    # A link in the folder may be another's; one elsewhere is the user's own.
    inside = os.path.realpath(target.parent) == os.path.realpath(folder)
    try:
        write_result(target, page, follow=not inside)
    except OSError as error:
        raise ValueError(
            f"{target}: cannot be written ({error.strerror or error}); choose another file for the report"
        ) from error
    return target


def render(folder: str | Path) -> str:
    """Return the page of an output folder: HTML with its pictures in it, without scripts or links outside.

    Parameters
    ----------
    folder : str or Path
        Output folder of a command, with its ``run.json``.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there is no such folder or no ``run.json`` in it, that is damaged or of a newer version, or a
        picture that it names lies outside the folder or cannot be read.
    """
    folder = Path(folder)
    run = read_record(folder)
    shown = [item for item in run["items"] if item["kind"] != "warning"]
    sections: dict[str, list[tuple[str, list[dict[str, Any]]]]] = {}
    for name in dict.fromkeys(item["section"] for item in shown):
        inside = [_with_source(folder, item) for item in shown if item["section"] == name]
        # Neighbours of one kind are laid out together, such as the files in one list.
        sections[name] = [
            (kind, list(items)) for kind, items in groupby(inside, key=lambda item: item["kind"])
        ]
    page = (
        _environment()
        .get_template("page.html.j2")
        .render(
            run=run,
            warnings=[item for item in run["items"] if item["kind"] == "warning"],
            sections=sections,
            broad={item["section"] for item in shown if len(item.get("columns", ())) > BROAD},
            many=MANY,
            finished=f"{datetime.fromisoformat(run['finished']):%Y-%m-%d %H:%M %Z}".rstrip(),
            generator=f"degmm {__version__}",
        )
    )
    # Names of files may hold bytes that are no text in any encoding, which a page cannot.
    return page.encode("utf-8", "replace").decode()


def _environment() -> Environment:
    # Always escaped: what is shown came from files of others. Undefined names are mistakes of the template.
    environment = Environment(
        loader=PackageLoader("degmm.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": _plain, "duration": _duration, "flags": _with_flags}
    return environment


def _with_source(folder: Path, item: dict[str, Any]) -> dict[str, Any]:
    """Say of a picture whether it is ``missing``, and give those that browsers show as their ``source``."""
    if item["kind"] != "picture":
        return item
    named = located(folder, item["file"])
    for _ in range(READINGS):
        if os.path.lexists(named):
            break
        named = located(folder, item["file"])  # it may be moved to its place just now
    path = Path(os.path.realpath(named))
    # A record may come from others: no file of the reader's ends up in a page to be sent back.
    if not path.is_relative_to(os.path.realpath(folder)):
        raise ValueError(
            f"{folder / RECORD}: the picture {item['file']!r} lies outside the folder; remove it"
        )
    try:
        missing, media = not path.is_file(), MEDIA.get(path.suffix.lower())
        if missing or media is None:
            return item | {"missing": missing, "source": None}
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{named}: cannot be read ({error.strerror or error}); check its permissions"
        ) from error
    return item | {
        "missing": False,
        "source": f"data:{media};base64,{base64.b64encode(content).decode()}",
    }


def _with_flags(text: str) -> Markup:
    """Mark the flags in a text, which is escaped, so that no line is broken at their hyphens."""
    marked = re.sub(r"(?<!\S)--?[A-Za-z][\w-]*", r'<span class="flag">\g<0></span>', str(escape(text)))
    return Markup(marked)


def _plain(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_plain, value)) or "none"
    return str(value)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
