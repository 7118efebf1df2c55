"""An exponential moving average of the weights, which evaluation may use in their place."""

import contextlib
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

from trainer.tasks.protocol import Parts


class Average:
    """average <- decay * average + (1 - decay) * weights, after every step of an objective; starts at the weights."""

    def __init__(self, decay: float, parts: Parts):
        self._decay = decay
        self._weights = {v.path: v for objective in parts.objectives for v in objective.variables}
        self._averages = {
            path: tf.Variable(
                v.value.read_value(), trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
            )
            for path, v in self._weights.items()
        }

    @staticmethod
    def of(decay: float | None, parts: Parts) -> "Average | NoAverage":
        return NoAverage() if decay is None else Average(decay, parts)

    def update(self, strategy: tf.distribute.Strategy, weights: Sequence[keras.Variable]) -> None:
        """In cross-replica context, after the optimizer."""
        for weight in weights:
            strategy.extended.update(
                self._averages[weight.path],
                lambda average, value: average.assign_sub((1.0 - self._decay) * (average - value)),
                args=(weight.value,),
            )

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

    def update(self, strategy: tf.distribute.Strategy, weights: Sequence[keras.Variable]) -> None:
        pass

    def in_place(self) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()

    def variables(self) -> dict[str, tf.Variable]:
        return {}
