"""Progress of a training: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any, Self

import numpy as np


class TrainingProgress:
    """Reports epochs, loss and log-likelihood a member while a network trains; silent if not ``enabled``.

    ``offset`` is what standard units add to a log density a member.
    """

    def __init__(self, enabled: bool, max_epochs: int, offset: float) -> None:
        self._enabled, self._max_epochs, self._offset = enabled, max_epochs, offset
        self._bar: Any = None

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        if self._enabled and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("training"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} epochs · {task.description}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("", total=self._max_epochs)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def report(self, epoch: int, record: np.ndarray) -> None:
        """Show where training is; ``record`` holds loss and log-likelihood a member and KL an ensemble."""
        if not self._enabled:
            return
        likelihood = record[1] - self._offset
        text = f"loss {record[0]:.4f}, log-likelihood {likelihood:.4f} a member, KL {max(record[2], 0):.4f}"
        if self._bar is not None:
            self._bar.update(self._task, completed=epoch, description=text)
            return
        elapsed = time.perf_counter() - self._started
        left = elapsed / epoch * (self._max_epochs - epoch)
        print(f"epoch {epoch}/{self._max_epochs}: {text}, {left:.0f} s left", file=sys.stderr)
