"""The base of actions that act when an evaluated value no longer improves. Evaluates nothing itself."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from trainer.actions.action import Action, Context
from trainer.base.errors import UsageError
from trainer.observe.report import Report


class Monitoring(Action):
    """Counts evaluations in a row without improvement on the best so far. Subclasses act in `lost_patience`.

    Args:
      monitor: '<split>/<name>', as an Evaluate action reports it.
      patience: after this many evaluations in a row without improvement, `lost_patience` is called.
      mode: whether a smaller ('min') or larger ('max') value is better.
      min_delta: a change must exceed this to count as an improvement.

    Raises:
      UsageError: an argument is out of range, or there is no such value.
    """

    monitors: str

    def __init__(self, context: Context, monitor: str, patience: int, mode: Literal["min", "max"], min_delta: float):
        name = type(self).__name__
        if mode not in ("min", "max"):
            raise UsageError(f"{name}.mode = '{mode}': give 'min' or 'max'")
        if patience < 1:
            raise UsageError(f"{name}.patience = {patience}: give a number of at least 1")
        if min_delta < 0:
            raise UsageError(f"{name}.min_delta = {min_delta}: give a number from 0 on")
        there = [f"{split}/{each}" for split in context.evaluator.sources for each in context.evaluator.names(split)]
        if monitor not in there:
            raise UsageError(f"{name}.monitor = '{monitor}': no such value is evaluated; there are: {', '.join(there)}")
        self.context, self.monitors, self._patience, self._delta = context, monitor, patience, min_delta
        self._sign = 1.0 if mode == "min" else -1.0
        self._best, self._worse = math.inf, 0

    def due(self, step: int, report: Report) -> bool:
        return self.monitors in report.evaluation

    def __call__(self, report: Report) -> bool:
        value = self._sign * report.evaluation[self.monitors]
        if value < self._best - self._delta:
            self._best, self._worse = value, 0
            return False
        self._worse += 1
        return self._worse >= self._patience and self.lost_patience(report)

    def lost_patience(self, report: Report) -> bool:
        """Acts; returns whether the run should end here."""
        raise NotImplementedError

    def state(self) -> Mapping[str, Any]:
        return {"best": self._best, "worse": self._worse}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._best, self._worse = float(np.asarray(state["best"])), int(np.asarray(state["worse"]))
