"""Saves the run's state periodically. What is saved, and how, is in trainer/modes/state.py and trainer/rundir."""

from trainer.actions.action import Context, Periodic, Turn
from trainer.observe.report import Report


class Checkpoint(Periodic):
    """Saves in the background.

    A save that failed raises its TrainingError at the next boundary, which ends the run.

    Args:
      every: a period in steps; None: once per epoch. The end of the run, for whatever reason, is always saved.
    """

    turn = Turn.KEEP

    def __init__(self, context: Context, every: int | None = None):
        super().__init__(context, every)

    def due(self, step: int, report: Report) -> bool:
        return super().due(step, report) or report.save_failed

    def __call__(self, report: Report) -> bool:
        self.context.attempt.save(report.step)
        return False
