"""Lowers the learning rate when an evaluated value no longer improves. Evaluates nothing itself."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.actions.action import Context
from trainer.actions.monitoring import Mode, Monitoring
from trainer.base.errors import UsageError
from trainer.observe.report import Report


class ReduceOnPlateau(Monitoring):
    """Multiplies the learning rate by `factor` after `patience` evaluations in a row without improvement.

    Counting starts anew after each reduction.

    Args:
      monitor, patience, mode, min_delta: see Monitoring.
      factor: between 0 and 1.
      least: lower bound, as a share of the configured learning rate; from 0 to below 1.

    Raises:
      UsageError: an argument is out of range, or the learning rate is a schedule.
    """

    def __init__(
        self,
        context: Context,
        monitor: str = "validation/loss",
        factor: float = 0.1,
        patience: int = 3,
        mode: Mode = "auto",
        min_delta: float = 0.0,
        least: float = 0.0,
    ):
        super().__init__(context, monitor, patience, mode, min_delta)
        if not 0 < factor < 1:
            raise UsageError(f"ReduceOnPlateau.factor = {factor}: give a number between 0 and 1")
        if not 0 <= least < 1:
            raise UsageError(f"ReduceOnPlateau.least = {least}: give a number from 0 to below 1")
        self._factor, self._least, self._scale = factor, least, 1.0
        context.training.scale_learning_rate(self._scale)

    def lost_patience(self, report: Report) -> bool:
        lower = max(self._scale * self._factor, self._least)
        if lower < self._scale:
            said = self.no_improvement
            self._worse, self._scale = 0, lower
            self.context.training.scale_learning_rate(lower)
            self.context.console.say(
                f"learning rate at {lower:.3g} of what it was, from step {report.step:,} on: {said}"
            )
        return False

    def state(self) -> Mapping[str, Any]:
        return {**super().state(), "scale": self._scale}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        super().restore(state)
        self._scale = float(state["scale"])
        self.context.training.scale_learning_rate(self._scale)
