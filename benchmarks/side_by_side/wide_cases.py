"""Fits of many variables: their sizes, and what is asked of them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.side_by_side.cases import Size

K = 4
DISTANCE = 2.5
"""Distance between the centres of two clusters, in standard deviations of the mean of an ensemble …"""
DISTANCE_ALONE = 4.0
"""… and of single members, which say nothing of the covariance: nearer ones take hundreds of iterations"""
SLOWEST = 3.0
"""A default fit is to take at most this many times as long as its final run of EM"""
PROGRAMS = 150.0
"""Compiled programs may take so many MB"""


@dataclass(frozen=True)
class Wide:
    """A fit of many variables, and what is asked of it."""

    size: Size
    covariance: str = "full"
    beside: bool = True
    """Whether scikit-learn fits the same members"""
    faster: float | None = None
    """An iteration of EM is to be so many times as fast as scikit-learn's"""
    seconds: float | None = None
    """A default fit is to take at most so long"""

    @property
    def megabytes(self) -> float:
        """The members' own memory, in float32."""
        return 4e-6 * self.size.members * self.size.D

    @property
    def memory(self) -> float | None:
        """The memory in MB that a default fit may take beyond the members; None where nothing is asked."""
        size = self.size
        few = size.M > 1 and 2 * size.M < size.D
        return None if few or self.faster is None else 2 * self.megabytes + PROGRAMS

    def told(self, repeats: int, patience: float) -> dict[str, Any]:
        """Return what its process is told; scikit-learn's EM is ended after ``patience`` seconds."""
        distance = DISTANCE_ALONE if self.size.M == 1 else DISTANCE
        of_all = {"job": "wide", "distance": distance, "repeats": repeats, "patience": patience}
        return of_all | asdict(self.size) | {"covariance": self.covariance, "beside": self.beside}


def _full() -> Iterator[Wide]:
    for D in (32, 100, 300):
        for M in (1, 10, 50):
            n = 2_000 if (D, M) == (300, 50) else 10_000
            yield Wide(Size(n, M, D, K), faster=_faster(M, D))


def _faster(M: int, D: int) -> float:
    if M == 1:
        return 1.5
    return {10: 5.0, 50: 20.0}[M] if D < 300 else {10: 1.5, 50: 10.0}[M]


FULL = (*_full(), Wide(Size(2_000, 10, 1_000, K), "diag", beside=False, seconds=3.0))
QUICK = (Wide(Size(400, 5, 20, 2)), Wide(Size(300, 2, 40, 2), "diag", beside=False))
