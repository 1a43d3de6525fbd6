"""How the ensembles of a training reach it: as one batch, or in batches."""

from typing import Any

import numpy as np
from jaxtyping import Int

from degmm.families.base import Family, MixtureParameters
from degmm.inference.batches import Ensembles, stacked
from degmm.inference.deep import Sets
from degmm.inference.mixture import evaluate
from degmm.moments import bucket
from degmm.processes import Places, total
from degmm.sharding import n_local, n_processes

CHUNK_BATCHES = 64
"""Batches that are handed to the compiled training at a time, at most."""
CHUNK_VALUES = 2**22
"""Numbers in them, about."""


class Feed:
    """Hands the ensembles to the training: all as one batch, or batches in a new order each epoch."""

    def __init__(
        self,
        family: Family,
        views: list[Ensembles],
        validation: Ensembles | None,
        start: MixtureParameters,
        batch_size: int | None,
        seed: int,
    ) -> None:
        whole = views[0]
        self._views, self._seed = views, seed
        found = [evaluate(family, start, view.moments) for view in views]
        self._targets = [target for _, target in found]
        own = float(np.asarray(found[0][0], np.float64) @ whole.moments.weights)
        self.start_log_likelihood = total(own)
        """Of the clusters that the training starts from"""
        self._places = Places.of(whole.n_samples)
        self.n_samples = self._places.total
        """Number of ensembles, of all processes"""
        self._size = None if batch_size is None or batch_size >= self.n_samples else batch_size
        self.epoch_steps = 1 if self._size is None else -(-self.n_samples // self._size)
        self.batch_samples = self.n_samples if self._size is None else self._size
        self._filled = 0
        self._validation = None
        if validation is not None:
            self._validation = validation.batch(evaluate(family, start, validation.moments)[1])
        self._whole = self._sets([np.arange(whole.n_samples)]) if self._size is None else None

    def between(self, step: int, stop: int) -> tuple[Sets, int]:
        """Return batches from a step on, and the step up to which they last, ``stop`` at most."""
        if self._whole is not None:
            return self._whole, stop
        epoch, first = divmod(step, self.epoch_steps)
        size = self._size
        assert size is not None
        order = np.random.default_rng((self._seed, epoch)).permutation(self.n_samples)
        order = np.resize(order, self.epoch_steps * size).reshape(self.epoch_steps, size)
        self._filled = max(self._filled, self._filled_size(order))
        # The training takes batch ``step % length`` of a chunk: chunks are aligned to that.
        fitting = max(CHUNK_VALUES // (size * self._views[0].width), 2)
        length = min(CHUNK_BATCHES, fitting, self.epoch_steps)
        chunk = first // length
        index = order[chunk * length : (chunk + 1) * length]
        index = np.resize(index, (length, size))
        places = (np.arange(length) - (epoch * self.epoch_steps + chunk * length)) % length
        last = min((chunk + 1) * length, self.epoch_steps) + epoch * self.epoch_steps
        return self._sets([self._places.own(batch) for batch in index[places]]), min(last, stop)

    def _filled_size(self, batches: Int[np.ndarray, "steps size"]) -> int:
        """Return what this process's part of each batch is filled up to, even over its devices."""
        size = batches.shape[1]
        if n_processes() > 1:  # of unequal parts; few shapes, hence few compilations
            size = bucket(self._places.most(batches))
        return -(-size // n_local()) * n_local()

    def _sets(self, indices: list[Int[np.ndarray, "b"]]) -> Sets:
        size = self._filled or None

        def batches(view: Ensembles, target: np.ndarray) -> Any:
            return stacked([view.take(i).batch(target[:, i], size) for i in indices])

        made = [batches(*pair) for pair in zip(self._views, self._targets, strict=True)]
        subsets = stacked(made[1:]) if len(made) > 1 else None
        return Sets(made[0], subsets, self._validation)
