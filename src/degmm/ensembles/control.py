"""Members that are not exchangeable with the others, such as a control run."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from degmm.ensembles.ensemble import Ensemble

CLEAR_RATIO = 1.2
"""A spread that is larger or smaller than that of the other members by this factor is told of"""
FALSE_ALARMS = 1e-3
"""… if chance makes it so in fewer than this share of data sets"""
CLEAR_OF_OTHERS = 4.0
"""… and it is so many times as far from the others as they are from each other"""
BLOCKS = (20, 10, 5)
"""Numbers of blocks of consecutive cases: what is alike in neighbouring cases shows in long blocks"""


class UnlikeMember(NamedTuple):
    """A member whose anomalies are of another size than those of the others."""

    place: int
    label: str
    variable: str
    ratio: float
    """Its mean absolute departure from the other members' mean, over the median of theirs"""

    def sentence(self) -> str:
        """Return what a user is told."""
        return (
            f"member {self.label} has {self.ratio:.2f} times the anomaly spread of the other members "
            f"({self.variable}): it may be a control run"
        )


def unlike_members(data: Ensemble) -> list[UnlikeMember]:
    """Return the members whose anomaly spread differs clearly from the others', one entry a member.

    A member's anomaly is its departure from the mean of the other members of its ensemble. Of exchangeable
    members, each has the same chance of any rank among the sizes of the anomalies of its case, however
    heavy their tails; the mean rank is tested. Its standard error is the largest of that of independent
    cases and those from the variation between blocks of cases, which is the same for all members.
    """
    n, M, D = data.shape
    if M < 4 or n < 2 * max(BLOCKS):
        return []
    found: dict[int, UnlikeMember] = {}
    for d in range(D):
        sizes = _sizes(data.values[..., d].astype(np.float64), data.mask)
        if np.isnan(sizes).all(axis=0).any():
            continue
        whole = np.nanmean(sizes, axis=0)
        if not np.median(whole) > 0:
            continue
        ratio = whole / np.median(whole)
        clear = np.abs(np.log(np.maximum(ratio, 1e-12))) > np.log(CLEAR_RATIO)
        for m in np.flatnonzero(clear & _odd_ranks(_ranks(sizes), FALSE_ALARMS / (M * D), ratio)):
            one = UnlikeMember(int(m), str(data.member_labels[m]), data.variables[d], float(ratio[m]))
            before = found.get(int(m))
            if before is None or abs(np.log(one.ratio)) > abs(np.log(before.ratio)):
                found[int(m)] = one
    # Where half of the members differ, none of them is the odd one.
    return [found[m] for m in sorted(found)] if len(found) <= M // 4 else []


def _sizes(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return absolute departures (n, M) from the mean of the others, alike in expectation for any M."""
    values = np.where(mask, values, 0)
    count = mask.sum(axis=1, keepdims=True)
    others = count - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (values.sum(axis=1, keepdims=True) - values) / others
        departure = (values - mean) * np.sqrt(others / count)
    return np.where(mask & (others > 0), np.abs(departure), np.nan)


def _ranks(sizes: np.ndarray) -> np.ndarray:
    """Return ranks within the cases, from −½ to ½, NaN of absent members; of equal sizes their mean."""
    absent = np.isnan(sizes)
    count = (~absent).sum(axis=1, keepdims=True)
    ranks = stats.rankdata(np.where(absent, np.inf, sizes), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(absent, np.nan, (ranks - 0.5) / count - 0.5)


def _odd_ranks(ranks: np.ndarray, chance: float, ratio: np.ndarray) -> np.ndarray:
    """Return which members have mean ranks that chance does not explain, (M,)."""
    M = ranks.shape[1]
    means = np.nanmean(ranks, axis=0)
    known = (~np.isnan(ranks)).sum(axis=0)
    odd = (np.sign(means) == np.sign(ratio - 1)) & (known >= 2 * max(BLOCKS))
    spread = np.sqrt(np.nanmean(ranks**2))
    odd &= np.abs(means) > stats.norm.isf(chance / 2) * spread / np.sqrt(np.maximum(known, 1))
    for number in BLOCKS:
        filled = np.where(np.isnan(ranks), 0, ranks)  # in a block without the member: as of chance
        blocks = np.stack([part.mean(axis=0) for part in np.array_split(filled, number)])
        error = np.sqrt(blocks.var(axis=0, ddof=1).mean() / number)
        odd &= np.abs(means) > stats.t.isf(chance / 2, (number - 1) * (M - 1)) * error
    for m in np.flatnonzero(odd):
        others = np.delete(means, m)
        away = np.abs(others - np.median(others))
        scale = 1.4826 * np.median(away) if M >= 8 else others.std(ddof=1)
        odd[m] = abs(means[m] - np.median(others)) > CLEAR_OF_OTHERS * scale
    return odd
