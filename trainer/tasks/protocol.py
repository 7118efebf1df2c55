"""The contract between a task and the step: which methods a task has, and what they return. Implements none.

A batch is a dict of tensors with a leading dimension n, among them 'valid' float32 [n] (0 marks padding), 'id' int64
[n] and 'global_valid' float32 [n], everywhere the number of valid examples of the global batch. A task sees one shard
of the global batch at a time, and its results must not depend on the shard's size: a loss divided by the batch size, or
random numbers that do not come from `seed`, make them depend on the number of shards and replicas. `--mode=check` finds
both.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import keras
import tensorflow as tf

from trainer.data.source import Field

# A part of a batch: tensors by field. Leading dimensions: of a shard [n, …], of a block [K, slots, n, …].
Batch = Mapping[str, tf.Tensor]


class Loss(NamedTuple):
    """A loss in additive form, float32: sum(values) / sum(counts) + shared, with sums over the global batch.

    values [n]: the loss of each example, weighted, and summed over its tokens; 0 for padding.
    counts [n]: what each example adds to the divisor: 1, or its number of tokens; 0 for padding.
    shared []:  terms that belong to no example: L2, total variation.
    """

    values: tf.Tensor
    counts: tf.Tensor
    shared: tf.Tensor | float = 0.0


def penalties(batch: Batch, *models: keras.Model) -> tf.Tensor | float:
    """What layers add to the loss, float32 [], for Loss.shared: regularisation, and what they pass to `add_loss`.

    As in Keras, all numbers of a loss are added up. If its first dimension is that of the batch, they are one number or
    more per example, and the sum is over the global batch; what belongs to no example, such as a scalar, must be a mean
    over the batch. Exact where every example counts alike (Loss.counts).

    Args:
      batch: that the models were called with before this.
    """
    found = [tf.cast(loss, tf.float32) for model in models for loss in model.losses]
    return tf.add_n([_penalty(loss, batch) for loss in found]) if found else 0.0


def _penalty(loss: tf.Tensor, batch: Batch) -> tf.Tensor:
    if not _is_of_examples(loss, batch["valid"]):
        return tf.reduce_sum(loss)
    # Such that it is still the sum when it is weighted by a shard's share.
    valid = batch["valid"]
    each = tf.reduce_sum(tf.reshape(loss, (tf.shape(valid)[0], -1)), axis=1)
    share = tf.reduce_sum(valid) / batch["global_valid"][0]
    return tf.math.divide_no_nan(tf.reduce_sum(each * valid), share)


def _is_of_examples(loss: tf.Tensor, valid: tf.Tensor) -> bool:
    """Whether a loss has numbers per example, and is not of weights alone, say.

    In a graph the size of a batch without padding is not known, and neither is that of what is made of its examples.
    """
    if loss.shape.rank == 0:
        return False
    size, examples = loss.shape[0], valid.shape[0]
    return size is None or (examples is not None and size % examples == 0)


class Objective(NamedTuple):
    """A loss to minimise, and the variables that are trained for it.

    name: its key in what `losses` returns.  variables: disjoint between objectives.  optimizer: a Keras optimizer, not
    yet built; its own clipping, accumulation, averaging and loss scaling must be off, since the step does all of these.
    every: the optimizer runs at steps that are multiples of it, counted from 0.
    """

    name: str
    variables: Sequence[keras.Variable]
    optimizer: keras.optimizers.Optimizer
    every: int = 1


class Parts(NamedTuple):
    """What a task builds.

    models: by their names in checkpoints; random seeds and moving statistics are looked for in these.
    variables: those that are in no model (an image), by their names in checkpoints.
    compares_examples: whether the losses compare the examples of a batch with each other (contrastive losses do), on
    purpose. They depend on the size of a shard then, and the step gives them no padding.
    """

    objectives: Sequence[Objective]
    models: Mapping[str, keras.Model]
    variables: Mapping[str, keras.Variable] = {}
    compares_examples: bool = False


class Task(Protocol):
    """A task; one instance per process. `build` runs once, eagerly, within strategy.scope(); the rest is traced."""

    def build(self, fields: Mapping[str, Field]) -> Parts:
        """Makes models, variables and optimizers for data with these fields. Raises UsageError if they do not fit."""
        ...

    def losses(self, batch: Batch, seed: tf.Tensor) -> tuple[Mapping[str, Loss], Any]:
        """Returns the training losses by objective, and the outputs that `update` computes metrics from.

        Under other names it may return what is only to be shown, such as parts of a loss: the mean is shown like that
        of a loss. Each call returns the same names.

        seed: int32 [2], unique to (step, shard); all random numbers outside of Keras layers must come from it.
        """
        ...

    def outputs(self, batch: Batch) -> Any:
        """Inference: returns a tensor or a dict of tensors, each [n, …]; --mode=predict writes them."""
        ...

    def evaluate(self, batch: Batch, outputs: Any) -> Mapping[str, Loss]:
        """Returns the losses of an evaluation, and what is to be shown beside them, from the outputs of inference."""
        ...

    def metrics(self) -> Mapping[str, keras.metrics.Metric]:
        """Returns new metrics by name; called once for training and once for evaluation, within strategy.scope()."""
        ...

    def update(self, metrics: Mapping[str, keras.metrics.Metric], batch: Batch, outputs: Any) -> None:
        """Updates the metrics, weighted by batch['valid'], with the outputs of `losses` or of inference."""
        ...


@runtime_checkable
class Showing(Protocol):
    """A task that has images or texts to show."""

    def samples(self, batch: Batch, seed: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """Returns what the action Show and --mode=predict show. Traced.

        Returns 'images/NAME' [n, height, width, channels], uint8 or in 0..1, and 'text/NAME' [n], strings.

        Args:
          batch: the first held-out examples.
          seed: int32 [2], always the same.
        """
        ...
