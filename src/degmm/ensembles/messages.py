"""The messages of a GRIB file: whether all are whole."""

from pathlib import Path

START, END = b"GRIB", b"7777"


def check_messages(path: Path) -> None:
    """Raise an error at the first message that is cut off or damaged.

    The program that decodes them skips what it cannot, or ends there, and fewer members or cases would
    be read than there are.
    """
    with path.open("rb") as file:
        size, at, k = path.stat().st_size, 0, 0
        while at < size:
            file.seek(at)
            if file.read(4) != START:
                at = _next_start(file.read(), at + 4)
                if at < 0:
                    return  # padding at the end
                continue
            file.seek(at)
            head = file.read(16)
            edition = head[7] if len(head) == 16 else 0
            length = int.from_bytes(head[8:16] if edition == 2 else head[4:7], "big")
            file.seek(at)
            whole = edition in (1, 2) and length > 20 and at + length <= size
            if not whole or not _is_sound(file.read(length), edition):
                raise ValueError(
                    f"not a readable GRIB file: message {k} is cut off or damaged; write or fetch it again"
                )
            at, k = at + length, k + 1


def _next_start(rest: bytes, at: int) -> int:
    found = rest.find(START)
    return found if found < 0 else at + found


def _is_sound(message: bytes, edition: int) -> bool:
    """Return whether a message ends as it should, after whole sections."""
    if message[-4:] != END:
        return False
    at = 16
    while edition == 2 and at < len(message) - 4:
        length = int.from_bytes(message[at : at + 4], "big")
        if length < 5 or not 1 <= message[at + 4] <= 7:
            return False
        at += length
    return edition == 1 or at == len(message) - 4
