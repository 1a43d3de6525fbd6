"""Where mixtures are integrated over x: panels as narrow as their narrowest components there need.

Rows are the last axis here: sums over all others then run over many rows at once.
"""

from itertools import pairwise
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from degmm.arrays import Array


class Ruler(NamedTuple):
    """Marks along x, as far apart as panels that resolve the component which needs the narrowest there."""

    x: Float[Array, "X N"]
    """In rising order"""
    before: Float[Array, "X-1 N"]
    """Panels up to each x but the last"""
    between: Float[Array, "X-1 N"]
    """From there to the next"""

    @classmethod
    def of(cls, ends: Float[Array, "E K N"]) -> Self:
        """Return the ruler of mixtures, from where each component's own panels part, in rising order."""
        x = jnp.sort(ends.reshape(-1, ends.shape[2]), axis=0)
        middle = (x[1:] + x[:-1]) / 2

        def denser(most: Any, own: Any) -> Any:
            """Take in one component: the panels it needs in a unit of x, by the width of its own there."""
            inverse = 1 / jnp.maximum(own[1:] - own[:-1], jnp.finfo(x.dtype).tiny)
            density = jnp.zeros_like(middle)
            for low, high, value in zip(own[:-1], own[1:], inverse, strict=True):
                density = jnp.where((middle >= low) & (middle < high), value, density)
            return jnp.maximum(most, density), None

        density, _ = jax.lax.scan(denser, jnp.zeros_like(middle), ends.swapaxes(0, 1))
        between = density * (x[1:] - x[:-1])
        return cls(x, jnp.cumsum(between, axis=0) - between, between)

    @property
    def length(self) -> Float[Array, "N"]:
        """Panels of each mixture: as many as those of one component, if all are alike."""
        return self.before[-1] + self.between[-1]

    def at(self, share: Any) -> Float[Array, "N"]:
        """Return the x up to which this share of the panels lies."""
        inverse = 1 / jnp.maximum(self.between, jnp.finfo(self.x.dtype).tiny)
        part = jnp.clip((share * self.length - self.before) * inverse, 0, 1)
        return self.x[0] + (part * (self.x[1:] - self.x[:-1])).sum(axis=0)


def shared_bounds(ends: Float[Array, "E K N"], count: int) -> Float[Array, "C+1 N"]:
    """Return the bounds of panels that each hold as much of all components' own panels as any other.

    So that few panels serve all components, as well as may be, and nothing has to be sorted.
    """
    x = ends.reshape(-1, ends.shape[2])
    crossed = sum(_crossed(x, ends[:, k]) for k in range(ends.shape[1]))
    low, high = x.min(axis=0), x.max(axis=0)
    total = crossed.max(axis=0)
    bounds = [low]
    for j in range(1, count):
        level = total * (j / count)
        below = crossed <= level
        left, right = jnp.where(below, x, low).max(axis=0), jnp.where(below, high, x).min(axis=0)
        at_left = jnp.where(below, crossed, 0).max(axis=0)
        at_right = jnp.where(below, total, crossed).min(axis=0)
        part = (level - at_left) / jnp.maximum(at_right - at_left, jnp.finfo(x.dtype).tiny)
        bounds.append(left + jnp.clip(part, 0, 1) * (right - left))
    return jnp.stack([*bounds, high])


def nodes_in(
    bounds: Float[Array, "C+1 N"], n_nodes: int
) -> tuple[Float[Array, "C G N"], Float[Array, "C G N"]]:
    """Return nodes and masses of Gauss and Legendre's rule in each panel."""
    at, masses = np.polynomial.legendre.leggauss(n_nodes)
    half = (bounds[1:] - bounds[:-1])[:, None] / 2
    nodes = bounds[:-1, None] + half * (1 + jnp.asarray(at, bounds.dtype))[:, None]
    return nodes, half * jnp.asarray(masses, bounds.dtype)[:, None]


def _crossed(x: Float[Array, "X N"], ends: Float[Array, "E N"]) -> Float[Array, "X N"]:
    """Return how many of a component's own panels lie below x, parts of one in proportion."""
    total = jnp.zeros_like(x)
    for low, high in pairwise(ends):
        inverse = 1 / jnp.maximum(high - low, jnp.finfo(x.dtype).tiny)
        total = total + jnp.clip((x - low) * inverse, 0, 1)
    return total
