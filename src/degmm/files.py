"""Results on disk: folders that can be written, files that are never half-written."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


@contextmanager
def output_folder(folder: Path, *names: str) -> Iterator[Path]:
    """Hold a folder for results as :func:`writable_folder` makes it; a failure leaves no empty folder.

    Parameters
    ----------
    folder : Path
    *names : str
        Names of files to be written there.
    """
    # os.path.exists answers where Path.exists raises, as for a name that is too long.
    made = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        yield writable_folder(folder, *names)
    except BaseException:
        for path in made:
            with suppress(OSError):  # it holds something
                path.rmdir()
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside and rename it, so that ``path`` is never half-written."""
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
