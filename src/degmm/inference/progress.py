"""Progress of a training: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any, Self

from degmm.wording import in_one_line

SECONDS_A_LINE = 10.0
"""Between the plain lines of work that is told of step by step"""


class TrainingProgress:
    """Reports epochs, what is said of them, and the time left; silent if not ``enabled``.

    Other work than training has a name and a unit of its own, and plain lines ``every`` so many seconds.
    """

    def __init__(
        self, enabled: bool, max_epochs: int, work: str = "training", unit: str = "epoch", every: float = 0
    ) -> None:
        self._enabled, self._max_epochs = enabled, max_epochs
        self._work, self._unit, self._every = work, unit, every
        self._bar: Any = None

    def __enter__(self) -> Self:
        self._started = self._said = time.perf_counter()
        if self._enabled and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn(self._work),
                BarColumn(),
                TextColumn(
                    f"{{task.completed}}/{{task.total}} {self._unit}s · {{task.description}}", markup=False
                ),
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

    def report(self, epoch: int, text: str) -> None:
        """Show where training is."""
        if not self._enabled:
            return
        text = in_one_line(text)
        if self._bar is not None:
            self._bar.update(self._task, completed=epoch, description=text)
            return
        now = time.perf_counter()
        if now - self._said < self._every:
            return
        self._said = now
        if epoch:
            elapsed = now - self._started
            text += f", {elapsed / epoch * (self._max_epochs - epoch):.0f} s left"
        print(f"{self._unit} {epoch}/{self._max_epochs}: {text}", file=sys.stderr)
