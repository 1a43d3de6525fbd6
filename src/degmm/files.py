"""Results on disk: folders that can be written, files that are never half-written."""

import os
import tempfile
from pathlib import Path


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
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".degmm-"):
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


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside and rename it, so that ``path`` is never half-written.

    A link is followed; what is no file, such as a pipe, is written to as it is.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(content)
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp gives 0600; a result should have the permissions that the user's umask asks for.
        mask = os.umask(0)
        os.umask(mask)
        beside.chmod(0o666 & ~mask)
        beside.replace(path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            # Named by the file that was wanted, not by the one beside it.
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
