"""A failure on purpose, to see how a run and its cluster recover from it: docs/fault_tolerance.md. Recovers nothing."""

import os
import signal
import time
from typing import Literal, get_args

from trainer.actions.action import NEVER, Action, Context, Turn
from trainer.base.errors import UsageError
from trainer.observe.report import Report

Kind = Literal["kill", "stop", "hang", "sleep", "raise", "nan", "drain"]


class Fault(Action):
    """Fails once, at the boundary after a step, before any other action of that boundary.

    Args:
      kind: kill: the process gets SIGKILL.  stop: it gets SIGSTOP.  hang: its Python code never returns.  sleep: it
        sleeps for `seconds` after each of `times` steps.  raise: an exception, as a bug would raise it.  nan: the
        gradients of the next step are NaN.  drain: it gets SIGTERM, as when a node is drained.
      step: after which step.
      rank: on which rank.
      attempt: in which attempt at the run; later attempts are left alone.
      seconds, times: for sleep.

    Raises:
      UsageError: an argument is out of range.
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
        if rank >= context.attempt.ranks.count:
            raise UsageError(f"Fault.rank = {rank}: there are {context.attempt.ranks.count} ranks, from 0")
        if step > context.total_steps:
            raise UsageError(f"Fault.step = {step:,}: the run has {context.total_steps:,} steps; give one of them")
        self._kind, self._first, self._seconds = kind, step, seconds
        self._last = step + times - 1 if kind == "sleep" else step
        # All ranks must have the same boundaries, so `next_step` and `due` do not look at the rank.
        self._armed, self._here = attempt == context.attempt.number, rank == context.attempt.ranks.rank
        if kind == "nan" and self._armed and self._here:
            context.training.inject_nan(step)

    def next_step(self, step: int) -> int:
        if not self._armed or step >= self._last:
            return NEVER
        return max(self._first, step + 1)

    def due(self, step: int, report: Report) -> bool:
        # A boundary without steps only repeats an interrupted action.
        return self._armed and report.interval.steps > 0 and self._first <= step <= self._last

    def __call__(self, report: Report) -> bool:
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
