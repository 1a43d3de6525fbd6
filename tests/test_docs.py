"""Every command and snippet of the README and the docs is run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import real_file

from degmm.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TUTORIAL = "tutorial.md"
"""Its snippets need the commands before them: test_tutorial.py"""


FEWER = {
    "select": ["--K", "1:3", "--n-init", "2", "--folds", "0", "--jobs", "1"],
    "calibrate": ["--n-networks", "1", "--folds", "0"],
}
"""The same command with fewer fits, where it makes many"""


def blocks(language):
    for page in PAGES:
        if page.name == TUTORIAL:
            continue
        for text in re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL):
            yield page.name, text


def commands():
    for page, text in blocks("bash"):
        for line in text.splitlines():
            if command := line.split("#")[0].strip():
                yield page, command


SLOW = ("degmm calibrate", "RegimeEMOS(", "LocalCluster(", "degmm.devices(", "projection=")
"""Commands and snippets that fit many models in a row, or compile much"""


def marked(page, text):
    return pytest.param(page, text, marks=pytest.mark.slow if any(one in text for one in SLOW) else ())


def ends_well(arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return not stop.value.code


@pytest.mark.parametrize(("page", "code"), [marked(*given) for given in blocks("python")])
def test_python_snippets(page, code, tmp_path, netcdf, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "forecast.nc" in code:  # as after the command above it
        netcdf.rename(tmp_path / "forecast.nc")
        assert ends_well(["fit", "forecast.nc", "--K", "2", "--n-init", "2", "-o", "out/"])
    exec(compile(code, page, "exec"), {})


@pytest.mark.parametrize(("page", "command"), [marked(*given) for given in commands()])
def test_commands(page, command, tmp_path, netcdf, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)
    if words[:2] == ["degmm", "cache"]:
        monkeypatch.setenv("DEGMM_CACHE_DIR", str(tmp_path))  # not that of who runs the tests
        assert ends_well(words[1:])
    elif words[0] == "degmm":
        netcdf.rename(tmp_path / "forecast.nc")
        if "out/" in words[2:3]:  # as after the command above it
            assert ends_well(["fit", "forecast.nc", "--n-init", "2", "-q", "-o", "out/"])
        # Real files are where they are, beside a copy of the project.
        words = [str(real_file(Path(w).name)) if w.startswith("../shared/data/") else w for w in words]
        assert ends_well(words[1:] + FEWER.get(words[1], []))
        written = {
            "fit": "out/clusters.nc",
            "select": "selection/selection.csv",
            "predict": "clusters.nc",
            "report": "out/report.html",
            "describe": "forecast.nc",
            "calibrate": "calibration/report.html" if "--demo" in words else "report/report.html",
        }[words[1]]
        assert (tmp_path / written).exists()
    elif words[0] == "python":
        subprocess.run([sys.executable, str(ROOT / words[1]), *words[2:]], check=True)
        for name in ("example.png", "results.png", "inference_degmm.gif"):
            assert (tmp_path / "figures" / name).exists()
    elif words[0] == "make":
        # The targets install into a new environment; here, that they would run what they say.
        done = subprocess.run(
            ["make", "-n", "-C", ROOT, words[1]], capture_output=True, text=True, check=True
        )
        assert {"demo": "main.py --n 1000 --M 10 --D 2 --K 3", "test": "pytest"}[words[1]] in done.stdout
    else:
        assert words == ["pip", "install", "-r", "requirements.txt"]
        assert "-e .[all]" in (ROOT / "requirements.txt").read_text()


def test_readme_and_makefile_give_the_same_main_command():
    (command,) = [c for _, c in commands() if c.startswith("python main.py")]
    assert command.removeprefix("python ") in (ROOT / "Makefile").read_text()


def test_continuous_integration_leaves_no_test_out():
    def recipe(target):
        done = subprocess.run(["make", "-n", "-C", ROOT, target], capture_output=True, text=True, check=True)
        return re.findall(r"pytest .*", done.stdout)

    (fast,), (slow,) = recipe("test"), recipe("test-slow")
    assert fast.endswith('-m "not slow"')
    assert slow == fast.replace('"not slow"', "slow")
    script = (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"^make (\S+)", script, re.MULTILINE) == ["test", "test-slow"]


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize(
    "module",
    ["degmm.datasets.mixture", "degmm.datasets.lorenz96", "degmm.estimators.em", "degmm.estimators.deep"],
)
def test_docstring_examples(module):
    import doctest
    import importlib

    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


def test_files_stay_small():
    sizes = {p: len(p.read_text().splitlines()) for p in (ROOT / "src").rglob("*.py")}
    assert max(sizes.values()) <= 500
    assert sorted(sizes.values())[len(sizes) // 2] < 200
