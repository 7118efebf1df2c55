"""Tries a step on one example, so that what cannot work is found before anything is written. Changes nothing."""

import math

import tensorflow as tf

from trainer.base import private_keras
from trainer.base.errors import UsageError
from trainer.data.source import Source
from trainer.step.freezing import active
from trainer.step.loss_sums import scalar
from trainer.step.padding import whole_batch
from trainer.step.train_step import TrainStep
from trainer.tasks.protocol import Batch

_TOLERANCE = 1e-3


def try_step(train_step: TrainStep, source: Source) -> None:
    """Runs forward, backward, metrics and inference on copies of the first example, and traces the optimizers.

    Notes what the task shows beside its losses, and whether layers add losses, for which the step must drop padding.

    Args:
      train_step: whose state is as before afterwards.
      source: of the training examples.

    Raises:
      UsageError: a loss or metric does not have the form or name it must have, a layer counts examples or adds up a
        loss over them, or XLA is to compile a step that must drop padding.
      Exception: whatever user code raises.
    """
    state, task = train_step.state, train_step.state.task
    # Not of one example: TensorFlow 2.21 crashes in the gradient of a strided 1x1 convolution of a single image.
    few, many = (whole_batch(source.read(ids), ids) for ids in (tf.zeros(n, tf.int64) for n in (2, 4)))
    before = state.layers.read_statistics()
    seed = tf.zeros(2, tf.int32)
    names: dict[str, None] = {}  # of losses and what is shown beside them, in their order
    evaluated: set[str] = set()

    def train(batch: Batch) -> None:
        found = train_step.shard_gradients(batch, seed)
        names.update(dict.fromkeys(found.losses))
        task.update(state.metrics, batch, found.outputs)

    def infer(batch: Batch) -> None:
        outputs = task.outputs(batch)
        evaluated.update(task.evaluate(batch, outputs))
        task.update(state.metrics, batch, outputs)

    def counted(batch: Batch) -> list[int]:
        train_step.strategy.run(train, args=(batch,))
        found = state.layers.counted(before)
        state.layers.assign(before)
        return found

    try:
        counts_of_few, losses_of_few = counted(few), _added(train_step)
        counts_of_many, losses_of_many = counted(many), _added(train_step)
        for variable, of_few, of_many in zip(state.layers.counts, counts_of_few, counts_of_many, strict=True):
            if of_few != of_many:
                raise UsageError(
                    f"'{variable.path}' grows by {of_few} with a batch of two examples and by {of_many} with four, "
                    f"which would depend on how a batch is cut: count batches and not examples"
                )
        if not state.parts.compares_examples:
            _require_means(losses_of_few, losses_of_many, random=state.layers.is_random)
        train_step.drops_padding |= bool(losses_of_few)
        if train_step.drops_padding and train_step.arithmetic.xla:
            what = (
                f"the layer '{losses_of_few[0][0]}' adds a loss of what goes through it"
                if losses_of_few
                else "the losses compare examples"
            )
            raise UsageError(
                f"Arithmetic.xla = True: {what}, for which padding is dropped, and XLA compiles for batches of one "
                f"size: set it to None or False"
            )
        train_step.strategy.run(infer, args=(few,))
        losses_of_few = _added(train_step)
        train_step.strategy.run(infer, args=(many,))
        if not state.parts.compares_examples:
            _require_means(losses_of_few, _added(train_step), random=False)
        for name, metric in state.metrics.items():
            scalar(name, metric.result())
    finally:
        state.layers.assign(before)
        for metric in state.metrics.values():
            metric.reset_state()
    if clash := (names.keys() | evaluated) & state.metrics.keys():
        raise UsageError(f"a metric has the name of a loss, '{min(clash)}': give the metric another name")
    with train_step.strategy.scope():
        state.loss_sums.keep(list(names))
    tf.function(lambda: train_step.strategy.run(lambda: _apply(train_step)), autograph=False).get_concrete_function()


def _added(train_step: TrainStep) -> list[tuple[str, tf.Tensor]]:
    """The losses that layers have just added, with the layers' names."""
    found = private_keras.call_losses(train_step.state.parts.models.values())
    return [(layer.name, tf.convert_to_tensor(loss)) for layer, loss in found]


def _require_means(of_few: list[tuple[str, tf.Tensor]], of_many: list[tuple[str, tf.Tensor]], random: bool) -> None:
    """Raises UsageError for a loss that is neither one per example nor a mean over a batch.

    A mean does not change with the number of copies of an example.

    Args:
      of_few, of_many: the losses of a batch of copies, and of one of twice as many.
      random: whether layers draw random numbers, so that only a loss that doubles can be told.
    """
    for (name, once), (_, twice) in zip(of_few, of_many, strict=False):
        if once.shape.rank and twice.shape[0] == 2 * once.shape[0]:
            continue
        before, after = (float(tf.reduce_sum(tf.cast(loss, tf.float32))) for loss in (once, twice))
        if _near(after, 2 * before) if random and before else not _near(after, before):
            raise UsageError(
                f"the layer '{name}' adds a loss that changes with the number of copies of an example in a batch, so "
                f"it is no mean: pass one number per example to add_loss, which are summed over the global batch, or "
                f"their mean"
            )


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=1e-9)


def _apply(train_step: TrainStep) -> None:
    for objective in train_step.state.parts.objectives:
        variables = active(objective)
        objective.optimizer.apply([tf.zeros_like(variable.value) for variable in variables], variables)
