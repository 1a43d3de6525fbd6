"""The tutorial is run, section by section, and prints what it shows.

With DEGMM_UPDATE_DOCS=1 the page is rewritten with what is printed.
"""

import contextlib
import io
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from conftest import real_file

from degmm.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
DATA = ("germany_ecmwf_t2m.nc", "germany_ecmwf_t2m.csv.gz", "innsbruck_gefs.nc")
DATA = (*DATA, "mediterranean_seas5_t2m.nc", "waterlevel_children.csv.gz")
BLOCK = re.compile(r"```(console|python)\n(.*?)```", re.DOTALL)
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
CLOSE = 0.05
"""Figures may differ by this share, as on another processor, …"""
SMALL = 0.005
"""… or by this much, where they are shown with three decimals"""

SECTIONS = {text.split("\n")[0]: text for text in PAGE.read_text().split("\n## ")[1:]}


def run(command):
    """Return what a command prints, warnings and mistakes included."""
    words = shlex.split(command)
    assert words[0] == "degmm"
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        pytest.raises(SystemExit) as stop,
    ):
        main(words[1:])
    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    said = "\n".join(line for line in lines if not re.fullmatch(r".*: \d+ s so far", line))
    mistaken = said.startswith("degmm: ") and not said.startswith("degmm: warning: ")
    assert (stop.value.code or 0) == (2 if mistaken else 0), said
    return said


def transcript(text):
    """Return a console block anew, run."""
    commands = [line for line in text.splitlines() if line.startswith("$ ")]
    return "".join(
        f"{command}\n{out}\n" if (out := run(command[2:])) else f"{command}\n" for command in commands
    )


def forget_seconds(text):
    """Leave out what differs from run to run, or from processor to processor.

    The last column of a table of seconds, lines of progress, and after how many iterations rises of the
    likelihood fall below the tolerance.
    """
    lines, within = [], False
    for line in re.sub(r"\(\d+ iterations\)", "", text).splitlines():
        if re.match(r"fit \d+/\d+: ", line):
            continue
        within = line.split()[-1:] == ["seconds"] or (within and line[:1].isdigit())
        lines.append(re.sub(r"\s+\S+$", "", line) if within else line)
    return "\n".join(lines)


def assert_alike(printed, shown):
    """The same words, and figures that are close."""
    printed, shown = forget_seconds(printed), forget_seconds(shown)
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split()
    ours, theirs = ([float(n) for n in NUMBER.findall(text)] for text in (printed, shown))
    np.testing.assert_allclose(ours, theirs, rtol=CLOSE, atol=SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("title", SECTIONS)
def test_a_section(title, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section = SECTIONS[title]
    for name in DATA:
        if name in section:
            (tmp_path / name).symlink_to(real_file(name))
    if "read_ensemble" in section:
        run("degmm simulate -o forecast.nc --n 730 --between 1 -q")
    anew = section
    for language, text in BLOCK.findall(section):
        if language == "python":
            exec(compile(text, "tutorial.md", "exec"), {})
            continue
        printed = transcript(text)
        if os.environ.get("DEGMM_UPDATE_DOCS"):
            anew = anew.replace(f"```console\n{text}```", f"```console\n{printed}```")
        else:
            assert_alike(printed, text)
    if anew != section:
        PAGE.write_text(PAGE.read_text().replace(section, anew))


def test_the_newcomer_s_part_needs_no_data():
    first, *_, last = SECTIONS
    for title in (first, last):
        assert not any(name in SECTIONS[title] for name in DATA)
    for job in ("simulate", "describe", "fit", "predict", "select", "report"):
        assert f"$ degmm {job} " in SECTIONS[first]


@pytest.mark.parametrize("name", DATA)
def test_every_kind_of_file_is_shown_whole(name):
    # The CSV of the German data and its NetCDF are one kind of data.
    (section,) = [text for text in SECTIONS.values() if name in text]
    for job in ("describe", "fit", "predict", "select", "report"):
        assert f"$ degmm {job} " in section


@pytest.mark.parametrize("change", ["words", "a figure"])
def test_a_page_that_is_not_true_is_found(change):
    shown = "size 10 mean 1.5\nK seconds\n1 3.0\n"
    assert_alike(shown.replace("3.0", "9.0"), shown)
    with pytest.raises(AssertionError):
        assert_alike(shown.replace(*{"words": ("size", "sizes"), "a figure": ("1.5", "1.7")}[change]), shown)
