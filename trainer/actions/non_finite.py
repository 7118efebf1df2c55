"""Ends the run when the loss or a weight is no longer a number."""

from trainer.actions.action import Action, Context, Turn
from trainer.errors import TrainingError


class NonFinite(Action):
    """Fails the run, before the state is saved, once a loss or a weight is NaN or infinite.

    With float16 a step whose gradients overflow is skipped and does not count here.
    """

    turn = Turn.GUARD

    def __init__(self, context: Context):
        pass

    def due(self, step: int, report) -> bool:
        return not report.finite

    def __call__(self, report) -> bool:
        raise TrainingError(
            f"loss or weights are not finite at step {report.step:,} or just before; nothing of that was saved. "
            f"A lower learning rate, Arithmetic.clip_norm, or check_finite on the data may help"
        )
