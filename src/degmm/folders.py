"""Output folders: all the results of a command take the place of the old ones, or none does.

Results are written to a hidden folder inside the output folder. Renaming that folder, one atomic step, says
that they are complete; then they are moved into place. A command that is killed before that step has changed
nothing; after it, the next command that writes there finishes the move (:func:`finish`), and until then
whoever reads the folder reads through the complete one (:func:`located`). A lock on the folder keeps two
commands from moving at once.

A folder may come from others: reading it moves and removes nothing, and a link is never taken for a folder of
results, whatever its name.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from degmm.files import is_stream, read_inside, writable_folder, write_bytes
from degmm.interrupts import taking_place
from degmm.leftovers import (
    ALIVE,
    COMPLETE,
    STAGED,
    real_folders,
    remove_leftovers,
    remove_parts,
    this_user,
)
from degmm.locks import HOST, LOCK, locked

RECORD = "run.json"
"""What a command records of its run; its ``files`` are the command's own, which its successor replaces"""
PAGE = "report.html"
"""The page of a record, which goes with it"""
READINGS = 20
"""Of a file that is not where it was, as when another is written there at that time"""


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
        with alone_in(writable_folder(folder, *names)):
            pass
        staged = folder / f"{STAGED}{os.getpid()}-{HOST}-{secrets.token_hex(8)}"
        with locked(staged.with_name(staged.name + ALIVE)):
            try:
                staged.mkdir(mode=0o700)
                user = os.lstat(staged).st_uid  # as this file system tells it
                yield staged
                writable_folder(folder, *(path.name for path in staged.iterdir()))
                with alone_in(folder, user), taking_place(folder):
                    staged.rename(staged.with_name(staged.name.replace(STAGED, COMPLETE)))
                    try:
                        _finish(folder, user)
                    except KeyboardInterrupt:  # the results are complete: none of them is left half-moved
                        _finish(folder, user)
                        raise
            except BaseException:
                shutil.rmtree(staged, ignore_errors=True)
                raise
    except BaseException:
        for path in made:
            with suppress(OSError):  # it holds something
                path.rmdir()
        raise


@contextmanager
def alone_in(folder: Path, user: int | None = None) -> Iterator[None]:
    """Hold a folder alone among those who write there.

    What killed writers of this user left is seen to first: complete results are moved to their places, and
    what is dead is removed.
    """
    with locked(folder / LOCK):
        _finish(folder, user)
        yield


def finish(folder: Path, user: int | None = None) -> None:
    """Finish what a killed command of a user, this one, left: move complete results, remove others."""
    with alone_in(folder, user):
        pass


def located(folder: Path, name: str) -> Path:
    """Return where a file of an output folder is: in its place, or complete and not yet moved there."""
    with suppress(OSError):
        owner = os.stat(folder).st_uid
        for complete in reversed(real_folders(folder, COMPLETE, owner)):
            if os.path.lexists(complete / name):
                return complete / name
    return folder / name


def read_located(folder: Path, name: str) -> bytes:
    """Return the content of a file of an output folder, wherever it is.

    It may be moved between the moment it is found and that it is opened: then it is looked for anew.

    Raises
    ------
    OSError, ValueError
        As :func:`degmm.files.read_inside`.
    """
    for attempt in range(READINGS):
        try:
            return read_inside(folder, located(folder, name))
        except FileNotFoundError:
            if attempt == READINGS - 1:
                raise
    raise AssertionError  # unreachable


def holds(folder: Path, name: str) -> bool:
    """Return whether an output folder has a file of this name, be it moved to its place just then."""
    return any(os.path.lexists(located(folder, name)) for _ in range(READINGS))


def write_result(path: Path, content: bytes, *, follow: bool = True) -> None:
    """Write a result that is a file of its own, as :func:`degmm.files.write_bytes` does.

    What killed writers of its folder did not write to the end is removed.
    """
    path = Path(os.path.realpath(path)) if follow else path
    if follow and is_stream(path):
        write_bytes(path, content, final=True)
        return
    with locked(path.parent / LOCK):
        with suppress(OSError):
            remove_parts(path.parent, this_user(path.parent))
        write_bytes(path, content, follow=False, final=True)


def _finish(folder: Path, user: int | None = None) -> None:
    if user is None:
        user = this_user(folder)
    for complete in real_folders(folder, COMPLETE, user):
        _move(complete, folder)
    remove_leftovers(folder, user)


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
        return str(json.loads(read_located(folder, RECORD))["command"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _own_files(record: Path) -> set[str]:
    """Return the names of files that a record lists; only plain names, whatever it may hold."""
    try:
        names = json.loads(read_inside(record.parent, record))["files"]
        return {name for name in names if name == Path(name).name and not name.startswith(".")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()
