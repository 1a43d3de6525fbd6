"""Many fits of varying sizes in one process, and the memory that it holds meanwhile."""

import itertools
from typing import Any

import numpy as np

from benchmarks.side_by_side import memory
from benchmarks.side_by_side.timing import tell

SIZES = tuple(itertools.product((200, 500, 1_000, 2_000), (2, 3, 4, 6), (1, 2, 3, 5, 8)))
"""n, K and D of 80 fits, no two alike; M = 5"""


def levels(told: dict[str, Any]) -> None:
    """Fit mixtures of all sizes in a random order and tell what is resident after every few of them.

    Sizes come in a random order, so that a level is not of large fits at the end.
    """
    from degmm import EGMM
    from degmm.datasets import make_exchangeable_mixture

    order = np.random.default_rng(0).permutation(len(SIZES))[: told["fits"]]
    found = [[0, memory.status("VmRSS")]]
    for count, position in enumerate(order, start=1):
        n, K, D = SIZES[position]
        X = make_exchangeable_mixture(n, 5, D, K, seed=count)[0]
        EGMM(K, random_state=0).fit(X.astype(np.float32))
        if count == 1 or count % told["every"] == 0:
            found.append([count, memory.status("VmRSS")])
            tell(levels=found)
