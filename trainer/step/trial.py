"""Tries a step on one example, so that what cannot work is found before anything is written. Changes nothing."""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np
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
# What a layer has added to the loss: its name, and the loss.
_Added = Sequence[tuple[str, tf.Tensor]]


def try_step(train_step: TrainStep, source: Source) -> None:
    """Runs forward, backward, metrics and inference on copies of the first example, and traces the optimizers.

    Notes what the task shows beside its losses, which variables no gradient reaches, and whether the step must drop
    padding: where losses see more than one example, or a metric counts examples without weight.

    Args:
      train_step: whose state is as before afterwards.
      source: of the training examples.

    Raises:
      UsageError: a loss or metric does not have the form or name it must have, the state of a layer depends on how
        many examples a batch has, a layer adds up a loss over them, a metric cannot be added up over replicas, or XLA
        is to compile a step that must drop padding.
      Exception: whatever user code raises.
    """
    trial, before = _Trial(train_step, source), train_step.state.layers.read_statistics()
    try:
        with _eagerly():
            trial.train(before)
            trial.infer()
            trial.judge()
    finally:
        train_step.state.layers.assign(before)
        _reset(train_step.state.metrics)
    with train_step.strategy.scope():
        train_step.state.loss_sums.keep(list(trial.names))
    train_step.state.leave_out(trial.unreached)
    optimize = tf.function(lambda: train_step.strategy.run(lambda: _apply(train_step)), autograph=False)
    optimize.get_concrete_function()


@contextlib.contextmanager
def _eagerly() -> Iterator[None]:
    """Hides TensorFlow's advice not to run a strategy eagerly, which a trial does on purpose."""
    wanted = lambda record: "eagerly has significant overhead" not in record.getMessage()
    logger: logging.Logger = tf.get_logger()
    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)


class _Trial:
    """The parts of a trial, in their order; for the arguments see `try_step`."""

    def __init__(self, train_step: TrainStep, source: Source):
        self._step, self._state, self._task = train_step, train_step.state, train_step.state.task
        # Not of one example: TensorFlow 2.21 crashes in the gradient of a strided 1x1 convolution of a single image.
        # The last is of different examples, on which metrics are less likely to be 0.
        batches = [0, 0], [0, 0, 0, 0], [0, len(source) - 1]
        self._few, self._many, self._pair = (
            whole_batch(source.read(ids), ids) for ids in (tf.constant(each, tf.int64) for each in batches)
        )
        layout = train_step.layout
        self._has_padding = bool(len(source) % layout.batch_size or layout.batch_size % layout.shards)
        self.names: dict[str, None] = {}  # of losses and of what is shown beside them, in their order
        self.unreached: set[int] = set()

    def train(self, before: Sequence[tf.Tensor]) -> None:
        """Forward and backward. before: the values of the layers' statistics."""
        state = self._state
        changes_of_few, losses_of_few = self._trained(self._few, before)
        changes_of_many, losses_of_many = self._trained(self._many, before)
        random = state.layers.is_random
        for variable, of_few, of_many in zip(state.layers.statistics, changes_of_few, changes_of_many, strict=True):
            if _depends_on_number(of_few, of_many, random and tf.as_dtype(variable.dtype).is_floating):
                raise UsageError(
                    f"'{variable.path}' changes by {_said(of_few)} with a batch of two examples and by "
                    f"{_said(of_many)} with four, which would depend on how a batch is cut: count batches and not "
                    f"examples, or keep a mean"
                )
        self._require_means(losses_of_few, losses_of_many, random)
        if losses_of_few:
            self._drop_padding(f"the layer '{losses_of_few[0][0]}' adds a loss of what goes through it")
        elif state.parts.compares_examples:
            self._drop_padding("the losses compare examples")

    def infer(self) -> None:
        """Inference, and the losses of an evaluation."""
        self._infer(self._few)
        if losses_of_few := self._added():
            self._infer(self._many)
            self._require_means(losses_of_few, self._added(), random=False)

    def judge(self) -> None:
        """The metrics: of a batch, and where it matters of the same with padding, and of the same twice."""
        metrics = self._state.metrics
        once = self._judged(self._pair)
        with_padding = self._judged(self._padded_pair()) if self._has_padding else once
        twice = self._judged(self._pair, self._pair) if self._step.strategy.num_replicas_in_sync > 1 else None
        for name, metric in metrics.items():
            if not _all_near(with_padding[name], once[name]):
                self._drop_padding(f"the metric '{name}' counts examples without weight")
            if twice is not None and not _all_near(twice[name], [2 * value for value in once[name]]):
                raise UsageError(
                    f"the metric '{name}' keeps something else than sums over examples, which cannot be added up over "
                    f"replicas: keep sums, or train on one device"
                )
            result = tf.function(lambda name=name, metric=metric: scalar(name, metric.result()), autograph=False)
            try:
                result.get_concrete_function()
            except (tf.errors.OpError, TypeError, ValueError) as error:
                said = str(error).strip().splitlines()[0]
                raise UsageError(f"the metric '{name}' cannot compute its result in a graph: {said}") from error

    def _trained(self, batch: Batch, before: Sequence[tf.Tensor]) -> tuple[list[np.ndarray], _Added]:
        """The changes of the layers' statistics, and the losses that layers added."""
        layers = self._state.layers

        def train(batch: Batch) -> None:
            found = self._step.shard_gradients(batch, tf.zeros(2, tf.int32), tf.UnconnectedGradients.NONE)
            self.names |= dict.fromkeys(found.losses)
            for objective in self._state.parts.objectives:
                pairs = zip(active(objective), found.gradients[objective.name], strict=True)
                self.unreached |= {id(variable) for variable, gradient in pairs if gradient is None}
            self._task.update(self._state.metrics, batch, found.outputs)

        self._step.strategy.run(train, args=(batch,))
        changes = [
            np.asarray(v.value.read_value(), np.float64) - np.asarray(old, np.float64)
            for v, old in zip(layers.statistics, before, strict=True)
        ]
        layers.assign(before)
        return changes, self._added()

    def _infer(self, batch: Batch) -> None:
        def infer(batch: Batch) -> None:
            outputs = self._task.outputs(batch)
            clash = (self.names.keys() | self._task.evaluate(batch, outputs).keys()) & self._state.metrics.keys()
            if clash:
                raise UsageError(f"a metric has the name of a loss, '{min(clash)}': give the metric another name")
            self._task.update(self._state.metrics, batch, outputs)

        self._step.strategy.run(infer, args=(batch,))

    def _padded_pair(self) -> Batch:
        padded = {name: tf.concat([tensor, tensor], axis=0) for name, tensor in self._pair.items()}
        return padded | {"valid": tf.constant([1.0, 1.0, 0.0, 0.0]), "global_valid": tf.fill([4], 2.0)}

    def _judged(self, *batches: Batch) -> dict[str, list[np.ndarray]]:
        """The variables of each metric after some batches."""
        metrics = self._state.metrics
        _reset(metrics)
        for batch in batches:
            self._infer(batch)
        for name, metric in metrics.items():
            scalar(name, metric.result())
        return {
            name: [np.asarray(tf.convert_to_tensor(v.value), np.float64) for v in metric.variables]
            for name, metric in metrics.items()
        }

    def _added(self) -> _Added:
        """The losses that layers have just added."""
        found = private_keras.call_losses(self._state.parts.models.values())
        return [(layer.name, tf.convert_to_tensor(loss)) for layer, loss in found]

    def _require_means(self, of_few: _Added, of_many: _Added, random: bool) -> None:
        """Raises UsageError for a layer's loss that is neither one per example nor a mean over a batch."""
        if self._state.parts.compares_examples:
            return
        for (name, few), (_, many) in zip(of_few, of_many, strict=False):
            if few.shape.rank and many.shape[0] == 2 * few.shape[0]:
                continue  # numbers of examples
            of_few_added, of_many_added = (np.asarray(loss, np.float64).sum(keepdims=True) for loss in (few, many))
            if _depends_on_number(of_few_added, of_many_added, random):
                raise UsageError(
                    f"the layer '{name}' adds a loss that changes with the number of copies of an example in a batch, "
                    f"so it is no mean: pass one number per example to add_loss, which are summed over the global "
                    f"batch, or their mean"
                )

    def _drop_padding(self, why: str) -> None:
        if self._step.arithmetic.xla:
            raise UsageError(
                f"Arithmetic.xla = True: {why}, for which padding is dropped, and XLA compiles for batches of one "
                f"size: set it to None or False"
            )
        self._step.drops_padding = True


def _depends_on_number(of_few: np.ndarray, of_many: np.ndarray, random: bool) -> bool:
    """Whether a number differs between a batch of copies of one example and one of twice as many.

    random: whether layers draw random numbers, so that only what doubles can be told.
    """
    if random:
        return bool(np.any(of_few)) and _near(of_many, 2 * of_few)
    return not _near(of_many, of_few)


def _near(a: np.ndarray, b: np.ndarray) -> bool:
    scale = float(np.abs(b).max(initial=0.0))
    return bool(np.allclose(a, b, rtol=_TOLERANCE, atol=_TOLERANCE * scale + 1e-9, equal_nan=True))


def _all_near(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    return all(map(_near, some, others))


def _said(change: np.ndarray) -> str:
    return f"{float(np.sum(change)):.4g}"


def _reset(metrics: Mapping[str, keras.metrics.Metric]) -> None:
    for metric in metrics.values():
        metric.reset_state()


def _apply(train_step: TrainStep) -> None:
    for objective in train_step.state.parts.objectives:
        variables = active(objective)
        objective.optimizer.apply([tf.zeros_like(variable.value) for variable in variables], variables)
