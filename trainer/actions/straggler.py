"""Names the worker that the others wait for: slow, but moving, so nobody ends it."""

import numpy as np

from trainer.actions.action import Action, Context, Turn
from trainer.errors import UsageError


class Straggler(Action):
    """Tells when one worker keeps the others waiting in the collective of the steps; and when it no longer does.

    Args:
      share: of the training time that the others wait for it, on average.
      seconds: of training that are judged together.
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

    def due(self, step: int, report) -> bool:
        self._seconds += report.seconds
        self._waited = self._waited + np.asarray(report.held_up)
        return len(report.held_up) > 1 and self._seconds >= self._period

    def __call__(self, report) -> bool:
        # What all wait alike is the collective's own time.
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
