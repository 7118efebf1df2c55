"""Shows what a task has to look at: images and texts that it makes now and then."""

from trainer.actions.action import NEVER, Context, Periodic
from trainer.errors import UsageError


class Show(Periodic):
    """Writes what the task's `samples` returns to TensorBoard, images as PNG files to RUN_DIR/images too.

    Does nothing where the task has no such method.

    Args:
      every: a period in steps; None: once an epoch. The last step is always shown.
      count: how many examples of the held-out data (of the training data, if there is none) the task is given.
      seed: of what is random about them; the same each time, so that one sees how the same thing changes.
    """

    def __init__(self, context: Context, every: int | None = None, count: int = 16, seed: int = 0):
        super().__init__(context, every)
        if count < 1:
            raise UsageError(f"Show.count = {count}: give a number of at least 1")
        self._count, self._seed, self._done = count, seed, 0

    def next_step(self, step: int) -> int:
        return super().next_step(step) if self.context.evaluator.has_samples else NEVER

    def due(self, step: int, report) -> bool:
        return self.context.evaluator.has_samples and step > self._done and super().due(step, report)

    def __call__(self, report) -> bool:
        with self.context.ledger.spend("showing"):
            self.context.summaries.samples(report.step, self.context.evaluator.samples(self._count, self._seed))
        self._done = report.step
        return False

    def state(self):
        return {"done": self._done}

    def restore(self, state):
        self._done = int(state["done"])
