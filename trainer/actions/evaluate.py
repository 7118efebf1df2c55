"""Evaluates a held-out split periodically. The evaluation itself is in trainer/step/evaluation.py."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.actions.action import Context, Periodic, Turn
from trainer.base.errors import UsageError
from trainer.observe.report import Report


class Evaluate(Periodic):
    """Evaluates; the results go to TensorBoard's eval run, to the console and into the report.

    A stop request ends an evaluation early; it is done when the run resumes.

    Args:
      every: a period in steps; None: once per epoch. The last step is always evaluated.
      split: 'validation' or 'test'.

    Raises:
      UsageError: the data has no such split.
    """

    turn = Turn.MEASURE

    def __init__(self, context: Context, every: int | None = None, split: str = "test"):
        super().__init__(context, every)
        if split not in context.evaluator.sources:
            there = ", ".join(context.evaluator.sources) or "none"
            raise UsageError(
                f"Evaluate.split = '{split}': the data has no such split to evaluate; it has: {there}; name one of "
                f"them, or hold some of the data out"
            )
        self._split, self._done = split, 0
        self.measures = split

    @property
    def name(self) -> str:
        return f"{type(self).__name__}.{self._split}"

    def _owed(self, step: int) -> int:
        """The latest step up to `step` that should have been evaluated."""
        return step if step == self.context.total_steps else step // self.every * self.every

    def next_step(self, step: int) -> int:
        return step if self._owed(step) > self._done else super().next_step(step)

    def due(self, step: int, report: Report) -> bool:
        return self._owed(step) > self._done

    def __call__(self, report: Report) -> bool:
        with self.context.goodput.spend("evaluation"):
            results = self.context.evaluator.evaluate(self._split, self.context.attempt.should_stop)
        if results is None:
            return True
        self._done = report.step
        report.evaluation |= {f"{self._split}/{name}": value for name, value in results.items()}
        # A single split is called "eval"; several get a TensorBoard run each, so that their curves are not mixed.
        run = "eval" if len(self.context.evaluator.sources) == 1 else f"eval/{self._split}"
        self.context.summaries.scalars(run, report.step, results)
        self.context.console.evaluated(report, self._split, results)
        return False

    def state(self) -> Mapping[str, Any]:
        return {"done": self._done}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._done = int(np.asarray(state["done"]))
