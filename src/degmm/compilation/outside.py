"""What a program calls outside itself: routines of LAPACK's, which may need the threads of XLA's pool."""

import math
import re
from typing import Any, NamedTuple

CALL = re.compile(r"custom_call @([\w.$]+)|call_target_name")
"""A call of something outside a program, and its name"""
SHAPE = re.compile(r"tensor<((?:\d+x)+)")
LAPACK = "lapack_"
MOST_ALONE = 10_000
"""jaxlib shares a stack of B matrices of D × D out over the pool where its estimate of the work, D³/3 for a
Cholesky factor and some 10 D³ for an eigendecomposition, is over 200 000 (``ParallelBatchMap`` of jaxlib
0.10.2); calls with B·D³ up to this number stay well below"""


class OutsideCalls(NamedTuple):
    """The calls of a program."""

    only_lapack: bool
    """No other than LAPACK's"""
    lapack: bool
    """Some of LAPACK's"""
    in_pool: bool
    """Some of LAPACK's that are so large that they may wait for the threads of XLA's pool"""


def outside_calls(lowered: Any) -> OutsideCalls:
    """Return what a lowered program calls."""
    names, in_pool = set(), False
    for line in lowered.as_text().splitlines():
        for found in CALL.finditer(line):
            name = found[1] or ""
            names.add(name.startswith(LAPACK))
            in_pool |= (
                name.startswith(LAPACK) and max(map(_work, SHAPE.findall(line)), default=0) > MOST_ALONE
            )
    return OutsideCalls(False not in names, True in names, in_pool)


def _work(shape: str) -> int:
    """Return B·D³ of a stack of matrices, of the text ``BxDxDx``."""
    sizes = [int(size) for size in shape.split("x") if size]
    return math.prod(sizes) * sizes[-1]
