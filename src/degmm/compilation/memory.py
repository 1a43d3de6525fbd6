"""Programs in memory: the most recently used ones of the whole process."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Any

MOST_PROGRAMS = 128
"""Each takes some 1 to 3 MB"""


class Programs:
    """Programs by function and key, of which those not used for longest are let go.

    Parameters
    ----------
    most : int
        Number of programs held.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: OrderedDict[tuple[int, Hashable], tuple[Any, Any]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._held)

    def find(self, function: Any, key: Hashable) -> Any:
        """Return a program, or None."""
        place = (id(function), key)
        with self._lock:
            found = self._held.get(place)
            if found is None:
                return None
            self._held.move_to_end(place)
        return found[1]

    def keep(self, function: Any, key: Hashable, program: Any) -> None:
        """Hold a program, and its function, so that no other gets that function's number meanwhile."""
        gone = []  # freed when the lock is free again: that takes a while, and may run other code
        with self._lock:
            self._held[id(function), key] = (function, program)
            while len(self._held) > self.most:
                gone.append(self._held.popitem(last=False))

    def drop(self, function: Any) -> None:
        """Let go of a function's programs."""
        with self._lock:
            gone = [self._held.pop(place) for place in list(self._held) if place[0] == id(function)]
        del gone


PROGRAMS = Programs(MOST_PROGRAMS)
"""Of this process"""
