"""Ways out of a poor optimum: one cluster is split in two, and two others are merged.

EM moves no component across another. Where it ends with two components on one cluster and one on
two, only such a move helps (Ueda, Nakano, Ghahramani & Hinton 2000, split and merge EM). Moves are
ranked by what they would do to the classification likelihood; EM then decides.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from degmm.arrays import Array
from degmm.compilation import jit
from degmm.families.base import Family, Limits
from degmm.inference.blocks import blocks_like, summed
from degmm.inference.mixture import m_step_from_blocks
from degmm.inference.starts import spread_features
from degmm.moments import Moments

PAIRS = 3
"""Merges that are looked at, as a multiple of K."""
REPEATS = 3
"""Times that one split, or one merge, may appear among the moves returned."""
LLOYD_STEPS = 10
"""Steps of the two-means algorithm that splits a cluster."""


def split_and_merge(
    family: Family,
    responsibilities: Float[np.ndarray, "K n"],
    moments: Moments,
    blocks: Moments,
    limits: Limits,
    n_moves: int,
) -> Int[np.ndarray, "moves n"]:
    """Return up to ``n_moves`` partitions, each a split and a merge away from the given one.

    ``blocks`` are the same moments, laid out for passes over them.
    """
    K, n = responsibilities.shape
    labels = responsibilities.argmax(axis=0)
    features = spread_features(moments)
    halves = [_halves(features, labels == k, moments.n_features) for k in range(K)]
    pairs = _overlapping_pairs(responsibilities, PAIRS * K)
    own = labels == np.arange(K)[:, None]
    masks = np.zeros(((PAIRS + 3) * K, n), bool)
    masks[:K] = own
    for k, half in enumerate(halves):
        if half is not None:
            masks[K + k], masks[2 * K + k] = half, own[k] & ~half
    for position, (a, b) in enumerate(pairs):
        masks[3 * K + position] = own[a] | own[b]
    fit = _classification_likelihood(family, masks, blocks, limits, K)

    gains = [fit[K + k] + fit[2 * K + k] - fit[k] if halves[k] is not None else -np.inf for k in range(K)]
    losses = [fit[a] + fit[b] - fit[3 * K + position] for position, (a, b) in enumerate(pairs)]
    ranked = sorted(
        (losses[p] - gains[s], s, a, b)
        for p, (a, b) in enumerate(pairs)
        for s in range(K)
        if s not in (a, b) and np.isfinite(gains[s] - losses[p])
    )
    moves: list[np.ndarray] = []
    used: dict[object, int] = {}
    for _, s, a, b in ranked:
        if len(moves) == n_moves:
            break
        if max(used.get(s, 0), used.get((a, b), 0)) >= REPEATS:
            continue
        used[s], used[a, b] = used.get(s, 0) + 1, used.get((a, b), 0) + 1
        moved = np.where(labels == b, a, labels)
        moved[halves[s]] = b
        moves.append(moved)
    return np.array(moves, dtype=np.int64).reshape(len(moves), n)


def _halves(
    features: Float[np.ndarray, "n F"], member: Bool[np.ndarray, "n"], n_features: int
) -> Bool[np.ndarray, "n"] | None:
    """Return one half of a cluster by two-means from its principal axis; None if it is too small."""
    index = np.flatnonzero(member)
    least = n_features + 2
    if index.size < 2 * least:
        return None
    x = features[index]
    centred = x - x.mean(axis=0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    high = centred @ axis > 0
    for _ in range(LLOYD_STEPS):
        if not least <= high.sum() <= index.size - least:
            return None
        up, down = x[high].mean(axis=0), x[~high].mean(axis=0)
        moved = (x - (up + down) / 2) @ (up - down) > 0
        if (moved == high).all():
            break
        high = moved
    half = np.zeros(member.size, bool)
    half[index[high]] = True
    return half


def _overlapping_pairs(responsibilities: Float[np.ndarray, "K n"], count: int) -> list[tuple[int, int]]:
    """Return the pairs of clusters that share the most ensembles, by the cosine of their responsibilities."""
    norms = np.linalg.norm(responsibilities, axis=1)
    unit = responsibilities / np.where(norms > 0, norms, 1)[:, None]
    overlap = unit @ unit.T
    first, second = np.triu_indices(len(norms), k=1)
    order = np.argsort(-overlap[first, second], kind="stable")[:count]
    return [(int(first[p]), int(second[p])) for p in order]


def _classification_likelihood(
    family: Family, masks: Bool[np.ndarray, "S n"], blocks: Moments, limits: Limits, K: int
) -> Float[np.ndarray, "S"]:
    """Return max_θ Σ_i∈mask log f(x_i; θ) + N log N for each set of ensembles, K sets at a time."""
    sets = blocks_like(blocks, masks.reshape(-1, K, masks.shape[1]))
    return np.asarray(_fits(family, np.moveaxis(sets, 1, 0), blocks, limits), np.float64).reshape(-1)


@partial(jit, static_argnums=0)
def _fits(
    family: Family, masks: Bool[Array, "S C K b"], blocks: Moments, limits: Limits
) -> Float[Array, "S K"]:
    def some(sets: Bool[Array, "C K b"]) -> Float[Array, "K"]:
        hard = sets.astype(blocks.mean.dtype)
        factors = family.factor(m_step_from_blocks(family, hard, blocks, limits))

        def one(block: Moments, own: Float[Array, "K b"]) -> tuple[Float[Array, "K"], Float[Array, "K"]]:
            weight = own * block.weights
            return (weight * family.log_density(factors, block)).sum(axis=1), weight.sum(axis=1)

        density, size = summed(one, blocks, hard)
        return density + size * jnp.log(jnp.maximum(size, 1))

    return jax.lax.map(some, masks)
