"""What follows when an attempt at a run has ended: another one, or the end. A decision; starts nothing."""

import enum
from collections.abc import Mapping
from typing import NamedTuple

from launch.board import Outcome
from trainer.errors import UsageError
from trainer.requests import Reason

_LONGEST_WAIT = 60.0


class Next(enum.Enum):
    AGAIN = "again"
    END = "end"


class Decision(NamedTuple):
    """after: seconds to wait before another attempt.  why: for a person; empty if the run has simply ended."""

    next: Next
    after: float
    why: str


class Attempts:
    """Decides, within budgets that are spent over the whole command.

    With how many workers an attempt starts is not decided here: with all that there is room for.

    Args:
      crashes: how often a group that lost workers is made up for; hangs, which are ended by killing, count too.
      preemptions: how often a worker may be told to leave; -1: as often as it happens.
      at_one_step: how many deaths in a row with no checkpoint in between mean that a further attempt would die too.
    """

    def __init__(self, crashes: int = 100, preemptions: int = -1, at_one_step: int = 5):
        for name, value, least in (
            ("crashes", crashes, 0), ("preemptions", preemptions, -1), ("at_one_step", at_one_step, 1),
        ):  # fmt: skip
            if value < least:
                raise UsageError(f"Attempts.{name} = {value}: give a number of at least {least}")
        self._crashes, self._preemptions, self._at_one_step = crashes, preemptions, at_one_step
        self._saved, self._in_a_row = -1, 0

    def ended(self, outcomes: Mapping[int, Outcome], saved: int) -> Decision:
        """After all workers of an attempt have returned.

        outcomes: by rank.  saved: the step of the newest checkpoint, -1 if there is none.
        """
        self._count(saved)
        status = max((outcome.status for outcome in outcomes.values()), default=0)
        if status not in (Reason.RESIZE, Reason.LEAVE):
            return Decision(Next.END, 0, "")
        if status == Reason.LEAVE:
            if self._preemptions == 0:
                return Decision(Next.END, 0, "Attempts.preemptions is spent")
            self._preemptions -= self._preemptions > 0
        # Where workers come and go before anything is done, to start at once would be to do nothing else.
        after = 0.0 if self._in_a_row < 2 else min(_LONGEST_WAIT, 2.0**self._in_a_row)
        return Decision(Next.AGAIN, after, Reason(status).words)

    def died(self, saved: int) -> Decision:
        """After workers have died; Ray starts the next attempt at once. saved: as for `ended`."""
        self._count(saved)
        if self._in_a_row > self._at_one_step:
            return Decision(
                Next.END,
                0,
                f"{self._in_a_row} attempts in a row died before they saved anything (Attempts.at_one_step)",
            )
        if self._crashes == 0:
            return Decision(Next.END, 0, "Attempts.crashes is spent")
        self._crashes -= 1
        return Decision(Next.AGAIN, 0, "")

    def _count(self, saved: int) -> None:
        self._in_a_row = self._in_a_row + 1 if saved == self._saved else 1
        self._saved = saved
