"""Ends the run when the loss is no longer a number."""

import math

from trainer.actions.action import Action, Context
from trainer.errors import TrainingError


class NonFinite(Action):
    """Fails the run, before the state is saved, once a loss is NaN or infinite.

    With float16 a step whose gradients overflow is skipped and does not count here.
    """

    def __init__(self, context: Context):
        pass

    def due(self, step: int, report) -> bool:
        return any(not math.isfinite(total) for total, _ in report.losses.values())

    def __call__(self, report) -> bool:
        names = [name for name, (total, _) in report.losses.items() if not math.isfinite(total)]
        raise TrainingError(
            f"'{names[0]}' is not finite at step {report.step:,} or just before. The checkpoint before it is intact. "
            f"A lower learning rate, Arithmetic.clip_norm, or check_finite on the data may help"
        )
