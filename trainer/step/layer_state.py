"""What layers change while they run in training: random seeds and moving statistics.

Both are made to depend on shards and not on replicas. Seeds are functions of (seed, step, shard). Each shard starts
from the same moving statistics, and the mean of the shards' changes is applied once per step. Trains no weights.
"""

from collections.abc import Iterable, Sequence

import keras
import tensorflow as tf

from trainer.base import private_keras, randomness
from trainer.base.errors import UsageError


class LayerState:
    """The seeds and moving statistics of some models.

    Args:
      models: already built.
      seed: of everything random in the run.

    Raises:
      UsageError: a layer is stateful: it carries values from batch to batch.
    """

    def __init__(self, models: Iterable[keras.Model], seed: int):
        models = list(models)
        for layer in private_keras.stateful_layers(models):
            raise UsageError(
                f"the layer '{layer.name}' is stateful: what it carries from batch to batch would depend on how a "
                f"batch is cut; make it with stateful = False"
            )
        self._seed = seed
        self._seeds = private_keras.seed_variables(models)
        self._seed_ids = {id(seed) for seed in self._seeds}
        self.statistics = private_keras.statistics(models)

    def is_seed(self, variable: keras.Variable) -> bool:
        """Whether it is the state of a random generator; `seed` sets that anew, so no checkpoint has to hold it."""
        return id(variable) in self._seed_ids

    def seed(self, step: tf.Tensor, shard: tf.Tensor) -> None:
        """Makes the layers' next random numbers a function of the step and the shard, integers [] each."""
        for i, seed in enumerate(self._seeds):
            seed.value.assign(tf.cast(randomness.fold(self._seed, step, shard, i + 1), seed.value.dtype))

    def read_statistics(self) -> list[tf.Tensor]:
        """The current values of the moving statistics."""
        return [v.value.read_value() for v in self.statistics]

    def take_changes(self, before: Sequence[tf.Tensor], weight: tf.Tensor) -> list[tf.Tensor]:
        """Returns `weight` (float32 []) times each statistic's change since `before`, and resets them to `before`."""
        changes = [
            tf.cast(weight, old.dtype) * (v.value.read_value() - old)
            for v, old in zip(self.statistics, before, strict=True)
        ]
        for v, old in zip(self.statistics, before, strict=True):
            v.value.assign(old)
        return changes

    def apply_mean(self, changes: Sequence[tf.Tensor], shards: tf.Tensor) -> None:
        """Adds the mean change of `shards` shards (float32 []) to each statistic; `changes` are sums over them."""
        for v, change in zip(self.statistics, changes, strict=True):
            v.value.assign(v.value.read_value() + change / tf.cast(shards, change.dtype))
