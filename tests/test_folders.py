"""A killed command leaves either the complete old output or the complete new one."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from degmm.folders import finish, output_folder
from degmm.leftovers import ALIVE, COMPLETE, STAGED
from degmm.locks import HOST, locked


def write(folder, text, names):
    """Write results as a command does."""
    with output_folder(folder) as staged:
        for name in names:
            (staged / name).write_text(text)
        (staged / "run.json").write_text(json.dumps({"files": [*names, "run.json"], "text": text}))


def visible(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith(".")}


def hidden(folder):
    return {path.name for path in folder.iterdir() if path.name.startswith(".")}


OLD = {"a.txt": "old", "b.txt": "old"}
NEW = {"b.txt": "new", "c.txt": "new"}


def is_complete(folder, text):
    found = visible(folder)
    run = json.loads(found.pop("run.json"))
    assert found.pop("mine") == "mine"
    return run["text"] == text and found == {"old": OLD, "new": NEW}[text]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "out"
    write(folder, "old", OLD)
    (folder / "mine").write_text("mine")
    return folder


def test_new_results_replace_the_command_s_own_old_ones(folder):
    write(folder, "new", NEW)
    assert is_complete(folder, "new")
    assert {path.name for path in folder.iterdir()} == {"b.txt", "c.txt", "run.json", "mine"}


def fails(folder):
    with output_folder(folder) as staged:
        (staged / "b.txt").write_text("new")
        raise RuntimeError


def test_a_failure_leaves_the_old_results(folder):
    with pytest.raises(RuntimeError):
        fails(folder)
    assert is_complete(folder, "old")
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


class Killed(BaseException):
    """The process is gone: nothing after it is done."""


@pytest.mark.parametrize("step", range(1, 12))
def test_killed_at_any_step_it_is_the_old_or_the_new(folder, step, monkeypatch):
    count = 0

    def dies(real):
        def change(*arguments, **options):
            nonlocal count
            count += 1
            if count >= step:
                raise Killed
            return real(*arguments, **options)

        return change

    with monkeypatch.context() as patch:
        for name in ("replace", "rename", "unlink", "rmdir"):
            patch.setattr(Path, name, dies(getattr(Path, name)))
        patch.setattr("degmm.folders.shutil.rmtree", dies(shutil.rmtree))
        with contextlib.suppress(Killed):
            write(folder, "new", NEW)
    finish(folder)
    assert is_complete(folder, "new") or is_complete(folder, "old")
    assert is_complete(folder, "old") == (step == 1)  # the first change is the one that says complete
    assert not list(folder.glob(f"{COMPLETE}*"))


def test_what_a_killed_process_staged_is_removed(folder):
    for pid in ("999999999", str(os.getpid()), "odd"):  # numbers of processes are given anew
        (folder / f"{STAGED}{pid}-{HOST}-abc").mkdir()
    (folder / f"{STAGED}1-{HOST}-dead{ALIVE}").touch()
    alive, elsewhere = folder / f"{STAGED}1-{HOST}-alive", folder / f"{STAGED}999999999-another-abc"
    alive.mkdir()
    elsewhere.mkdir()
    with locked(folder / f"{alive.name}{ALIVE}"):
        finish(folder)
        assert hidden(folder) == {alive.name, f"{alive.name}{ALIVE}", elsewhere.name}
    finish(folder)
    assert hidden(folder) == {elsewhere.name}


def test_only_plain_names_of_a_record_are_removed(tmp_path):
    folder = tmp_path / "out"
    (tmp_path / "precious").write_text("mine")
    write(folder, "old", ["a.txt"])
    names = ["../precious", "a.txt", ".hidden", 3]
    (folder / ".hidden").write_text("mine")
    (folder / "run.json").write_text(json.dumps({"files": names}))
    write(folder, "new", ["b.txt"])
    assert (tmp_path / "precious").exists()
    assert (folder / ".hidden").exists()


SCRIPT = """
    import json, sys
    from pathlib import Path
    from degmm.folders import output_folder
    for text in ["old", "new"] * 2000:
        with output_folder(Path(sys.argv[1])) as staged:
            for name in {"old": ["a.txt", "b.txt"], "new": ["b.txt", "c.txt"]}[text]:
                (staged / name).write_text(text)
            record = {"files": [*(p.name for p in staged.iterdir()), "run.json"], "text": text}
            (staged / "run.json").write_text(json.dumps(record))
        print(text, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills with a signal")
def test_killed_for_real(folder):
    """SIGKILL at moments of chance, while results are replaced thousands of times."""
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(folder)]
    for wait in (1, 13, 40, 77, 150):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            for _ in range(wait):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        finish(folder)
        assert is_complete(folder, "old") or is_complete(folder, "new")


RACE = """
    import json, sys
    from pathlib import Path
    from degmm.folders import output_folder
    who = sys.argv[2]
    for turn in range(200):
        with output_folder(Path(sys.argv[1])) as staged:
            names = ["shared.txt", f"{who}.txt"]
            for name in names:
                (staged / name).write_text(f"{who}{turn}")
            (staged / "run.json").write_text(json.dumps({"files": [*names, "run.json"], "text": f"{who}{turn}"}))
"""


def test_two_commands_into_one_folder_at_once(tmp_path):
    folder = tmp_path / "out"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RACE), str(folder), who], stderr=subprocess.PIPE
        )
        for who in ("a", "b")
    ]
    assert [process.communicate()[1] for process in both] == [b"", b""]
    found = visible(folder)
    run = json.loads(found.pop("run.json"))
    assert set(found) == set(run["files"]) - {"run.json"}
    assert set(found.values()) == {run["text"]}
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_name_taken_by_a_folder_is_told_before_anything_moves(folder):
    (folder / "c.txt").mkdir()
    with pytest.raises(ValueError, match=r"output: .*c.txt is a folder"):
        write(folder, "new", NEW)
    (folder / "c.txt").rmdir()
    assert is_complete(folder, "old")
    (folder / f"{COMPLETE}odd").write_text("no folder")
    write(folder, "new", NEW)
    assert is_complete(folder, "new")


def test_who_reads_a_folder_reads_through_what_was_killed(tmp_path, mixture):
    from degmm import EGMM, load, save

    model = EGMM(2, n_init=2, random_state=0).fit(mixture[0])
    out = tmp_path / "out"
    save(model, out / f"{COMPLETE}1-host-x")
    np_means = load(out).means_
    assert (np_means == model.means_).all()
    assert len(list(out.glob(f"{COMPLETE}*"))) == 1  # reading moves nothing
    save(model, out)
    assert not list(out.glob(f"{COMPLETE}*"))
    assert (load(out).means_ == model.means_).all()


def test_what_is_moved_while_it_is_read_is_found(tmp_path, mixture, monkeypatch):
    """A file is found in the folder of complete results, which moves it just then."""
    from degmm import EGMM, folders, load, save
    from degmm.folders import command_of, holds, read_located

    out = tmp_path / "out"
    save(EGMM(2, n_init=2, random_state=0).fit(mixture[0]), out)
    (out / "run.json").write_text('{"command": "fit"}')
    found, real = [], folders.located

    def moving(folder, name):
        found.append(name)
        return folder / f"{COMPLETE}gone" / name if found.count(name) == 1 else real(folder, name)

    monkeypatch.setattr("degmm.folders.located", moving)
    assert load(out).n_components == 2
    assert command_of(out) == "fit"
    assert read_located(out, "run.json")
    found.clear()
    assert holds(out, "model.json")
    assert not holds(out, "other.json")


def test_a_page_goes_with_the_results_it_shows(folder):
    (folder / "report.html").write_text("old")
    write(folder, "new", NEW)
    assert is_complete(folder, "new")
