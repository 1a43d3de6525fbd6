"""``degmm cache``: the store of compiled programs, told of and cleared."""

from degmm.cli.session import Session
from degmm.store import MOST_BYTES, Store, Summary, find_place
from degmm.store.place import is_writable

MB = 1024**2


def run_cache(session: Session, clear: bool) -> None:
    """Say where the store is and what it holds, and remove that if asked.

    Raises
    ------
    ValueError
        If it is to be cleared, and the folder is not the user's own.
    """
    session.section = "Compiled programs"
    place = find_place()
    if clear and place.unsafe:
        raise ValueError(f"--clear: nothing is removed, because {place.unsafe}")
    store = None if place.folder is None or place.unsafe else Store(place.folder)
    if store is not None and clear:
        session.note(f"removed {_told(store.clear())}")
    held = Summary(0, 0) if store is None else store.summary()
    writable = place.folder is not None and not place.unsafe and is_writable(place.folder)
    state = f"off: {place.unused}" if place.unused else "on" if writable else "on: read only"
    folder = "" if place.folder is None else str(place.folder)
    session.table(
        "compiled programs kept between runs",
        ["folder", "state", "programs", "size", "at most"],
        [[folder, state, f"{held.programs}", _size(held.bytes), _size(MOST_BYTES)]],
        [
            {
                "folder": folder,
                "on": not place.unused,
                "unused": place.unused,
                "writable": writable,
                "programs": held.programs,
                "bytes": held.bytes,
                "most_bytes": MOST_BYTES,
            }
        ],
    )


def _told(summary: Summary) -> str:
    return f"{summary.programs} program{'' if summary.programs == 1 else 's'}, {_size(summary.bytes)}"


def _size(count: int) -> str:
    return f"{count / MB:.1f} MB"
