"""Memory that runs out: a MemoryError that says what to do, whichever library found it out."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SHORT = "memory: "
"""What such messages begin with"""
EXHAUSTED = re.compile(r"RESOURCE_EXHAUSTED|out.of.memory|bad_alloc", re.IGNORECASE)
"""What XLA says then, in an error that it has for much else"""
ADVICE = (
    "take fewer ensembles at a time (docs/scaling.md), fewer variables, covariance_type='diag' or "
    "dtype='float32'"
)


def as_memory_error(error: BaseException) -> BaseException:
    """Return an error of XLA's that tells of a shortage of memory as Python's own; others as they are."""
    jax = sys.modules.get("jax")
    if jax is None or not isinstance(error, jax.errors.JaxRuntimeError) or not EXHAUSTED.search(str(error)):
        return error
    # Only the first line of what may be a page on who has how much.
    return _with_advice(str(error).splitlines()[0].removeprefix("RESOURCE_EXHAUSTED: ").strip().rstrip("."))


@contextmanager
def shortage_told() -> Iterator[None]:
    """Tell of a shortage of memory in the work within by a MemoryError that says what to do.

    Raises
    ------
    MemoryError
    """
    try:
        yield
    except MemoryError as error:
        if str(error).startswith(SHORT):
            raise
        raise _with_advice(str(error)) from error
    except RuntimeError as error:
        told = as_memory_error(error)
        if told is error:
            raise
        raise told from error


def _with_advice(detail: str) -> MemoryError:
    said = f" ({detail})" if detail else ""
    return MemoryError(f"{SHORT}this takes more than there is{said}; {ADVICE}")
