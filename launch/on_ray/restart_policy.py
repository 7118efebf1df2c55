"""The restart policy: whether another attempt follows when one has ended. Only the decision; starts nothing."""

import enum
from collections.abc import Mapping
from typing import NamedTuple

from launch.on_ray.status_board import TROUBLE, Outcome
from trainer.base.errors import TrainingError, UsageError
from trainer.lifecycle.stop_requests import StopReason

_LONGEST_WAIT = 60.0


class Next(enum.Enum):
    """What follows an attempt: another one, or the end of the run."""

    AGAIN = "again"
    END = "end"


class Decision(NamedTuple):
    """after: seconds to wait before another attempt.  why: for the user; empty if the run has simply ended."""

    next: Next
    after: float
    why: str


class RestartPolicy:
    """Decides by budgets that last for the whole command.

    Does not decide how many workers an attempt has: as many as there is room for.

    Args:
      crashes: how often a group that lost workers is started again; hangs, which are ended by killing, count, too, and
        trouble of disks and networks that may pass. Each checkpoint after a death gives one back.
      preemptions: how often workers may be told to leave; -1: any number of times.
      without_progress: more deaths in a row than this, with no checkpoint in between, end the run.

    Raises:
      UsageError: a value is out of range.
    """

    def __init__(self, crashes: int = 100, preemptions: int = -1, without_progress: int = 5):
        for name, value, least in (
            ("crashes", crashes, 0), ("preemptions", preemptions, -1), ("without_progress", without_progress, 1),
        ):  # fmt: skip
            if value < least:
                raise UsageError(f"RestartPolicy.{name} = {value}: give a number of at least {least}")
        self._crashes, self._preemptions, self._without_progress = crashes, preemptions, without_progress
        self._most_crashes, self._saved, self._in_a_row = crashes, -1, 0

    def ended(self, outcomes: Mapping[int, Outcome], saved: int) -> Decision:
        """Decides after all workers of an attempt have returned.

        outcomes: by rank.  saved: the step of the newest checkpoint, -1 if there is none.
        """
        failed = [outcome for outcome in outcomes.values() if 0 < outcome.status < StopReason.RESIZE]
        if failed and all(outcome.status == TROUBLE for outcome in failed):
            decision = self.died(saved, failed[0].message)
            return decision._replace(
                after=min(_LONGEST_WAIT, 2.0**self._in_a_row), why=decision.why or failed[0].message
            )
        self._count(saved)
        status = 0 if failed else max((outcome.status for outcome in outcomes.values()), default=0)
        if status not in (StopReason.RESIZE, StopReason.LEAVE):
            return Decision(Next.END, 0, "")
        if status == StopReason.LEAVE:
            if self._preemptions == 0:
                return Decision(Next.END, 0, "RestartPolicy.preemptions is spent")
            self._preemptions -= self._preemptions > 0
        # Back off if workers come and go before anything is saved: starting would be all that the run does.
        after = 0.0 if self._in_a_row < 2 else min(_LONGEST_WAIT, 2.0**self._in_a_row)
        return Decision(Next.AGAIN, after, StopReason(status).words)

    def died(self, saved: int, how: str) -> Decision:
        """Decides after workers have died; Ray starts the next attempt at once.

        Args:
          saved: as in `ended`.
          how: in words, for the user.
        """
        self._count(saved)
        if self._in_a_row > self._without_progress:
            return Decision(
                Next.END,
                0,
                f"{self._in_a_row} attempts in a row died before they saved anything, the last one so: {how} "
                f"(RestartPolicy.without_progress)",
            )
        if self._crashes == 0:
            return Decision(Next.END, 0, f"RestartPolicy.crashes is spent; the last: {how}")
        self._crashes -= 1
        return Decision(Next.AGAIN, 0, "")

    def _count(self, saved: int) -> None:
        if saved > self._saved:
            self._crashes = min(self._most_crashes, self._crashes + 1)
        self._in_a_row = self._in_a_row + 1 if saved == self._saved else 1
        self._saved = saved


def exit_status(outcomes: Mapping[int, Outcome], why: str) -> int:
    """Returns the exit status of the command after the last attempt.

    Args:
      outcomes: by rank, in the order in which they were reported.
      why: why the restart policy ended the run; empty if it simply ended.

    Raises:
      UsageError: workers found configuration or input to be wrong.
      TrainingError: a worker failed, or there may be no further attempt.
    """
    failed = {rank: outcome for rank, outcome in outcomes.items() if 0 < outcome.status < StopReason.RESIZE}
    if why and all(outcome.status == TROUBLE for outcome in failed.values()):
        failed = {}  # `why` says it
    if failed:
        rank, outcome = next(iter(failed.items()))  # the others may have failed because of this one
        whose = f"worker {rank}: " if len(failed) < len(outcomes) else ""
        error = UsageError if outcome.status == 2 else TrainingError
        raise error(f"{whose}{(outcome.trace or outcome.message).strip()}")
    if not outcomes and not why:
        why = "Ray ended the workers without a reason (logs/driver.log may have it)"
    if why:
        raise TrainingError(f"the run ended: {why}; run the same command to continue from the last checkpoint")
    return max(outcome.status for outcome in outcomes.values())
