"""A failure that is made on purpose, to see what a run and its cluster make of it: docs/fault_tolerance.md."""

import os
import signal
import time
from typing import Literal, get_args

from trainer.actions.action import NEVER, Action, Context, Turn
from trainer.errors import UsageError

Kind = Literal["kill", "stop", "hang", "sleep", "raise", "nan", "drain"]


class Fault(Action):
    """Fails once, at the boundary after a step, before any other action of that boundary.

    Args:
      kind: kill: the process dies, as of SIGKILL.  stop: it is stopped, as by SIGSTOP.  hang: its Python code never
        returns.  sleep: it is slow, for `seconds` after each of `times` steps.  raise: an exception, as of a bug.
        nan: the gradients of the step after are NaN.  drain: it is told to leave, as by SIGTERM.
      step: after which step.
      rank: on which rank.
      attempt: in which attempt at the run, so that it does not meet the ones after it too.
      seconds, times: of sleep.
    """

    turn = Turn.GUARD

    def __init__(
        self,
        context: Context,
        kind: Kind,
        step: int,
        rank: int = 0,
        attempt: int = 1,
        seconds: float = 1.0,
        times: int = 1,
    ):
        if kind not in get_args(Kind):
            raise UsageError(f"Fault.kind = '{kind}': give one of {', '.join(get_args(Kind))}")
        for name, value, least in (("step", step, 1), ("rank", rank, 0), ("attempt", attempt, 1), ("times", times, 1)):
            if value < least:
                raise UsageError(f"Fault.{name} = {value}: give a number of at least {least}")
        if rank >= context.ranks.count:
            raise UsageError(f"Fault.rank = {rank}: there are {context.ranks.count} ranks, from 0")
        self._kind, self._first, self._seconds = kind, step, seconds
        self._last = step + times - 1 if kind == "sleep" else step
        # Boundaries are the same on all ranks; what happens at them is not.
        self._armed, self._here = attempt == context.attempt, rank == context.ranks.rank
        if kind == "nan" and self._armed and self._here:
            context.poison(step)

    def next_step(self, step: int) -> int:
        if not self._armed or step >= self._last:
            return NEVER
        return max(self._first, step + 1)

    def due(self, step: int, report) -> bool:
        # A boundary without a step of its own makes up for something else.
        return self._armed and report.steps > 0 and self._first <= step <= self._last

    def __call__(self, report) -> bool:
        if self._here:
            self._fail(report.step)
        return False

    def _fail(self, step: int) -> None:
        match self._kind:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "hang":
                while True:
                    time.sleep(1)
            case "sleep":
                time.sleep(self._seconds)
            case "raise":
                raise RuntimeError(f"raised on purpose after step {step:,}")
            case "drain":
                os.kill(os.getpid(), signal.SIGTERM)
