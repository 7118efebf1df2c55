"""Writes training scalars to TensorBoard. Evaluations write their own."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.actions.action import Context, Periodic, Turn
from trainer.observe.report import Report

_PERIOD = 500


class Log(Periodic):
    """Writes loss, metrics, learning rate, gradient norm, examples/s and the share of time spent waiting for data.

    Args:
      every: a period in steps; None: 500, or an epoch if that is shorter. The end of an epoch is always logged. The
        loss is the mean over the period, metrics are over the epoch so far.
    """

    turn = Turn.TELL

    def __init__(self, context: Context, every: int | None = None):
        super().__init__(context, every)
        if every is None:
            self.every = min(_PERIOD, context.steps_per_epoch)
        self._losses: dict[str, tuple[float, float]] = {}
        self._examples, self._seconds, self._waiting = 0, 0.0, 0.0

    def due(self, step: int, report: Report) -> bool:
        for name, (total, count) in report.results.losses.items():
            so_far = self._losses.get(name, (0.0, 0.0))
            self._losses[name] = (so_far[0] + total, so_far[1] + count)
        self._examples += report.interval.examples
        self._seconds += report.interval.seconds
        self._waiting += report.interval.waiting_for_data
        # A boundary without steps only repeats an interrupted evaluation; its step is logged already.
        return report.interval.steps > 0 and (super().due(step, report) or step % self.context.steps_per_epoch == 0)

    def __call__(self, report: Report) -> bool:
        scalars = {name: total / count for name, (total, count) in self._losses.items() if count}
        scalars |= {name: value for name, value in report.results.metrics.items() if name not in scalars}
        scalars |= report.results.hyperparameters
        if self._seconds > 0:
            scalars["examples_per_second"] = self._examples / self._seconds
            scalars["waiting_for_data"] = self._waiting / self._seconds
        self.context.summaries.scalars("train", report.step, scalars)
        self._losses = {}
        self._examples, self._seconds, self._waiting = 0, 0.0, 0.0
        return False

    def state(self) -> Mapping[str, Any]:
        return {
            f"{name}/{part}": value
            for name, pair in self._losses.items()
            for part, value in zip(("sum", "count"), pair, strict=True)
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        names = {name.rsplit("/", 1)[0] for name in state}
        self._losses = {name: (float(state[f"{name}/sum"]), float(state[f"{name}/count"])) for name in names}
