"""What training steps report: only the record, which imports no TensorFlow."""

from typing import NamedTuple


class StepResults(NamedTuple):
    """The numbers of the steps since the last report, equal on every rank.

    losses: by objective, and by the names of what is shown beside them, the sum and the count since the last report;
    their quotient is the mean.
    metrics: by name, since the epoch began; mean losses among them. NaN: nothing was counted.
    hyperparameters: learning rate, gradient norm (of the last step, before clipping), loss scale, skipped steps.
    finite: whether the losses, all trained weights and moving statistics are finite.
    exhausted: whether loss scaling cannot help any more: the last step's gradients were not finite without it.
    """

    losses: dict[str, tuple[float, float]]
    metrics: dict[str, float]
    hyperparameters: dict[str, float]
    finite: bool
    exhausted: bool = False
