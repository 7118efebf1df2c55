"""Ends the run when an evaluated value no longer improves. Evaluates nothing itself."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.actions.action import Context
from trainer.actions.monitoring import Mode, Monitoring
from trainer.observe.report import Report

_WEIGHTS, _EVALUATION = "weights/", "evaluation/"


class EarlyStopping(Monitoring):
    """Ends the run after `patience` evaluations in a row without improvement; for the other arguments see Monitoring.

    Args:
      restore_best: whether the run ends, however long it took, with the weights and moving statistics of the best
        evaluation, and reports that evaluation. Checkpoints hold these weights beside the current ones.
    """

    def __init__(
        self,
        context: Context,
        monitor: str = "validation/loss",
        patience: int = 3,
        mode: Mode = "auto",
        min_delta: float = 0.0,
        restore_best: bool = False,
    ):
        super().__init__(context, monitor, patience, mode, min_delta)
        self._restore_best = restore_best
        self._weights: dict[str, np.ndarray] = {}
        self._evaluation: dict[str, float] = {}
        self._best_step = 0

    @property
    def name(self) -> str:
        # A resume with another monitor or mode starts with a fresh state: their best values cannot be compared.
        return f"{type(self).__name__}.{self.monitors}.{self.mode}"

    def due(self, step: int, report: Report) -> bool:
        return super().due(step, report) or (bool(self._weights) and step >= self.context.total_steps)

    def __call__(self, report: Report) -> bool:
        ends = super().due(report.step, report) and super().__call__(report)
        if self._weights and (ends or report.step >= self.context.total_steps) and self._best_step < report.step:
            self.context.training.set_weights(self._weights)
            report.final |= self._evaluation
            self.context.console.say(
                f"the weights are those of step {self._best_step:,} again, whose {self.monitors} of "
                f"{self._sign * self._best:.4g} was the best"
            )
        return ends

    def improved(self, report: Report) -> None:
        if self._restore_best:
            self._weights, self._evaluation = self.context.training.weights(), dict(report.evaluation)
            self._best_step = report.step

    def lost_patience(self, report: Report) -> bool:
        self.context.console.say(f"stopping early: {self.no_improvement}")
        self._worse = 0  # a run that is made longer has its patience anew
        return True

    def state(self) -> Mapping[str, Any]:
        best: dict[str, Any] = {f"{_WEIGHTS}{name}": value for name, value in self._weights.items()}
        best |= {f"{_EVALUATION}{name}": value for name, value in self._evaluation.items()}
        return {**super().state(), **best, **({"best_step": self._best_step} if best else {})}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        super().restore(state)
        if self._restore_best:
            self._weights, evaluation = (
                {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
                for prefix in (_WEIGHTS, _EVALUATION)
            )
            self._evaluation = {name: float(value) for name, value in evaluation.items()}
            self._best_step = int(state.get("best_step", 0))
