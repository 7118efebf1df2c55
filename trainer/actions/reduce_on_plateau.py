"""Lowers the learning rate when a metric no longer improves."""

import math

from trainer.actions.action import Action, Context
from trainer.actions.early_stopping import require_evaluated
from trainer.errors import UsageError


class ReduceOnPlateau(Action):
    """Multiplies the learning rate by `factor` after `patience` evaluations in a row that were no better than the best.

    Args:
      monitor: '<split>/<name>', as an Evaluate action reports it.
      factor: between 0 and 1.
      patience: how many evaluations may pass without improvement; they are counted anew after each reduction.
      mode: whether a smaller ('min') or larger ('max') value is better.
      min_delta: how much better counts as better.
      least: of the configured rate, the share below which it is not lowered.

    Raises:
      UsageError: an argument is out of range; or the learning rate is a schedule, which lowers itself.
    """

    def __init__(
        self,
        context: Context,
        monitor: str = "validation/loss",
        factor: float = 0.1,
        patience: int = 3,
        mode: str = "min",
        min_delta: float = 0.0,
        least: float = 0.0,
    ):
        if mode not in ("min", "max"):
            raise UsageError(f"ReduceOnPlateau.mode = '{mode}': give 'min' or 'max'")
        if patience < 1:
            raise UsageError(f"ReduceOnPlateau.patience = {patience}: give a number of at least 1")
        if not 0 < factor < 1:
            raise UsageError(f"ReduceOnPlateau.factor = {factor}: give a number between 0 and 1")
        require_evaluated(context, "ReduceOnPlateau", monitor)
        self._context, self._monitor, self._patience, self._delta = context, monitor, patience, min_delta
        self._factor, self._least = factor, least
        self._sign = 1.0 if mode == "min" else -1.0
        self._best, self._worse, self._scale = math.inf, 0, 1.0
        context.scale_learning_rate(self._scale)

    def due(self, step: int, report) -> bool:
        return self._monitor in report.evaluation

    def __call__(self, report) -> bool:
        value = self._sign * report.evaluation[self._monitor]
        if value < self._best - self._delta:
            self._best, self._worse = value, 0
            return False
        self._worse += 1
        lower = max(self._scale * self._factor, self._least)
        if self._worse >= self._patience and lower < self._scale:
            self._worse, self._scale = 0, lower
            self._context.scale_learning_rate(lower)
            self._context.console.say(f"learning rate at {lower:.3g} of what it was, from step {report.step:,} on")
        return False

    def state(self):
        return {"best": self._best, "worse": self._worse, "scale": self._scale}

    def restore(self, state):
        self._best, self._worse, self._scale = float(state["best"]), int(state["worse"]), float(state["scale"])
        self._context.scale_learning_rate(self._scale)
