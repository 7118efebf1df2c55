"""Ends the run when a metric no longer improves."""

import math

import numpy as np

from trainer.actions.action import Action, Context
from trainer.errors import UsageError


class EarlyStopping(Action):
    """Ends the run after `patience` evaluations in a row that were no better than the best so far.

    Args:
      monitor: '<split>/<name>', as an Evaluate action reports it.
      patience: how many evaluations may pass without improvement.
      mode: whether a smaller ('min') or larger ('max') value is better.
      min_delta: how much better counts as better.
    """

    def __init__(
        self,
        context: Context,
        monitor: str = "validation/loss",
        patience: int = 3,
        mode: str = "min",
        min_delta: float = 0.0,
    ):
        if mode not in ("min", "max"):
            raise UsageError(f"EarlyStopping.mode = '{mode}': give 'min' or 'max'")
        if patience < 1:
            raise UsageError(f"EarlyStopping.patience = {patience}: give a number of at least 1")
        require_evaluated(context, "EarlyStopping", monitor)
        self._monitor, self._patience, self._delta = monitor, patience, min_delta
        self._sign = 1.0 if mode == "min" else -1.0
        self._console = context.console
        self._best, self._worse = math.inf, 0

    def due(self, step: int, report) -> bool:
        return self._monitor in report.evaluation

    def __call__(self, report) -> bool:
        value = self._sign * report.evaluation[self._monitor]
        if value < self._best - self._delta:
            self._best, self._worse = value, 0
            return False
        self._worse += 1
        if self._worse < self._patience:
            return False
        self._console.say(
            f"stopping early: {self._monitor} has not improved on {self._sign * self._best:.4g} "
            f"for {self._worse} evaluations"
        )
        return True

    def state(self):
        return {"best": self._best, "worse": self._worse}

    def restore(self, state):
        self._best, self._worse = float(np.asarray(state["best"])), int(np.asarray(state["worse"]))


def require_evaluated(context: Context, action: str, monitor: str) -> None:
    """Raises UsageError if nothing is evaluated that is called `monitor`."""
    there = [f"{split}/{name}" for split in context.evaluator.sources for name in context.evaluator.names(split)]
    if monitor not in there:
        raise UsageError(f"{action}.monitor = '{monitor}': no such value is evaluated; there are: {', '.join(there)}")
