"""The base of actions that act when an evaluated value no longer improves. Evaluates nothing itself."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from trainer.actions.action import Action, Context
from trainer.base.errors import UsageError
from trainer.observe.report import Report

Mode = Literal["auto", "min", "max"]


class Monitoring(Action):
    """Counts evaluations in a row without improvement on the best so far. Subclasses act in `lost_patience`.

    A value that is NaN is no improvement.

    Args:
      monitor: '<split>/<name>', as an Evaluate action reports it.
      patience: after this many evaluations in a row without improvement, `lost_patience` is called.
      mode: whether a smaller ('min') or larger ('max') value is better; 'auto': as losses and Keras's metrics are by
        what they are.
      min_delta: a change must exceed this to count as an improvement.

    Raises:
      UsageError: an argument is out of range, there is no such value, or 'auto' does not know it.
    """

    monitors: str

    def __init__(self, context: Context, monitor: str, patience: int, mode: Mode, min_delta: float):
        name = type(self).__name__
        if mode not in ("auto", "min", "max"):
            raise UsageError(f"{name}.mode = '{mode}': give 'auto', 'min' or 'max'")
        if patience < 1:
            raise UsageError(f"{name}.patience = {patience}: give a number of at least 1")
        if min_delta < 0:
            raise UsageError(f"{name}.min_delta = {min_delta}: give a number from 0 on")
        there = [f"{split}/{each}" for split in context.evaluator.sources for each in context.evaluator.names(split)]
        if monitor not in there:
            raise UsageError(f"{name}.monitor = '{monitor}': no such value is evaluated; there are: {', '.join(there)}")
        value = monitor.partition("/")[2]
        is_loss = value in [objective.name for objective in context.training.parts.objectives]
        known = "min" if is_loss else context.evaluator.better(value)
        if mode == "auto" and known is None:
            raise UsageError(
                f"{name}.mode = 'auto': whether a larger '{monitor}' is better is not known: give 'min' or 'max'"
            )
        self.mode = known if mode == "auto" else mode
        self.context, self.monitors, self._patience, self._delta = context, monitor, patience, min_delta
        self._sign = 1.0 if self.mode == "min" else -1.0
        self._best, self._worse, self._latest = math.inf, 0, math.nan

    def due(self, step: int, report: Report) -> bool:
        return self.monitors in report.evaluation

    def __call__(self, report: Report) -> bool:
        self._latest = report.evaluation[self.monitors]
        value = self._sign * self._latest
        if value < self._best - self._delta:
            self._best, self._worse = value, 0
            self.improved(report)
            return False
        self._worse += 1
        return self._worse >= self._patience and self.lost_patience(report)

    def improved(self, report: Report) -> None:
        """Called when the value is the best so far."""

    def lost_patience(self, report: Report) -> bool:
        """Acts; returns whether the run should end here."""
        raise NotImplementedError

    @property
    def no_improvement(self) -> str:
        """What the last evaluations have in common, in words."""
        if math.isnan(self._latest):
            said = "is not a number (NaN)"
        elif math.isinf(self._best):
            said = "was never a number"
        else:
            said = f"has not improved on {self._sign * self._best:.4g}"
        return f"{self.monitors} {said} for {self._worse} evaluation{'s' if self._worse > 1 else ''}"

    def state(self) -> Mapping[str, Any]:
        return {"best": self._best, "worse": self._worse}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._best, self._worse = float(np.asarray(state["best"])), int(np.asarray(state["worse"]))
