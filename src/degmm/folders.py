"""Output folders: all the results of a command take the place of the old ones, or none does.

Results are written to a hidden folder inside the output folder. Renaming that folder, one atomic step, says
that they are complete; then they are moved into place. A command that is killed before that step has changed
nothing; after it, the next command that writes there finishes the move (:func:`finish`), and until then
whoever reads the folder reads through the complete one (:func:`located`). A lock on the folder keeps two
commands from moving at once.

A folder may come from others: reading it moves and removes nothing, and a link is never taken for a folder of
results, whatever its name.
"""

import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from degmm.files import writable_folder
from degmm.untrusted import read_json_inside

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
        user = os.lstat(staged).st_uid  # as this file system tells it
        try:
            yield staged
            writable_folder(folder, *(path.name for path in staged.iterdir()))
            with locked(folder):
                _finish(folder, user)
                staged.rename(folder / staged.name.replace(STAGED, COMPLETE))
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        try:
            finish(folder, user)
        except KeyboardInterrupt:  # the results are complete: no reason to leave them half-moved
            finish(folder, user)
            raise
    except BaseException:
        for path in made:
            with suppress(OSError):  # it holds something
                path.rmdir()
        raise


def finish(folder: Path, user: int | None = None) -> None:
    """Finish what a killed command of a user, this one, left: move complete results, remove others."""
    if any(folder.glob(f"{COMPLETE}*")) or any(folder.glob(f"{STAGED}*")):
        with locked(folder):
            _finish(folder, user)


def located(folder: Path, name: str) -> Path:
    """Return where a file of an output folder is: in its place, or complete and not yet moved there."""
    with suppress(OSError):
        owner = os.stat(folder).st_uid
        for complete in reversed(_real_folders(folder, COMPLETE, owner)):
            if os.path.lexists(complete / name):
                return complete / name
    return folder / name


def _finish(folder: Path, user: int | None = None) -> None:
    if user is None:
        user = os.geteuid() if hasattr(os, "geteuid") else os.stat(folder).st_uid
    for complete in _real_folders(folder, COMPLETE, user):
        _move(complete, folder)
    for staged in _real_folders(folder, STAGED, user):
        pid, host, *_ = [*staged.name.removeprefix(STAGED).split("-"), "", ""]
        if host == HOST and not _runs(pid):  # another machine's processes are not known here
            shutil.rmtree(staged, ignore_errors=True)


def _real_folders(folder: Path, prefix: str, owner: int) -> list[Path]:
    """Return the folders in a folder whose names begin so, in order: no links, and only an owner's."""
    found = []
    for path in sorted(folder.glob(f"{prefix}*")):
        with suppress(OSError):  # it was moved meanwhile
            facts = os.lstat(path)
            if stat.S_ISDIR(facts.st_mode) and facts.st_uid == owner:
                found.append(path)
    return found


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder alone, where the system has locks of this kind."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
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
            with suppress(OSError, ValueError):  # of a name that no file can have
                (folder / name).unlink()
        (complete / RECORD).replace(folder / RECORD)
    complete.rmdir()


def command_of(folder: Path) -> str | None:
    """Return the command whose results a folder holds, if it has their record."""
    try:
        return str(read_json_inside(folder, located(folder, RECORD))["command"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _own_files(record: Path) -> set[str]:
    """Return the names of files that a record lists; only plain names, whatever it may hold."""
    try:
        names = read_json_inside(record.parent, record)["files"]
        return {name for name in names if name == Path(name).name and not name.startswith(".")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()


def _runs(pid: str) -> bool:
    """Return whether the process that staged results may still be at work."""
    if os.name == "nt":  # where os.kill would end it
        return True
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except OSError:  # another user's
        return True
    return True
