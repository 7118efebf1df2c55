"""An exponential moving average of the weights, which evaluation may use in their place."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from trainer.tasks.protocol import Parts

# An update reads and writes as much memory as the optimizer does. Every 16th step with the 16th power of the decay is
# the same average but for how it weighs steps within such a period.
_PERIOD = 16


class Average:
    """average <- decay * average + (1 - decay) * weights, a step; for the first 16 steps it is the weights themselves.

    Args:
      decay: a step's; the average is brought up to date every 16 steps.
    """

    def __init__(self, decay: float, parts: Parts):
        self._rate = 1.0 - decay**_PERIOD
        self._weights = {f"{o.name}/{v.path}": v for o in parts.objectives for v in o.variables}
        self._averages = {
            path: tf.Variable(
                v.value.read_value(), trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
            )
            for path, v in self._weights.items()
        }

    @staticmethod
    def of(decay: float | None, parts: Parts) -> "Average | NoAverage":
        return NoAverage() if decay is None else Average(decay, parts)

    def update(self, strategy: tf.distribute.Strategy, step: tf.Tensor) -> None:
        """In cross-replica context, after the optimizers' step with this number."""

        started = step >= _PERIOD
        rate = tf.where(started, self._rate, 1.0)

        def update() -> None:
            for path, weight in self._weights.items():
                strategy.extended.update(
                    self._averages[path],
                    lambda average, value: average.assign_sub(rate * (average - value)),
                    args=(weight.value,),
                )

        tf.cond(tf.logical_not(started) | (step % _PERIOD == _PERIOD - 1), update, lambda: None)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within this context the models hold the averages instead of their weights."""
        kept = {path: weight.value.numpy() for path, weight in self._weights.items()}
        for path, weight in self._weights.items():
            weight.value.assign(self._averages[path].numpy())
        try:
            yield
        finally:
            for path, weight in self._weights.items():
                weight.value.assign(kept[path])

    def variables(self) -> dict[str, tf.Variable]:
        return {f"average/{path}": average for path, average in self._averages.items()}


class NoAverage:
    """No average is kept; evaluation uses the weights themselves."""

    def update(self, strategy: tf.distribute.Strategy, step: tf.Tensor) -> None:
        pass

    def in_place(self) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()

    def variables(self) -> dict[str, tf.Variable]:
        return {}
