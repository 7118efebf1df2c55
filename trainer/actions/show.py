"""Shows images and texts that a task makes, periodically. What they are is up to the task's `samples`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.actions.action import NEVER, Context, Periodic
from trainer.base.errors import UsageError
from trainer.base.liveness import progressed
from trainer.observe.report import Report


class Show(Periodic):
    """Writes what the task's `samples` returns to TensorBoard, and images as PNG files to RUN_DIR/images, too.

    Does nothing if the task has no such method.

    Args:
      every: a period in steps; None: once per epoch. The last step is always shown.
      count: how many examples of the held-out data (of the training data, if there is none) the task is given.
      seed: for their random numbers; the same each time, so that the samples can be compared over time.

    Raises:
      UsageError: an argument is out of range.
    """

    def __init__(self, context: Context, every: int | None = None, count: int = 16, seed: int = 0):
        super().__init__(context, every)
        if count < 1:
            raise UsageError(f"Show.count = {count}: give a number of at least 1")
        self._count, self._seed, self._done = count, seed, 0

    def next_step(self, step: int) -> int:
        return super().next_step(step) if self.context.evaluator.has_samples else NEVER

    def due(self, step: int, report: Report) -> bool:
        return self.context.evaluator.has_samples and step > self._done and super().due(step, report)

    def __call__(self, report: Report) -> bool:
        with self.context.goodput.spend("showing"):
            samples = self.context.evaluator.samples(self._count, self._seed)
            progressed()
            self.context.summaries.samples(report.step, samples)
        self._done = report.step
        return False

    def state(self) -> Mapping[str, Any]:
        return {"done": self._done}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._done = int(state["done"])
