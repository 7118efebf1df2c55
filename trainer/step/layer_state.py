"""What layers change while they run in training: random seeds, moving statistics and counts.

All are made to depend on shards and not on replicas. Seeds are functions of (seed, step, shard). Each shard starts from
the same moving statistics and counts. The mean of the shards' changes of a statistic is applied once per step, and so
is the first shard's change of a count. Trains no weights.
"""

from collections.abc import Iterable, Sequence

import keras
import tensorflow as tf

from trainer.base import private_keras, randomness
from trainer.base.errors import UsageError


class LayerState:
    """The seeds, moving statistics and counts of some models.

    Attributes: statistics: the variables of which changes are taken, moving statistics before counts.

    Args:
      models: already built.
      seed: of everything random in the run.

    Raises:
      UsageError: a layer carries values from batch to batch, is synchronized, or draws while it is traced.
    """

    def __init__(self, models: Iterable[keras.Model], seed: int):
        models = list(models)
        for layer in private_keras.stateful_layers(models):
            raise UsageError(
                f"the layer '{layer.name}' is stateful: what it carries from batch to batch would depend on how a "
                f"batch is cut; make it with stateful = False"
            )
        for layer in private_keras.synchronized_layers(models):
            raise UsageError(
                f"the layer '{layer.name}' is synchronized: it would compute statistics over replicas by itself; make "
                f"it with synchronized = False, and lower Arithmetic.shards for statistics of more examples"
            )
        for layer in private_keras.layers_drawn_in_tracing(models):
            raise UsageError(
                f"the layer '{layer.name}' draws what it does while it is traced, and then always does the same, which "
                f"would depend on how often that was; use another layer, such as keras.layers.RandAugment"
            )
        self._seed = seed
        self._seeds = private_keras.seed_variables(models)
        self._seed_ids = {id(seed) for seed in self._seeds}
        moving, counts = private_keras.statistics(models), private_keras.counts(models)
        self.statistics, self._moving = [*moving, *counts], len(moving)

    def is_seed(self, variable: keras.Variable) -> bool:
        """Whether it is the state of a random generator; `seed` sets that anew, so no checkpoint has to hold it."""
        return id(variable) in self._seed_ids

    @property
    def is_random(self) -> bool:
        """Whether layers draw random numbers."""
        return bool(self._seeds)

    def seed(self, step: tf.Tensor, shard: tf.Tensor) -> None:
        """Makes the layers' next random numbers a function of the step and the shard, integers [] each."""
        for i, seed in enumerate(self._seeds):
            seed.value.assign(tf.cast(randomness.fold(self._seed, step, shard, i + 1), seed.value.dtype))

    def read_statistics(self) -> list[tf.Tensor]:
        """The current values of `statistics`."""
        return [v.value.read_value() for v in self.statistics]

    def assign(self, values: Sequence[tf.Tensor]) -> None:
        """Sets `statistics` to what `read_statistics` returned."""
        for v, value in zip(self.statistics, values, strict=True):
            v.value.assign(value)

    def take_changes(self, before: Sequence[tf.Tensor], filled: tf.Tensor, shard: tf.Tensor) -> list[tf.Tensor]:
        """Returns what a shard adds to the change of each variable of `statistics`, and resets them to `before`.

        That is the change since `before` of a moving statistic, as it is, and of a count if this is the first shard.

        Args:
          before: the values that the shard has started from.
          filled: float32 [], 1 if the shard has an example, else 0.
          shard: int32 [], its number.
        """
        changes = []
        for i, (v, old) in enumerate(zip(self.statistics, before, strict=True)):
            weight = filled if i < self._moving else tf.cast(shard == 0, tf.float32)
            change = _change(v.value.read_value(), old)
            changes.append(tf.cast(weight, change.dtype) * change)
            v.value.assign(old)
        return changes

    def mean(self, changes: Sequence[tf.Tensor], shards: tf.Tensor) -> list[tf.Tensor]:
        """The mean change of each moving statistic over `shards` shards (float32 []), and of each count its change.

        changes: sums over all shards.
        """
        return [c / tf.cast(shards, c.dtype) if i < self._moving else c for i, c in enumerate(changes)]

    def apply_mean(self, changes: Sequence[tf.Tensor], shards: tf.Tensor) -> None:
        """Adds what `mean` returns to `statistics`; arguments as there."""
        for v, change in zip(self.statistics, self.mean(changes, shards), strict=True):
            old = v.value.read_value()
            if old.dtype.is_floating:
                v.value.assign(old + change)
            else:
                v.value.assign(tf.cast(tf.cast(old, tf.int64) + tf.cast(change, tf.int64), old.dtype))


def _change(new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
    """The difference; of integers and booleans as float32, in which a step's small changes are exact."""
    if new.dtype.is_floating:
        return new - old
    return tf.cast(tf.cast(new, tf.int64) - tf.cast(old, tf.int64), tf.float32)
