"""Ends the run when an evaluated value no longer improves. Evaluates nothing itself."""

from typing import Literal

from trainer.actions.action import Context
from trainer.actions.monitoring import Monitoring
from trainer.observe.report import Report


class EarlyStopping(Monitoring):
    """Ends the run after `patience` evaluations in a row without improvement; for the arguments see Monitoring."""

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
        # A resume with another monitor or mode starts with a fresh state: their best values cannot be compared.
        return f"{type(self).__name__}.{self.monitors}.{self._mode}"

    def lost_patience(self, report: Report) -> bool:
        self.context.console.say(
            f"stopping early: {self.monitors} has not improved on {self._sign * self._best:.4g} "
            f"for {self._worse} evaluations"
        )
        return True
