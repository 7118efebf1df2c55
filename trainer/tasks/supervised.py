"""The common case, with no task code: a Keras model, a loss and metrics named in gin.

Any model with one input (or a dict of fields) and one output, and any per-example Keras loss. Several outputs are
multi_output.py's; two objectives need a task of their own.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from trainer.base import private_keras
from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.tasks import masked, targets
from trainer.tasks.keras_loss import KerasLoss
from trainer.tasks.keras_models import require_plain
from trainer.tasks.masked import Masked
from trainer.tasks.protocol import Batch, Loss, Objective, Parts, penalties


class Supervised:
    """Minimises a loss between a model's output and a target.

    Args:
      model: makes the Keras model; it need not be built.
      loss: a class of keras.losses, or a function (y_true, y_pred) -> [n] or [n, tokens, …]. See keras_loss.py.
      optimizer: makes the Keras optimizer.
      metrics: make the Keras metrics; reports use their Keras names.
      x: the field that is the model's input; a list of fields becomes a dict.
      y: the field of the target; equal to `x` for an autoencoder.
      weight: a field of weights, one per example. As in Keras, weights scale the losses and not the divisor.
      class_weight: class -> weight, for integer targets; in training only, as in Keras.

    Regularisation losses are part of the loss in training and in evaluation.

    Sequences and images: if the output has a Keras mask, or the loss has more than one value per example, the loss is
    the mean over tokens, without masked ones and those of an `ignore_class`.

    Raises:
      UsageError: the reduction of `loss` is no mean.
    """

    def __init__(
        self,
        model: Callable[[], keras.Model],
        loss: Callable[..., Any],
        optimizer: Callable[[], keras.optimizers.Optimizer],
        metrics: Sequence[Callable[[], keras.metrics.Metric]] = (),
        x: str | list[str] = "x",
        y: str = "y",
        weight: str | None = None,
        class_weight: dict[int, float] | None = None,
    ):
        self._make_model, self._make_optimizer, self._make_metrics = model, optimizer, metrics
        self._loss = KerasLoss(loss, "Supervised.loss")
        self._x, self._y, self._weight, self._class_weight = x, y, weight, class_weight
        self._names: list[str] = []  # of the metrics, once they have been made

    def build(self, fields: Mapping[str, Field]) -> Parts:
        used = [self._x] if isinstance(self._x, str) else self._x
        for name in [*used, self._y, *([self._weight] if self._weight else [])]:
            if name not in fields:
                raise UsageError(f"the task uses the field '{name}'; the data has: {', '.join(sorted(fields))}")
        self._require_one_number(fields)
        self._require_labels(fields[self._y])
        self.model = self._make_model()
        if not callable(self.model):
            raise UsageError(f"Supervised.model made {self.model!r} and no Keras model: does its function return it?")
        require_plain(self.model, "Supervised.model")
        # Called with the largest word number, so that a layers.Embedding that is too small fails here, not in training.
        largest = {name: max(len(fields[name].vocabulary) - 1, 0) for name in used}
        example = {
            name: tf.fill((1, *fields[name].shape), tf.cast(n, fields[name].dtype)) for name, n in largest.items()
        }
        output = self.model(self._input(example), training=False)  # builds what is not built yet
        if not isinstance(output, tf.Tensor):
            raise UsageError("Supervised takes a model with one output tensor; write a task for several")
        targets.require_fit(self._y, fields[self._y], output.shape, self._loss.loss)
        objective = Objective("loss", self.model.trainable_variables, self._make_optimizer())
        return Parts([objective], {"model": self.model}, compares_examples=self._loss.is_contrastive)

    def _require_one_number(self, fields: Mapping[str, Field]) -> None:
        """Raises UsageError where more than one number per example would be broadcast against the examples."""
        for name, purpose in ((self._weight, "weight"), (self._class_weight and self._y, "class_weight")):
            if name and math.prod(fields[name].shape) != 1:
                raise UsageError(
                    f"Supervised.{purpose} needs one number per example, but '{name}' has shape "
                    f"{list(fields[name].shape)}: use another field, or a task of your own"
                )

    def _require_labels(self, target: Field) -> None:
        """Raises UsageError for weights of classes that no label can have: they would have no effect."""
        if target.minimum is None or target.maximum is None:
            return
        for each in self._class_weight or {}:
            if not target.minimum <= each <= target.maximum:
                raise UsageError(
                    f"Supervised.class_weight has a weight for class {each}, but labels '{self._y}' run from "
                    f"{target.minimum} to {target.maximum}: correct it, or drop it"
                )

    def _input(self, batch: Batch) -> tf.Tensor | dict[str, tf.Tensor]:
        return batch[self._x] if isinstance(self._x, str) else {name: batch[name] for name in self._x}

    def _class_weights(self, batch: Batch) -> tf.Tensor | float:
        weight = 1.0
        if self._class_weight:
            classes, weights = list(self._class_weight), list(self._class_weight.values())
            labels = tf.reshape(batch[self._y], (-1, 1))
            labels = tf.round(labels) if labels.dtype.is_floating else labels  # as Keras does
            match = tf.cast(labels, tf.int64) == tf.constant(classes, tf.int64)
            found = tf.reduce_any(match, axis=1)
            weight = tf.where(found, tf.reduce_sum(tf.where(match, tf.constant(weights, tf.float32), 0.0), axis=1), 1.0)
        return weight

    def _additive(self, batch: Batch, outputs: tf.Tensor, weight: tf.Tensor | float) -> Mapping[str, Loss]:
        found = self._loss(batch[self._y], outputs, private_keras.mask_of(outputs))
        valid = batch["valid"]
        weight = weight * valid
        if self._weight:
            weight *= tf.cast(tf.reshape(batch[self._weight], [-1]), tf.float32)
        values, counts = tf.reduce_sum(found.values, axis=1) * weight, tf.reduce_sum(found.kept, axis=1)
        counts *= weight if self._loss.divides_by_weights else valid
        return {"loss": Loss(values, counts, penalties(batch, self.model))}

    def losses(self, batch: Batch, seed: tf.Tensor) -> tuple[Mapping[str, Loss], tf.Tensor | Masked]:
        outputs = self.model(self._input(batch), training=True)
        return self._additive(batch, outputs, self._class_weights(batch)), masked.kept(outputs)

    def outputs(self, batch: Batch) -> tf.Tensor:
        return self.model(self._input(batch), training=False)

    def evaluate(self, batch: Batch, outputs: tf.Tensor) -> Mapping[str, Loss]:
        return self._additive(batch, outputs, 1.0)

    def metrics(self) -> Mapping[str, keras.metrics.Metric]:
        made = [make() for make in self._make_metrics]
        # Keras appends numbers to names that it has used before; evaluation must have the same names as training.
        self._names = self._names or targets.named(made, "Supervised.metrics")
        return dict(zip(self._names, made, strict=True))

    def update(self, metrics: Mapping[str, keras.metrics.Metric], batch: Batch, outputs: tf.Tensor | Masked) -> None:
        plain, weight = masked.weighted(outputs, batch["valid"])
        for metric in metrics.values():
            targets.update(metric, batch[self._y], plain, weight)
