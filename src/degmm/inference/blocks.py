"""Ensembles laid out in blocks, along a new first axis, that a pass goes through one after the other.

What a pass makes of a block stays in a processor's cache. Numbers of blocks are filled up to one of two sizes
an octave, so that fits of different n share programs; the blocks added are never gone through, and take no
memory that is written to.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Int

from degmm.arrays import Array
from degmm.moments import Moments, aligned, bucket
from degmm.scatter import Deviations, Scatter

BLOCK_VALUES = 2**19
"""A pass makes about this many numbers of a block …"""
BLOCK_RANGE = (128, 1024)
"""… which has so many ensembles at least, and at most."""
SHORT = 4096
"""Up to so many ensembles blocks are half as long, so that the last one leaves less room."""
SMALLEST = 16
"""Fewest ensembles in a block."""


def two_steps(n: int) -> int:
    """Return n rounded up to 1, 2, 3, 4, 6, 8, 12, 16, …: two sizes an octave."""
    octave = 2 ** max(int(n - 1).bit_length() - 1, 0)
    return octave if n <= octave else octave * 3 // 2 if 2 * n <= 3 * octave else 2 * octave


def values_of_a_pass(n_features: int, n_components: int, form: type[Scatter], size: int) -> int:
    """Return how many numbers a pass makes, or reads, of an ensemble whose scatter takes ``size``."""
    return max(n_components * (n_features + (size if form is Deviations else 0)), size)


def block_shape(n: int, values: int, parts: int = 1) -> tuple[int, int]:
    """Return into how many blocks, a multiple of ``parts``, of how many ensembles n are laid out.

    Parameters
    ----------
    n : int
    values : int
        Of an ensemble, as :func:`values_of_a_pass` has it.
    parts : int
        Number of devices that share the blocks out.
    """
    low, high = BLOCK_RANGE
    size = int(np.clip(2 ** int(np.log2(BLOCK_VALUES / values + 1)), low, high))
    if n <= SHORT * parts:
        size = min(size, high // 2)
    if parts == 1:
        if n <= 2 * size:  # one block
            return 1, max(two_steps(n), SMALLEST)
        return two_steps(-(-n // size)), size
    count = parts * bucket(-(-n // (size * parts)), smallest=1)
    return count, bucket(-(-n // count))  # every device goes through all of its blocks


def into_blocks(moments: Moments, n_components: int, parts: int = 1) -> Moments:
    """Lay moments out as blocks along a new first axis, filled up with ensembles of weight 0.

    Their number is a multiple of ``parts``, for as many devices. They are JAX's arrays, which compiled
    functions do not copy.
    """
    values = values_of_a_pass(
        moments.n_features, n_components, type(moments.scatter), moments.scatter.values.shape[0]
    )
    shape = block_shape(moments.n_samples, values, parts)
    counts = np.full(shape, np.asarray(moments.counts)[0])
    counts.reshape(-1)[: moments.n_samples] = moments.counts
    rest = [jax.tree.map(lambda part: laid_out(np.asarray(part), shape), part) for part in moments[1:]]
    return jax.device_put(Moments(counts, *rest))


def blocks_like(blocks: Moments, part: Any) -> np.ndarray:
    """Return an array with the ensembles along its last axis, laid out as others are."""
    return laid_out(np.asarray(part), blocks.counts.shape)


def laid_out(part: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return an array (…, n) as blocks (C, …, b), filled up with 0."""
    count, size = shape
    n = part.shape[-1]
    if count == 1 and n == size:
        return part[None]
    out = aligned((count, *part.shape[:-1], size), part.dtype, zeros=True)
    whole = n // size
    out[:whole] = np.moveaxis(part[..., : whole * size].reshape(*part.shape[:-1], whole, size), -2, 0)
    if whole * size < n:
        out[whole, ..., : n - whole * size] = part[..., whole * size :]
    return out


def out_of_blocks(blocks: Any, n: int) -> np.ndarray:
    """Return an array (…, n) from blocks (C, …, b)."""
    blocks = np.asarray(blocks)
    if len(blocks) == 1:
        return blocks[0, ..., :n]
    blocks = np.moveaxis(blocks[: -(-n // blocks.shape[-1])], 0, -2)
    return blocks.reshape(*blocks.shape[:-2], -1)[..., :n]


def summed(function: Callable[..., Any], blocks: Moments, *others: Any) -> Any:
    """Return the sum, a tree, of what a function makes of each block and its part of ``others``."""
    first = jax.tree.map(lambda part: part[0], (blocks, *others))
    if blocks.counts.shape[0] == 1:
        return function(*first)
    # 0 of the data, which is to each device its own
    zero = 0 * blocks.weights[0, 0]
    start = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype) + zero.astype(leaf.dtype),
        jax.eval_shape(function, *first),
    )

    def step(i: Int[Array, ""], sums: Any) -> Any:
        return jax.tree.map(jnp.add, sums, function(*_block(i, (blocks, *others))))

    return lax.fori_loop(0, _used(blocks), step, start)


def block_by_block(function: Callable[..., Any], blocks: Moments, *others: Any) -> Any:
    """Return what a function makes of each block and its part of ``others``, along a first axis."""
    first = jax.tree.map(lambda part: part[0], (blocks, *others))
    if blocks.counts.shape[0] == 1:
        return jax.tree.map(lambda part: part[None], function(*first))
    start = jax.tree.map(
        lambda leaf: jnp.zeros((blocks.counts.shape[0], *leaf.shape), leaf.dtype),
        jax.eval_shape(function, *first),
    )

    def step(i: Int[Array, ""], found: Any) -> Any:
        made = function(*_block(i, (blocks, *others)))
        return jax.tree.map(lambda all_, one: all_.at[i].set(one), found, made)

    return lax.fori_loop(0, _used(blocks), step, start)


def _block(i: Int[Array, ""], blocks: Any) -> Any:
    return jax.tree.map(lambda part: lax.dynamic_index_in_dim(part, i, keepdims=False), blocks)


def _used(blocks: Moments) -> Int[Array, ""]:
    """Return how many blocks there are up to the last with an ensemble of a weight above 0."""
    some = (blocks.weights > 0).any(axis=1)
    return jnp.max(jnp.where(some, jnp.arange(1, len(some) + 1), 0)).astype(jnp.int32)
