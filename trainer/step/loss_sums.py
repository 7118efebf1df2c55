"""Sums of losses, and of what is shown beside them, over steps: since the epoch began, and since the last report.

Metrics keep their own sums.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.step.variables import replicated


class LossSums:
    """By name, the sums of losses and of their counts (divisors), in float64, since an epoch may be long."""

    def __init__(self, names: Sequence[str]):
        self._epoch: dict[str, tuple[tf.Variable, tf.Variable]] = {}
        self._recent: dict[str, tuple[tf.Variable, tf.Variable]] = {}
        self.keep(names)

    def keep(self, names: Sequence[str]) -> None:
        """Keeps sums of more names, too; called within strategy.scope(), before anything is compiled."""
        for sums in (self._epoch, self._recent):
            for name in names:
                sums.setdefault(name, (replicated(0, tf.float64), replicated(0, tf.float64)))

    def add(self, losses: Mapping[str, tf.Tensor], counts: Mapping[str, tf.Tensor]) -> None:
        """Adds the losses and counts of one step, float32 [] each, by name."""
        for sums in (self._epoch, self._recent):
            for name, (total, count) in sums.items():
                total.assign_add(tf.cast(losses[name], tf.float64))
                count.assign_add(tf.cast(counts[name], tf.float64))

    def read(self) -> dict[str, dict[str, tuple[tf.Tensor, tf.Tensor]]]:
        """Returns (sum, count) by name of the 'epoch' and the 'recent' steps, and resets the recent ones."""
        read = {
            period: {name: (total.read_value(), count.read_value()) for name, (total, count) in sums.items()}
            for period, sums in (("epoch", self._epoch), ("recent", self._recent))
        }
        _reset(self._recent)
        return read

    def reset_epoch(self) -> None:
        """Resets the sums of the epoch."""
        _reset(self._epoch)

    def variables(self) -> dict[str, tf.Variable]:
        """The epoch's sums by name, for checkpoints; the recent sums are 0 then, since a report precedes each save."""
        return {
            f"epoch/{name}/{part}": variable
            for name, pair in self._epoch.items()
            for part, variable in zip(("sum", "count"), pair, strict=True)
        }


def _reset(sums: Mapping[str, tuple[tf.Variable, tf.Variable]]) -> None:
    for pair in sums.values():
        for variable in pair:
            variable.assign(tf.zeros_like(variable))


def scalar(name: str, result: tf.Tensor) -> tf.Tensor:
    """Returns a metric's result, which must be a scalar to be shown and compared.

    Raises:
      UsageError: it is not one.
    """
    found = tf.convert_to_tensor(result)  # a metric may return its variable
    if found.shape.rank != 0:
        raise UsageError(
            f"the metric '{name}' has more than one number: let it average them, or write a metric for each"
        )
    return found
