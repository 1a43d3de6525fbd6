"""Results on disk: folders that can be written, files that are never half-written."""

import os
import stat
import tempfile
from contextlib import nullcontext
from pathlib import Path

from degmm.interrupts import note, taking_place
from degmm.locks import HOST

PART = ".degmm-part-"
"""A file that is not written to its end; the name of the machine follows"""


def writable_folder(folder: Path, *names: str) -> Path:
    """Make a folder and see that files can be written to it, before the long work.

    Parameters
    ----------
    folder : Path
    *names : str
        Names of files to be written there, which may not be folders.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        If it cannot be made or written to, or a name in it is taken by a folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, prefix=f"{PART}{HOST}-"):  # without a name, where it can be
            pass
    except OSError as error:
        raise ValueError(
            f"output: the folder {folder} cannot be written ({error.strerror or error})"
        ) from error
    for name in names:
        if (folder / name).is_dir():
            raise ValueError(f"output: {folder / name} is a folder; move it, or choose another output")
    return folder


def keep_input(source: Path, *targets: Path) -> None:
    """See that results do not replace the file that they are made of, or go into its folder.

    Raises
    ------
    ValueError
        If they would.
    """
    for target in targets:
        within = source.is_dir() and Path(os.path.realpath(target)).is_relative_to(os.path.realpath(source))
        if within or (target.exists() and source.exists() and target.samefile(source)):
            raise ValueError(f"output: {target} would replace {source}, which is read; choose another place")


def read_inside(folder: Path, path: Path) -> bytes:
    """Return the content of a file of a folder that may come from others.

    Parameters
    ----------
    folder : Path
    path : Path
        The file, in the folder or in one inside it.

    Raises
    ------
    ValueError
        If it is no regular file, such as a pipe, which may never end, or a link leads out of the folder.
    OSError
        If it is not there, or cannot be read.
    """
    real = os.path.realpath(path)
    if not Path(real).is_relative_to(os.path.realpath(folder)):
        raise ValueError(f"{path}: is a link that leads out of the folder; put the file itself there")
    # Without O_NONBLOCK the opening of a pipe would wait for its writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(real, flags | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{path}: is no regular file; put the file itself there")
        return file.read()


def write_bytes(path: Path, content: bytes, *, follow: bool = True, final: bool = False) -> None:
    """Write a file beside and rename it, so that ``path`` is never half-written.

    With ``follow``, for an output that its user named, a link is followed, and what is no file, such as a
    pipe, is written to as it is. Names inside an output folder, which may come from others, are replaced.
    A ``final`` one is a result in its place, of which who interrupts the command then hears.
    """
    if follow:
        path = Path(os.path.realpath(path))
        if is_stream(path):
            if final:
                note(path)
            path.write_bytes(content)
            return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{PART}{HOST}-")
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp gives 0600; a result should have the permissions that the user's umask asks for.
        mask = os.umask(0)
        os.umask(mask)
        beside.chmod(0o666 & ~mask)
        with taking_place(path) if final else nullcontext():
            beside.replace(path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            # Named by the file that was wanted, not by the one beside it.
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def is_stream(path: Path) -> bool:
    """Return whether a path is one of a pipe, a terminal or the like, which nothing can take the place of."""
    return path.exists() and not path.is_file() and not path.is_dir()
