"""What is measured: sizes, series of sizes, and the rules that hold for all libraries."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

TOLERANCE = 1e-4
"""EM stops where the log-likelihood rises by less than this, in nats per member"""
MAX_ITER = 100
"""Largest number of iterations of EM"""
EPOCHS = 200
"""Epochs of a deep fit"""
PEERS = ("scikit-learn", "gmmx", "pomegranate")
EMPTY = ", empty store"
"""What a name ends with where DEGMM is without its store of compiled programs. Elsewhere an earlier process has filled it"""
EM = ("degmm", *PEERS)
BOTH = ("degmm", "degmm" + EMPTY, *PEERS)


@dataclass(frozen=True)
class Size:
    """Size of a data set and of the mixture fitted to it."""

    n: int
    M: int
    D: int
    K: int

    @property
    def members(self) -> int:
        """Number of members n·M."""
        return self.n * self.M

    def __str__(self) -> str:
        return f"n={self.n}, M={self.M}, D={self.D}, K={self.K}"


@dataclass(frozen=True)
class Series:
    """Sizes that differ in one number, and the libraries that fit them."""

    name: str
    title: str
    varied: str
    """What the pictures have on their x axis: ``members``, ``n``, ``M``, ``D`` or ``K``"""
    sizes: tuple[Size, ...]
    libraries: tuple[str, ...] = EM
    starts: int = 1
    mapped: bool = False
    """Whether the members stay in their file, mapped into memory"""
    defaults: bool = False
    """Whether each library has its own settings, of which only K is told"""
    whole: bool = False
    """Whether whole processes are timed, from start to end, with one fit in each"""
    wanted: str = ""
    """What is asked of these figures, in a sentence"""

    def specifications(self) -> Iterator[tuple[Size, str, dict[str, Any]]]:
        """Return each measurement: size, library, and what its process is told."""
        rules = {"starts": self.starts, "tol": TOLERANCE, "max_iter": MAX_ITER, "epochs": EPOCHS}
        job = "process" if self.whole else "fit"
        for size in self.sizes:
            for library in self.libraries:
                told = {"job": job, "library": library, "mapped": self.mapped, "defaults": self.defaults}
                yield size, library, told | asdict(size) | rules


FULL = (
    Series(
        "defaults",
        "What a newcomer feels first: the first fit, then the second. `EGMM(3).fit(X)` with all defaults (64 "
        "starts), and `GaussianMixture(3)` with its own (one), n = 1000, M = 10, D = 2",
        "n",
        (Size(1_000, 10, 2, 3),),
        ("degmm", "degmm" + EMPTY, "scikit-learn"),
        defaults=True,
        wanted="Wanted: at most 0.35 s, and 1.3 s with an empty store.",
    ),
    Series(
        "one",
        "The same with one start each",
        "n",
        (Size(1_000, 10, 2, 3),),
        BOTH,
        wanted="Wanted: at most 0.2 s.",
    ),
    Series(
        "whole",
        "Whole processes from start to end, imports included, with one fit of one start (M = 10, D = 2, K = 4)",
        "members",
        tuple(Size(n, 10, 2, 4) for n in (1_000, 10_000, 30_000, 100_000)),
        ("degmm", "degmm" + EMPTY, "scikit-learn", "pomegranate"),
        whole=True,
        wanted="Wanted: at most 1.5 times scikit-learn's at n·M = 10⁴, 1.3 times at 10⁵, and from 3·10⁵ on ahead "
        "of scikit-learn and pomegranate.",
    ),
    Series(
        "members",
        "Members n·M, at M = 10, D = 2, K = 4, one start",
        "members",
        tuple(Size(n, 10, 2, 4) for n in (1_000, 10_000, 100_000, 1_000_000)),
        BOTH,
    ),
    Series(
        "starts",
        "The same with 16 starts",
        "members",
        tuple(Size(n, 10, 2, 4) for n in (1_000, 10_000, 100_000)),
        BOTH,
        starts=16,
    ),
    Series(
        "single",
        "Single members, M = 1: the same model in all libraries (D = 2, K = 4, one start)",
        "n",
        tuple(Size(n, 1, 2, 4) for n in (10_000, 100_000, 1_000_000)),
    ),
    Series(
        "M",
        "Members M of each of n = 10 000 ensembles (D = 2, K = 4, one start)",
        "M",
        tuple(Size(10_000, M, 2, 4) for M in (1, 10, 50)),
    ),
    Series(
        "D",
        "Variables D (n = 10 000, M = 10, K = 4, one start)",
        "D",
        tuple(Size(10_000, 10, D, 4) for D in (2, 8, 32)),
    ),
    Series(
        "K",
        "Clusters K (n = 10 000, M = 10, D = 2, one start)",
        "K",
        tuple(Size(10_000, 10, 2, K) for K in (2, 4, 16)),
    ),
    Series(
        "deep",
        f"Deep inference, {EPOCHS} epochs, in batches of 4096 beyond that (M = 10, D = 2, K = 4)",
        "n",
        tuple(Size(n, 10, 2, 4) for n in (1_000, 10_000, 100_000)),
        ("degmm", "degmm, deep", "degmm, deep" + EMPTY),
    ),
    Series(
        "file",
        "Members read from a file of 400 MB as they are needed (n = 1 000 000, M = 50, D = 2, K = 4)",
        "n",
        (Size(1_000_000, 50, 2, 4),),
        ("degmm", "degmm, 3 epochs", "scikit-learn"),
        mapped=True,
    ),
)
PASSES = Size(1_000_000, 50, 2, 4)
"""Size at which the passes over members and moments are timed alone"""

QUICK = (
    Series(
        "defaults",
        "The first fit, then the second, with all defaults",
        "n",
        (Size(500, 5, 2, 2),),
        ("degmm", "degmm" + EMPTY),
        defaults=True,
    ),
    Series("whole", "Whole processes", "n", (Size(500, 5, 2, 2),), ("degmm", "scikit-learn"), whole=True),
    Series(
        "members",
        "Members n·M, at M = 5, D = 2, K = 3, one start",
        "members",
        (Size(2_000, 5, 2, 3),),
    ),
    Series("deep", f"Deep inference, {EPOCHS} epochs", "n", (Size(500, 5, 2, 3),), ("degmm, deep",)),
    Series("file", "Members in a file", "n", (Size(2_000, 5, 2, 3),), ("degmm",), mapped=True),
)
QUICK_PASSES = Size(20_000, 10, 2, 3)
