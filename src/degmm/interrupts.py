"""Ctrl-C in a command: it always ends it, and what is said of what was written is true.

Python raises KeyboardInterrupt wherever the program happens to be. Raised in a function that a library calls
from code of its own, such as the end of an object's life, it is printed and lost, and the work goes on. So a
command also notes the signal, and :func:`check`, called between the steps of the work, raises it anew.
Compiled code heeds no signal until it is done; a thread does, and ends the process where Ctrl-C comes again.

Outside a command, as in a notebook, nothing of this is in force.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CODE = 130
"""Exit code of an interrupted command: 128 and the number of the signal, as shells have it"""
TOGETHER = 0.3
"""Seconds within which signals are one: a shell or ``timeout`` may send it to a process and to its group"""
PATIENCE = 2.0
"""Seconds after which a user hears that the step at work has to end first"""


UNPLACED = ".degmm-"
"""Names of what is not in its place yet, such as a folder of results that are being made, begin so"""


class Watch:
    """What is known of the command that runs."""

    def __init__(self) -> None:
        self.asked = False
        """Whether Ctrl-C was typed"""
        self.held = 0
        """Above 0 while no interrupt may come in between"""
        self.written: dict[str, None] = {}
        """Results that have taken their places, in order"""

    def sentence(self) -> str:
        """Say how the command ended."""
        if self.held:
            return "interrupted while results took their places; the next command into that folder ends it"
        if not self.written:
            return "interrupted; nothing was written"
        return f"interrupted; {' and '.join(self.written)} had been written by then"

    def note(self, result: Path) -> None:
        """Note a result that is in its place."""
        if not any(part.startswith(UNPLACED) for part in result.parts):
            self.written[str(result)] = None

    def hear(self, number: int, frame: Any) -> None:
        """Note Ctrl-C, and end what is done."""
        self.asked = True
        if not self.held:
            raise KeyboardInterrupt

    def find(self, otherwise: Callable[[Any], Any], lost: Any) -> None:
        """Note an interrupt that was lost in a function which cannot raise; leave all else as it is."""
        if issubclass(lost.exc_type, KeyboardInterrupt):
            self.asked = True
        else:
            otherwise(lost)

    def listen(self, ears: socket.socket) -> None:
        """Hear the signals while the main thread cannot, until the command has ended."""
        first, patient = 0.0, True
        while True:
            ears.settimeout(PATIENCE if first and patient else None)
            try:
                numbers = ears.recv(64)
            except TimeoutError:
                patient = False
                _say("interrupted; it ends after the step it is in, and at once if you press Ctrl-C again")
                continue
            if not numbers:
                return
            if signal.SIGINT not in numbers:
                continue
            if not first:
                first, self.asked = time.monotonic(), True
            elif time.monotonic() - first > TOGETHER:
                until = time.monotonic() + PATIENCE
                while self.held and time.monotonic() < until:  # a matter of milliseconds
                    time.sleep(0.01)
                _say(self.sentence())
                os._exit(CODE)


_watch: Watch | None = None


@contextmanager
def watched() -> Iterator[Watch]:
    """Watch for Ctrl-C while a command runs, where it is Python's own business to do so."""
    global _watch
    watch = Watch()
    main = threading.current_thread() is threading.main_thread()
    # A script may have told a command in its background to heed none.
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield watch
        return
    ears, mouth = socket.socketpair()
    mouth.setblocking(False)
    thread = threading.Thread(target=watch.listen, args=(ears,), name="degmm-interrupts", daemon=True)
    thread.start()
    before, hook = _watch, sys.unraisablehook
    _watch = watch
    sys.unraisablehook = lambda lost: watch.find(hook, lost)
    wakeup = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, watch.hear)
    try:
        yield watch
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(wakeup)
        sys.unraisablehook = hook
        _watch = before
        mouth.close()
        thread.join()
        ears.close()


def check() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was typed in the command that runs; for between two steps."""
    if _watch is not None and _watch.asked and not _watch.held:
        raise KeyboardInterrupt


@contextmanager
def taking_place(result: Path) -> Iterator[None]:
    """Let no interrupt come between the step by which a result takes its place and the note that it has."""
    watch = _watch
    if watch is None:
        yield
        return
    check()
    watch.held += 1
    try:
        yield
        watch.note(result)
    finally:
        watch.held -= 1
    check()


def note(result: Path) -> None:
    """Note that a result is written, or has begun to be."""
    if _watch is not None:
        _watch.note(result)


def _say(sentence: str) -> None:
    with suppress(OSError):
        os.write(2, f"degmm: {sentence}\n".encode())
