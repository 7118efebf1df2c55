"""Saves the run's state every so many steps."""

from trainer.actions.action import Context, Periodic, Turn


class Checkpoint(Periodic):
    """Saves.

    A save that failed in the background is told of at the next boundary, and ends the run.

    Args:
      every: a period in steps; None: once an epoch. The end of the run, for whatever reason, is always saved.
    """

    turn = Turn.KEEP

    def __init__(self, context: Context, every: int | None = None):
        super().__init__(context, every)

    def due(self, step: int, report) -> bool:
        return super().due(step, report) or self.context.save_failed()

    def __call__(self, report) -> bool:
        self.context.save(report.step)
        return False
