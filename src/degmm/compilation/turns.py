"""Programs that must not run at the same time as others of their kind."""

from collections.abc import Callable
from threading import RLock
from typing import Any

import jax

_TURN = RLock()


def in_turn(program: Callable[..., Any]) -> Callable[..., Any]:
    """Return a program that waits until no other such program runs here, and until it has ended.

    A call of LAPACK on a large stack of matrices shares them out over the threads of XLA's CPU pool, and
    waits for them in a thread of that pool. As many such calls at once as the pool has threads wait for
    ever: so do two fits in two threads of Python on two cores.
    """

    def run(*values: Any) -> Any:
        with _TURN:
            return jax.block_until_ready(program(*values))

    return run
