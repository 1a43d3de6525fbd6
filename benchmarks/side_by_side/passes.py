"""The passes over members and moments alone, beside the least that a machine needs for them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.side_by_side.worker import best
from degmm.compilation import jit
from degmm.families import make_family
from degmm.inference.mixture import into_blocks
from degmm.inference.search import EMSettings, best_run
from degmm.inference.starts import parameters_from_labels
from degmm.standard_units import standardised_moments
from degmm.precision import precision_of

ITERATIONS = 20


def figures(told: dict[str, Any]) -> dict[str, float]:
    """Return seconds of each pass, the shortest of several.

    An iteration is the difference of fits of 21 iterations and of one. The least that it needs is one
    read of the moments (their sums) and the n·K exponentials (and their sums), block by block.
    """
    X, K = np.load(told["path"]), told["K"]
    n, dtype = X.shape[0], X.dtype
    found = {"copy": best(X.copy), "moments": best(lambda: standardised_moments(X, np.ones(n)))}
    moments, _ = standardised_moments(X, np.ones(n))
    family = make_family("independent", "full")
    settings = EMSettings(
        n_components=K, n_init=1, method="k-means++", tol=0.0, max_iter=ITERATIONS + 1, reg_covar=1e-6
    )
    with precision_of(dtype):
        labels = np.argsort(np.argsort(moments.mean[0])) * K // n  # as good a start as any
        start = parameters_from_labels(family, K, labels[None], moments, settings.limits(moments))
        seconds = [
            best(lambda count=count: best_run(family, start, moments, settings, max_iter=count))
            for count in (1, 1, ITERATIONS + 1)  # the first is compiled
        ]
        found["iteration"] = (seconds[2] - seconds[1]) / ITERATIONS
        blocks = jax.tree.map(jnp.asarray, into_blocks(moments, K))
        found["read"] = best(lambda: jax.block_until_ready(_read(blocks)))
        joint = jnp.asarray(
            -np.random.default_rng(0).random((blocks.counts.shape[0], K, blocks.counts.shape[1])), dtype
        )
        found["exponentials"] = best(lambda: jax.block_until_ready(_exponentials(joint)))
    return found


@jit
def _read(blocks: Any) -> Any:
    return jax.tree.map(jnp.sum, blocks)


@jit
def _exponentials(joint: Any) -> Any:
    return jax.lax.map(lambda block: jnp.exp(block).sum(axis=1), joint)
