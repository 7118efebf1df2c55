"""Fails the run when a loss or a weight is NaN or infinite. Repairs nothing."""

from trainer.actions.action import Action, Context, Turn
from trainer.base.errors import TrainingError
from trainer.observe.report import Report


class NonFinite(Action):
    """Raises a TrainingError, before the state is saved, once a loss or a weight is NaN or infinite.

    With float16 a step whose gradients overflow is skipped, which is no failure unless it was not scaled at all.
    """

    turn = Turn.GUARD

    def __init__(self, context: Context):
        pass

    def due(self, step: int, report: Report) -> bool:
        return not report.results.finite or report.results.exhausted

    def __call__(self, report: Report) -> bool:
        if report.results.exhausted:
            skipped = report.results.hyperparameters["skipped_steps"]
            raise TrainingError(
                f"gradients are not finite in float16, even without loss scaling, at step {report.step:,}; "
                f"{skipped:,.0f} steps were skipped; nothing of that was saved. Look for values beyond 65,504 in the "
                f"data or the model (scale them), or use Arithmetic.precision = 'mixed_bfloat16'"
            )
        raise TrainingError(
            f"loss or weights are not finite at step {report.step:,} or just before; nothing of that was saved. "
            f"A lower learning rate, Arithmetic.clip_norm, or check_finite on the data may help"
        )
