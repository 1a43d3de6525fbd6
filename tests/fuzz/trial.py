"""One case after another: each ends with a value or a ValueError, soon and with little memory."""

import multiprocessing
import resource
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from random import Random
from types import FrameType
from typing import Any

SECONDS = 60
"""Of a case; a machine that does other things besides takes some of them"""
BYTES = 2 * 1024**3
"""By which a case may raise the memory of the process"""
MOST_TOLD = 8
STARTING = 40
"""Seconds that a process takes until its first case"""


class HangError(BaseException):
    """A case that does not end; no ``except Exception`` of the product's may take it for a damaged file."""


def tried(kind: str, seeds: Iterable[int], attempt: Callable[[Random], Any]) -> None:
    """Try all cases, and tell of those that failed, with the seeds that repeat them.

    Parameters
    ----------
    kind : str
        Of what they are; each kind has random numbers of its own.
    seeds : iterable of int
    attempt : callable
        Takes a generator; may raise ValueError, and OSError where the file system fails.
    """
    failed = [(seed, why) for seed in seeds if (why := _why(kind, seed, attempt))]
    told = "\n".join(f"seed {seed}: {why}" for seed, why in failed[:MOST_TOLD])
    first = failed[0][0] if failed else 0
    assert not failed, (
        f"{len(failed)} cases of {kind} failed, the first as DEGMM_FUZZ_SEED={first} DEGMM_FUZZ_CASES=1:\n{told}"
    )


def tried_apart(kind: str, seeds: Iterable[int], attempt: Callable[[Random], Any], foreign: float) -> None:
    """Try all cases as :func:`tried` does, in a process of their own, which the code of others may hang or end.

    Of the cases a share, ``foreign``, may do so: no Python code can keep a C library from it.
    """
    left, failed, lost = list(seeds), [], []
    n = len(left)
    while left:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        started = False
        process = context.Process(target=_answer, args=(there, kind, left, attempt))
        process.start()
        there.close()
        try:
            while left and here.poll(SECONDS if started else STARTING):
                why, started = here.recv(), True
                seed = left.pop(0)
                failed += [(seed, why)] if why else []
            lost += [left.pop(0)] if left else []
        except EOFError:
            lost.append(left.pop(0))
        process.kill()
        process.join()
    told = "\n".join(f"seed {seed}: {why}" for seed, why in failed[:MOST_TOLD])
    assert not failed, f"{len(failed)} of {n} cases of {kind} failed:\n{told}"
    assert len(lost) <= max(1, foreign * n), (
        f"{len(lost)} of {n} cases of {kind} hung or ended the process: {lost}"
    )
    print(f"{kind}: {n} cases; hung or ended the process, by code of others: {lost or 'none'}")


def _answer(to: Any, kind: str, seeds: list[int], attempt: Callable[[Random], Any]) -> None:
    warnings.simplefilter("ignore")
    for seed in seeds:
        to.send(_why(kind, seed, attempt))


def _why(kind: str, seed: int, attempt: Callable[[Random], Any]) -> str:
    """Return why a case failed; an empty text where it did not."""
    started, before = time.perf_counter(), _memory()
    try:
        with_limit(SECONDS, lambda: attempt(Random(f"{kind} {seed}")))
    except (ValueError, OSError) as error:
        if not str(error):
            return f"{type(error).__name__} without a word"
        if isinstance(error, UnicodeError):
            return f"untold: {error!r}"
    except HangError:
        return f"not done in {SECONDS} s"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        return (
            f"{type(error).__name__}: {str(error)[:200]} ({where.filename.rpartition('/')[2]}:{where.lineno})"
        )
    if time.perf_counter() - started > SECONDS:
        return f"took {time.perf_counter() - started:.1f} s"
    grown = _memory() - before
    return f"took {grown / 1e9:.1f} GB" if grown > BYTES else ""


def with_limit(seconds: float, action: Callable[[], Any]) -> None:
    """Do something, and raise a HangError in it when the seconds are over."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        action()
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        action()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _memory() -> int:
    """Return the most bytes that the process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
