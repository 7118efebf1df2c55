"""What training steps report: only the record, which imports no TensorFlow."""

from typing import NamedTuple


class StepResults(NamedTuple):
    """The numbers of the steps since the last report, equal on every rank.

    losses: by objective, the sum and the count since the last report; their quotient is the mean loss.
    metrics: by name, since the epoch began; mean losses among them.
    hyperparameters: learning rate, gradient norm (of the last step, before clipping), loss scale.
    finite: whether all trained weights and moving statistics are finite.
    """

    losses: dict[str, tuple[float, float]]
    metrics: dict[str, float]
    hyperparameters: dict[str, float]
    finite: bool
