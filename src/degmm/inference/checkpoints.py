"""Checkpoints of a training: what a killed process leaves, and a later one goes on from."""

import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from degmm.files import read_inside
from degmm.folders import write_result
from degmm.interrupts import taking_place

FIT = "fit.json"
"""Says of which training a folder holds the checkpoints"""
STATES = "states"
"""Folder of the checkpoints"""


class Checkpoints:
    """The states of one training, in a folder; without a folder, none are kept.

    Parameters
    ----------
    folder : Path or None
    every : int
        Epochs between checkpoints.
    fingerprint : str
        What the training depends on. A folder of another training is refused.

    Raises
    ------
    ValueError
        If the folder holds the checkpoints of another training, is damaged, or cannot be written.
    """

    def __init__(self, folder: Path | None, every: int, fingerprint: str) -> None:
        self.every = every
        self._folder = None if folder is None else folder.absolute()
        if self._folder is None:
            return
        head = self._folder / FIT
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(head):
                write_result(head, json.dumps({"training": fingerprint}).encode(), follow=False)
            known = json.loads(read_inside(self._folder, head))["training"]
        except OSError as error:
            raise ValueError(
                f"checkpoint: the folder {folder} cannot be used ({error.strerror or error})"
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"checkpoint: {head} is damaged; remove the folder to start anew") from error
        if known != fingerprint:
            raise ValueError(
                f"checkpoint: the folder {folder} holds a training on other data or with other settings; "
                "choose another folder, or remove it to start anew"
            )

    def epochs(self, last: int) -> set[int]:
        """Return the epochs after which a checkpoint is due."""
        return set() if self._folder is None else {*range(self.every, last, self.every), last}

    def save(self, epoch: int, state: Any) -> None:
        """Write a state; the one before is removed once it is whole."""
        leaves = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
        assert self._folder is not None
        with self._manager() as manager, taking_place(self._folder):
            manager.save(epoch, args=_orbax().args.StandardSave(leaves), force=True)
            manager.wait_until_finished()

    def latest(self, state: Any) -> Any:
        """Return the last state written, in the form of ``state``; ``state`` itself if there is none."""
        if self._folder is None:
            return state
        leaves, structure = jax.tree.flatten(state)
        blank = {str(i): np.zeros(np.shape(leaf), leaf.dtype) for i, leaf in enumerate(leaves)}
        with self._manager() as manager:
            epoch = manager.latest_step()
            if epoch is None:
                return state
            try:
                found = manager.restore(epoch, args=_orbax().args.StandardRestore(blank))
            except Exception as error:  # what a damaged file breaks is not ours to list
                raise ValueError(
                    f"checkpoint: the state of epoch {epoch} in {self._folder} cannot be read "
                    f"({type(error).__name__}); remove the folder to start anew"
                ) from error
        return jax.tree.unflatten(structure, [jax.numpy.asarray(found[str(i)]) for i in range(len(leaves))])

    def _manager(self) -> Any:
        assert self._folder is not None
        options = _orbax().CheckpointManagerOptions(max_to_keep=1)
        return _orbax().CheckpointManager(self._folder / STATES, options=options)


def _orbax() -> Any:
    import logging

    import orbax.checkpoint

    logging.getLogger("absl").setLevel(logging.ERROR)
    return orbax.checkpoint
