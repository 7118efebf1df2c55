"""The contract between a task and the step: what a task is asked for, and what it answers with.

A batch is a dict of tensors with a leading dimension n, among them 'valid' float32 [n] (0 marks padding) and 'id'
int64 [n]. A task sees one shard of the global batch at a time and must not care how large it is: a loss that is
divided by the batch size, or random numbers that do not come from `seed`, make the result depend on the number of
replicas. `--mode=check` finds both.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import keras
import tensorflow as tf

from trainer.data.source import Field


class Loss(NamedTuple):
    """A loss in additive form; minimised is sum(values) / sum(counts) + shared, sums over the global batch, float32.

    values [n]: what each example adds, weights already applied, summed over its tokens.
    counts [n]: what each adds to the divisor: 1, or its number of tokens; 0 for padding.
    shared []:  what is no example's: L2, total variation.
    """

    values: tf.Tensor
    counts: tf.Tensor
    shared: tf.Tensor | float = 0.0


def penalties(*models: keras.Model) -> tf.Tensor | float:
    """What regularisers add to a loss, float32 []: its `shared`. To be asked for after the models were called."""
    found = [tf.cast(loss, tf.float32) for model in models for loss in model.losses]
    return tf.add_n(found) if found else 0.0


class Objective(NamedTuple):
    """One quantity to minimise, and the variables that are moved to do so.

    name: key into what `losses` returns.  variables: disjoint between objectives.  optimizer: Keras's, unbuilt; its own
    clipping, accumulation, averaging and loss scaling must be off, since the step does all of these.
    every: the objective is stepped at each step that is a multiple of it.
    """

    name: str
    variables: Sequence[keras.Variable]
    optimizer: keras.optimizers.Optimizer
    every: int = 1


class Parts(NamedTuple):
    """What a task is made of.

    models: by the names they have in checkpoints; random seeds and moving statistics are found in here.
    variables: trained or kept outside of any model (an image).
    """

    objectives: Sequence[Objective]
    models: Mapping[str, keras.Model]
    variables: Mapping[str, keras.Variable] = {}


class Task(Protocol):
    """One instance per process. `build` runs once, eagerly, within the strategy's scope; the rest is traced."""

    def build(self, fields: Mapping[str, Field]) -> Parts:
        """Makes models, variables and optimizers for these fields. Raises UsageError if they do not fit."""
        ...

    def losses(self, batch: Mapping[str, tf.Tensor], seed: tf.Tensor) -> tuple[Mapping[str, Loss], Any]:
        """The training losses by objective, and the outputs that metrics are computed from.

        seed: int32[2], unique to (step, shard); all randomness outside of Keras layers must come from it.
        """
        ...

    def outputs(self, batch: Mapping[str, tf.Tensor]) -> Any:
        """Inference: a tensor or a dict of tensors, each [n, ...]; what `predict` writes."""
        ...

    def evaluate(self, batch: Mapping[str, tf.Tensor], outputs: Any) -> Mapping[str, Loss]:
        """The losses of an evaluation, from inference outputs."""
        ...

    def metrics(self) -> Mapping[str, keras.metrics.Metric]:
        """New metrics by name; called once for training and once for evaluation, within scope."""
        ...

    def update(self, metrics: Mapping[str, keras.metrics.Metric], batch: Mapping[str, tf.Tensor], outputs: Any) -> None:
        """Updates the metrics, weighted by batch['valid']."""
        ...


@runtime_checkable
class Showing(Protocol):
    """What a task is besides, if there is something of it to look at."""

    def samples(self, batch: Mapping[str, tf.Tensor], seed: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """What the action Show shows; called while it is traced.

        Returns 'images/NAME' [n, height, width, channels], uint8 or in 0..1, and 'text/NAME' [n], strings.

        Args:
          batch: the first examples that are held out.
          seed: int32[2], always the same.
        """
        ...
