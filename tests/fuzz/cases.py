"""How many cases a fuzzing test tries, and the seed of each.

``DEGMM_FUZZ_CASES`` is the number of cases of each kind (200; `make fuzz` has 500), ``DEGMM_FUZZ_SEED`` the seed of the
first (0): case i
has the seed of the first plus i, so ``DEGMM_FUZZ_SEED=1234 DEGMM_FUZZ_CASES=1`` repeats the one that failed.
"""

import os


def number_of_cases(default: int = 200) -> int:
    """Return how many cases of each kind are tried."""
    return int(os.environ.get("DEGMM_FUZZ_CASES", default))


def seeds(share: float = 1.0) -> range:
    """Return the seeds of the cases, or of a share of them where each takes long; never none."""
    first = int(os.environ.get("DEGMM_FUZZ_SEED", 0))
    return range(first, first + max(1, round(share * number_of_cases())))
