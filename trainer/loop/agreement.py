"""Finds out when the actions of two ranks do not agree, before one of them waits for ever for the other.

Actions answer the same on all ranks if they are functions of the step, the report and their own state. One that asks a
clock, a disk or its rank may not be. Its ranks would then enter different collectives, which hang or fail obscurely.
"""

from collections.abc import Sequence

import numpy as np

from trainer.actions.action import Action, Turn
from trainer.base.errors import TrainingError
from trainer.distributed.ranks import Ranks

_NONE = -1


class Agreement:
    """Compares what the ranks are about to do. Its methods are collectives, of one and the same shape.

    Args:
      ranks: the processes that train together.
      actions: in the order in which they act.
    """

    def __init__(self, ranks: Ranks, actions: Sequence[Action]):
        self._ranks, self._actions = ranks, actions
        self._ended_by = _NONE

    def before(self, index: int, step: int) -> None:
        """An action is about to act. One that only tells enters no collectives, and is not asked.

        Raises:
          TrainingError: it does not on other ranks, or another action has ended the run on some of them.
        """
        if self._actions[index].turn != Turn.TELL:
            self._require(step, [index, self._ended_by, 0, _NONE])

    def after(self, index: int, ends: bool) -> None:
        """An action has acted, and said whether the run ends. No collective."""
        if ends and self._ended_by == _NONE:
            self._ended_by = index

    def at_boundary(self, step: int, due: Sequence[int]) -> None:
        """All actions that are due at a step have acted; due: the next step of each.

        Raises:
          TrainingError: ranks do not agree.
        """
        index = int(np.argmin(due)) if due else _NONE
        self._require(step, [len(self._actions), self._ended_by, due[index] if due else 0, index])

    def _require(self, step: int, row: Sequence[int]) -> None:
        if self._ranks.count == 1:
            return
        acts, ended_by, due, whose = self._ranks.gather(row).T
        if (acts != acts[0]).any():
            raise self._error(int(acts.min()), "due", f"acts at step {step:,}", acts == acts.min())
        if (ended_by != ended_by[0]).any():
            first = int(ended_by[ended_by != _NONE].min())
            raise self._error(first, "answer", f"ends the run at step {step:,}", ended_by == first)
        if (due != due[0]).any():
            said = "next_step", f"wants to act at step {due.min():,.0f}, after step {step:,},"
            raise self._error(int(whose[due.argmin()]), *said, due == due.min())

    def _error(self, index: int, method: str, does: str, there: np.ndarray) -> TrainingError:
        here, elsewhere = (", ".join(map(str, np.flatnonzero(mask))) for mask in (there, ~there))
        return TrainingError(
            f"the action {self._actions[index].name} {does} on rank {here} and not on rank {elsewhere}: its {method} "
            f"must be the same on all ranks, a function of the step and of the report alone"
        )
