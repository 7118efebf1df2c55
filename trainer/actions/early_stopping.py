"""Ends the run when a metric no longer improves."""

from typing import Literal

from trainer.actions.action import Context
from trainer.actions.monitoring import Monitoring


class EarlyStopping(Monitoring):
    """Ends the run after `patience` evaluations in a row that were no better than the best so far; see Monitoring."""

    def __init__(
        self,
        context: Context,
        monitor: str = "validation/loss",
        patience: int = 3,
        mode: Literal["min", "max"] = "min",
        min_delta: float = 0.0,
    ):
        super().__init__(context, monitor, patience, mode, min_delta)
        self._mode = mode

    @property
    def name(self) -> str:
        # The best of one value says nothing of another: what follows a run that goes on with another, begins anew.
        return f"{type(self).__name__}.{self.monitors}.{self._mode}"

    def lost_patience(self, report) -> bool:
        self.context.console.say(
            f"stopping early: {self.monitors} has not improved on {self._sign * self._best:.4g} "
            f"for {self._worse} evaluations"
        )
        return True
