"""Names the worker that the others wait for. Ends nothing: a slow worker is not a hanging one."""

import numpy as np

from trainer.actions.action import Action, Context, Turn
from trainer.base.errors import UsageError
from trainer.observe.report import Report


class Straggler(Action):
    """Prints when one worker keeps the others waiting in the steps' collective, and when it no longer does.

    Args:
      share: a worker is slow if the others wait for it for more than this share of the training time, on average.
      seconds: training time that is judged together.

    Raises:
      UsageError: an argument is out of range.
    """

    turn = Turn.TELL

    def __init__(self, context: Context, share: float = 0.3, seconds: float = 10.0):
        if not 0 < share < 1:
            raise UsageError(f"Straggler.share = {share}: give a number between 0 and 1")
        if not seconds > 0:
            raise UsageError(f"Straggler.seconds = {seconds}: give a number above 0")
        self._share, self._period, self._console = share, seconds, context.console
        self._seconds, self._waited = 0.0, np.zeros(1)
        self._named: int | None = None

    def due(self, step: int, report: Report) -> bool:
        self._seconds += report.interval.seconds
        self._waited = self._waited + np.asarray(report.interval.collective_wait)
        return len(report.interval.collective_wait) > 1 and self._seconds >= self._period

    def __call__(self, report: Report) -> bool:
        # The wait that all have in common is the collective's own time. The slowest worker waits least.
        least = int(self._waited.argmin())
        others = np.delete(self._waited, least).mean() - self._waited[least]
        share, self._seconds, self._waited = others / self._seconds, 0.0, np.zeros(1)
        slow = least if share > self._share else None
        if slow is not None and slow != self._named:
            self._console.say(
                f"worker {slow} is slow: the others wait for it {share:.0%} of the time, at step {report.step:,}"
            )
        elif slow is None and self._named is not None:
            self._console.say(f"worker {self._named} is no longer slow, at step {report.step:,}")
        self._named = slow
        return False
