"""Output folders: all the results of a command take the place of the old ones, or none does.

Results are written to a hidden folder inside the output folder. Renaming that folder, one atomic step, says
that they are complete; then they are moved into place. A command that is killed before that step has changed
nothing; after it, whatever of this package reads or writes the folder next finishes the move
(:func:`finish`). A lock on the folder keeps two commands from moving at once.
"""

import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from degmm.files import writable_folder

RECORD = "run.json"
"""What a command records of its run; its ``files`` are the command's own, which its successor replaces"""
PAGE = "report.html"
"""The page of a record, which goes with it"""
STAGED, COMPLETE = ".degmm-staged-", ".degmm-complete-"
HOST = re.sub(r"\W", "", platform.node())


@contextmanager
def output_folder(folder: Path, *names: str) -> Iterator[Path]:
    """Yield a folder for results, which replace those in ``folder`` when the context ends well.

    A failure leaves what was there before, and no folder that was not there.

    Parameters
    ----------
    folder : Path
    *names : str
        Names of files to be written, which may not be folders.

    Raises
    ------
    ValueError
        As :func:`degmm.files.writable_folder`.
    """
    # os.path.exists answers where Path.exists raises, as for a name that is too long.
    made = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        finish(writable_folder(folder, *names))
        staged = Path(tempfile.mkdtemp(prefix=f"{STAGED}{os.getpid()}-{HOST}-", dir=folder))
        try:
            yield staged
            writable_folder(folder, *(path.name for path in staged.iterdir()))
            with _locked(folder):
                _finish(folder)
                staged.rename(folder / staged.name.replace(STAGED, COMPLETE))
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        try:
            finish(folder)
        except KeyboardInterrupt:  # the results are complete: no reason to leave them half-moved
            finish(folder)
            raise
    except BaseException:
        for path in made:
            with suppress(OSError):  # it holds something
                path.rmdir()
        raise


def finish(folder: Path) -> None:
    """Finish what a command that was killed left of its results: move complete ones, remove others."""
    if any(folder.glob(f"{COMPLETE}*")) or any(folder.glob(f"{STAGED}*")):
        with _locked(folder):
            _finish(folder)


def finish_if_possible(folder: Path) -> None:
    """Finish what a killed command left; a folder that cannot be written is read as it is."""
    with suppress(OSError):
        finish(folder)


def _finish(folder: Path) -> None:
    for complete in sorted(folder.glob(f"{COMPLETE}*")):
        if complete.is_dir():
            _move(complete, folder)
    for staged in folder.glob(f"{STAGED}*"):
        pid, host, *_ = [*staged.name.removeprefix(STAGED).split("-"), "", ""]
        if host == HOST and not _runs(pid):  # another machine's processes are not known here
            shutil.rmtree(staged, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder alone, where the system has locks of this kind."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _move(complete: Path, folder: Path) -> None:
    """Move files into place, each step such that all can be done again from the start."""
    # In the order of names, arrays of a model come before its head.
    new = sorted(path.name for path in complete.iterdir() if path.name != RECORD)
    old = _own_files(folder / RECORD)
    for name in new:
        (complete / name).replace(folder / name)
    if (complete / RECORD).exists():
        for name in (old | {PAGE}) - _own_files(complete / RECORD):
            with suppress(OSError):
                (folder / name).unlink()
        (complete / RECORD).replace(folder / RECORD)
    complete.rmdir()


def command_of(folder: Path) -> str | None:
    """Return the command whose results a folder holds, if it has their record."""
    try:
        return str(json.loads((folder / RECORD).read_bytes())["command"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _own_files(record: Path) -> set[str]:
    """Return the names of files that a record lists; only plain names, whatever it may hold."""
    try:
        names = json.loads(record.read_bytes())["files"]
        return {name for name in names if name == Path(name).name and not name.startswith(".")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()


def _runs(pid: str) -> bool:
    """Return whether the process that staged results may still be at work."""
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except OSError:  # another user's
        return True
    return True
