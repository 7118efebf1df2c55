"""Makes frozen layers trainable from a step on. Which layers those are is in trainer/step/freezing.py."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.actions.action import NEVER, Action, Context, Turn
from trainer.observe.report import Report
from trainer.step.freezing import Freeze


class Unfreeze(Action):
    """Ends a Freeze rule at its step; experiment.run makes one such action for each rule with an `until`.

    Args:
      rule: the rule to end.
    """

    turn = Turn.GUARD

    def __init__(self, context: Context, rule: Freeze):
        self._context, self._rule, self._done = context, rule, False

    @property
    def name(self) -> str:
        return f"{type(self).__name__}.{self._rule.model}.{self._rule.pattern}"

    def next_step(self, step: int) -> int:
        return NEVER if self._done or self._rule.until is None else max(step, self._rule.until)

    def due(self, step: int, report: Report) -> bool:
        return not self._done and self._rule.until is not None and step >= self._rule.until

    def __call__(self, report: Report) -> bool:
        self._end()
        self._context.console.say(f"'{self._rule.pattern}' is trained from step {report.step:,} on")
        return False

    def _end(self) -> None:
        self._done = True
        self._context.training.unfreeze(self._rule)

    def state(self) -> Mapping[str, Any]:
        return {"done": self._done}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        if state["done"]:
            self._end()
