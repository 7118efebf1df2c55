"""Tries a step on one example, so that what cannot work is found before anything is written. Changes nothing."""

import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Source
from trainer.step.freezing import active
from trainer.step.loss_sums import scalar
from trainer.step.train_step import TrainStep
from trainer.tasks.protocol import Batch


def try_step(train_step: TrainStep, source: Source) -> None:
    """Runs forward, backward, metrics and inference on the first example, not compiled, and traces the optimizers.

    Args:
      train_step: whose state is as before afterwards.
      source: of the training examples.

    Raises:
      UsageError: a loss or metric does not have the form it must have, or a layer counts examples.
      Exception: whatever user code raises.
    """
    state, task = train_step.state, train_step.state.task
    one = {**source.read(tf.constant([0], tf.int64)), "valid": tf.ones(1), "id": tf.zeros(1, tf.int64)}
    before = state.layers.read_statistics()
    seed = tf.zeros(2, tf.int32)

    def train(batch: Batch) -> None:
        found = train_step.shard_gradients(batch, seed)
        task.update(state.metrics, batch, found.outputs)

    def infer(batch: Batch) -> None:
        outputs = task.outputs(batch)
        task.evaluate(batch, outputs)
        task.update(state.metrics, batch, outputs)

    def counted(batch: Batch) -> list[int]:
        train_step.strategy.run(train, args=(batch,))
        found = state.layers.counted(before)
        state.layers.assign(before)
        return found

    try:
        twice = {name: tf.repeat(values, 2, axis=0) for name, values in one.items()}
        for variable, of_one, of_two in zip(state.layers.counts, counted(one), counted(twice), strict=True):
            if of_one != of_two:
                raise UsageError(
                    f"'{variable.path}' grows by {of_one} with a batch of one example and by {of_two} with one of two, "
                    f"which would depend on how a batch is cut: count batches and not examples"
                )
        train_step.strategy.run(infer, args=(one,))
        for name, metric in state.metrics.items():
            scalar(name, metric.result())
    finally:
        state.layers.assign(before)
        for metric in state.metrics.values():
            metric.reset_state()
    tf.function(lambda: train_step.strategy.run(lambda: _apply(train_step)), autograph=False).get_concrete_function()


def _apply(train_step: TrainStep) -> None:
    for objective in train_step.state.parts.objectives:
        variables = active(objective)
        objective.optimizer.apply([tf.zeros_like(variable.value) for variable in variables], variables)
