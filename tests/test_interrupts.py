"""Ctrl-C ends a command with exit code 130, wherever it comes, and what is said of what was written is true."""

import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from test_cli import degmm

from degmm import interrupts
from degmm.interrupts import check, note, taking_place, watched

FIT = ["--K", 2, "--n-init", 2, "-q"]


@pytest.fixture(autouse=True)
def heeded():
    """Python's own handler, also where the tests run in the background of a shell, which ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ctrl_c():
    signal.raise_signal(signal.SIGINT)
    for _ in range(10):  # handlers run between the steps of the interpreter
        pass


class Ending:
    """Ctrl-C comes while an object ends, as in a callback of a library: what is raised there is lost."""

    def __del__(self):
        ctrl_c()


def lose_an_interrupt(*arguments, **options):
    ending = Ending()
    del ending


def lose_it_in_a_collection():
    """As JAX does, which has garbage of its own collected with that of Python."""

    def also(phase, info):
        if phase == "start":  # once: a second one ends the process
            ctrl_c()

    gc.callbacks.append(also)
    gc.collect()
    gc.callbacks.remove(also)


@pytest.mark.parametrize("lose", [lose_an_interrupt, lose_it_in_a_collection])
def test_an_interrupt_that_is_lost_is_asked_for_again(lose, capsys):
    with watched() as watch:
        check()
        lose()
        with pytest.raises(KeyboardInterrupt):
            check()
        assert watch.asked
    assert capsys.readouterr().err == ""  # Python would say that an exception was ignored
    check()  # of a command that has ended


def test_other_errors_that_are_lost_are_told_as_ever(monkeypatch):
    lost = []
    monkeypatch.setattr(sys, "unraisablehook", lambda one: lost.append(one.exc_type))

    class Bad:
        def __del__(self):
            raise RuntimeError

    with watched() as watch:
        bad = Bad()
        del bad
        assert not watch.asked
    assert lost == [RuntimeError]


def place(result, steps):
    with taking_place(result):
        ctrl_c()
        steps.append("placed")


def test_nothing_comes_between_a_result_and_its_note(tmp_path):
    steps = []
    with watched() as watch:
        with pytest.raises(KeyboardInterrupt):
            place(tmp_path / "a", steps)
        with pytest.raises(KeyboardInterrupt):
            place(tmp_path / "b", steps)
        assert steps == ["placed"]  # none after the interrupt
        assert watch.sentence() == f"interrupted; {tmp_path / 'a'} had been written by then"


def test_a_result_that_failed_is_not_noted(tmp_path):
    with watched() as watch:
        with pytest.raises(OSError, match="full"), taking_place(tmp_path / "a"):
            raise OSError("full")
        note(tmp_path / ".degmm-staged-1-x-y" / "b")
        assert watch.sentence() == "interrupted; nothing was written"


def test_a_command_in_the_background_of_a_script_heeds_none():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with watched() as watch:
            ctrl_c()
            check()
            assert not watch.asked
    finally:
        signal.signal(signal.SIGINT, before)


def test_all_is_as_before_when_a_command_has_ended():
    before = sys.unraisablehook
    with watched():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert sys.unraisablehook is before
    assert signal.set_wakeup_fd(-1) == -1
    assert interrupts._watch is None


# --- commands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where", ["degmm.cli.fit.read_cases", "degmm.cli.fit._report_clusters", "degmm.cli.fit.save"]
)
def test_a_lost_interrupt_ends_a_fit(where, netcdf, tmp_path, monkeypatch, capsys):
    module, _, name = where.rpartition(".")
    real = getattr(sys.modules[module] if module in sys.modules else __import__(module, fromlist=["x"]), name)

    def losing(*arguments, **options):
        lose_an_interrupt()
        return real(*arguments, **options)

    monkeypatch.setattr(where, losing)
    assert degmm("fit", netcdf, *FIT, "-o", tmp_path / "out") == 130
    assert capsys.readouterr().err == "degmm: interrupted; nothing was written\n"
    assert not (tmp_path / "out").exists()


def test_an_interrupt_that_a_library_makes_another_error_of(netcdf, tmp_path, monkeypatch, capsys):
    def fails(*arguments, **options):
        lose_an_interrupt()
        raise RuntimeError("INTERNAL: callback failed")

    monkeypatch.setattr("degmm.cli.fit._report_clusters", fails)
    assert degmm("fit", netcdf, *FIT, "-o", tmp_path / "out") == 130
    assert capsys.readouterr().err == "degmm: interrupted; nothing was written\n"


def test_an_interrupt_while_results_are_moved(netcdf, tmp_path, monkeypatch, capsys):
    from degmm import folders, load

    real = folders._move

    def moving(*arguments):
        ctrl_c()
        real(*arguments)

    monkeypatch.setattr("degmm.folders._move", moving)
    out = tmp_path / "out"
    assert degmm("fit", netcdf, *FIT, "-o", out) == 130
    assert capsys.readouterr().err == f"degmm: interrupted; {out} had been written by then\n"
    assert {path.name for path in out.iterdir()} == set(json.loads((out / "run.json").read_text())["files"])
    assert load(out).n_components == 2


def test_an_interrupt_after_a_file_was_written(netcdf, tmp_path, monkeypatch, capsys):
    assert degmm("fit", netcdf, *FIT, "-o", tmp_path / "out") == 0
    monkeypatch.setattr("degmm.cli.session.Session.wrote", lose_an_interrupt)
    clusters = tmp_path / "clusters.nc"
    assert degmm("predict", tmp_path / "out", netcdf, "-q", "-o", clusters) == 130
    assert capsys.readouterr().err == f"degmm: interrupted; {clusters} had been written by then\n"
    assert clusters.exists()


EXECUTED = """
    import signal
    from degmm.cli import main
    def interrupted(*arguments):
        exec("signal.raise_signal(signal.SIGINT)", {"signal": signal})
    import degmm.report
    degmm.report.write_report = interrupted
    main(["report", "folder"])
"""


def test_the_code_is_that_of_an_interrupt_wherever_it_came_through():
    """Python would end by the signal: an interrupt came through a text that was executed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(EXECUTED)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "degmm: interrupted; nothing was written\n")


# --- where Python hears nothing --------------------------------------------------------------------------------

DEAF = """
    import hashlib, sys
    from degmm.interrupts import CODE, watched
    with watched() as watch:
        try:
            print("at work", flush=True)
            hashlib.pbkdf2_hmac("sha256", b"", b"", int(sys.argv[1]))  # as deaf as compiled code is
        except KeyboardInterrupt:
            print(watch.sentence(), flush=True)
            sys.exit(CODE)
"""


def deaf(rounds, pauses):
    """Send Ctrl-C after each pause to a process in code that heeds none; return code, output and seconds."""
    command = [sys.executable, "-c", textwrap.dedent(DEAF), str(rounds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        for pause in pauses:
            time.sleep(pause)
            process.send_signal(signal.SIGINT)
        started = time.monotonic()
        said = process.communicate(timeout=120)
    return process.returncode, said, time.monotonic() - started


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_a_second_ctrl_c_ends_at_once():
    code, (out, err), seconds = deaf(10**9, [0.1, 0.8])
    assert code == 130
    assert seconds < 5
    assert (out, err) == ("", "degmm: interrupted; nothing was written\n")


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_two_signals_at_once_are_one():
    """As ``timeout`` sends them, to a process and to its group."""
    code, (out, err), _ = deaf(10**7, [0.1, 0.0])
    assert (code, out) == (130, "interrupted; nothing was written\n")
    assert err in (
        "",
        "degmm: interrupted; it ends after the step it is in, and at once if you press Ctrl-C again\n",
    )
