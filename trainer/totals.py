"""Sums over steps, since the epoch began and since the last report, and the numbers that metrics make of theirs."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from trainer.errors import UsageError


def counter(dtype: tf.DType) -> tf.Variable:
    """A scalar that is equal on all replicas and only changed in cross-replica context. Made within scope."""
    return tf.Variable(0, dtype=dtype, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)


class Totals:
    """By objective, the sum of its losses and of what they are to be divided by. float64: an epoch may be long."""

    def __init__(self, names: Sequence[str]):
        self._epoch, self._recent = (
            {name: (counter(tf.float64), counter(tf.float64)) for name in names} for _ in range(2)
        )

    def add(self, losses: Mapping[str, tf.Tensor], counts: Mapping[str, tf.Tensor]) -> None:
        """Adds a step's."""
        for totals in (self._epoch, self._recent):
            for name, (total, count) in totals.items():
                total.assign_add(tf.cast(losses[name], tf.float64))
                count.assign_add(tf.cast(counts[name], tf.float64))

    def read(self) -> dict[str, dict[str, tuple[tf.Tensor, tf.Tensor]]]:
        """Returns the sums and counts of the 'epoch' and the 'recent' ones, and starts the latter anew."""
        read = {
            period: {name: (total.read_value(), count.read_value()) for name, (total, count) in totals.items()}
            for period, totals in (("epoch", self._epoch), ("recent", self._recent))
        }
        _reset(self._recent)
        return read

    def reset_epoch(self) -> None:
        _reset(self._epoch)

    def variables(self) -> dict[str, tf.Variable]:
        """What must survive; a report is always read before the state is saved."""
        return {
            f"epoch/{name}/{part}": variable
            for name, pair in self._epoch.items()
            for part, variable in zip(("sum", "count"), pair, strict=True)
        }


def _reset(totals: Mapping[str, tuple[tf.Variable, tf.Variable]]) -> None:
    for pair in totals.values():
        for variable in pair:
            variable.assign(tf.zeros_like(variable))


def scalar(name: str, result: tf.Tensor) -> tf.Tensor:
    """Returns a metric's result, which can be shown and compared if it is one number; raises UsageError if not."""
    if tf.convert_to_tensor(result).shape.rank != 0:
        raise UsageError(
            f"the metric '{name}' has more than one number: let it average them, or write a metric for each"
        )
    return result
