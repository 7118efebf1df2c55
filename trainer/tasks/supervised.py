"""The common case, with no task code: a Keras model, a loss and metrics named in gin.

Any model with one input and one output (or a dict of fields as input) and any per-example Keras loss. Two outputs or
two objectives are a task of their own.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from trainer.data.source import Field
from trainer.errors import UsageError
from trainer.tasks import targets
from trainer.tasks.protocol import Loss, Objective, Parts, penalties


class _Masked(NamedTuple):
    """Outputs and the mask that Keras keeps as an attribute, which the outputs of a tf.function lose."""

    outputs: tf.Tensor
    mask: tf.Tensor


def _masked(outputs: tf.Tensor) -> tf.Tensor | _Masked:
    mask = getattr(outputs, "_keras_mask", None)
    return outputs if mask is None else _Masked(outputs, mask)


def _unmasked(outputs: tf.Tensor | _Masked) -> tuple[tf.Tensor, tf.Tensor | None]:
    return outputs if isinstance(outputs, _Masked) else (outputs, getattr(outputs, "_keras_mask", None))


class Supervised:
    """Minimises a loss between a model's output and a target.

    Args:
      model: makes the Keras model; it need not be built.
      loss: a class of keras.losses, or a function (y_true, y_pred) -> [n] or [n, tokens …].
      optimizer: makes the Keras optimizer.
      metrics: make Keras metrics; in reports each has its Keras name.
      x: the field the model is fed with; a list of names feeds it a dict.
      y: the field it is compared with; equal to `x` for an autoencoder.
      weight: a field of weights, one an example. As in Keras, weights scale the losses and not the divisor.
      class_weight: class -> weight, for integer targets; of training alone, as in Keras. The penalties of regularisers
        are part of the loss in training and evaluation.

    Sequences: where the model's output carries a Keras mask, or the loss has more than one value an example, a token
    is what counts, and masked tokens do not.
    """

    def __init__(
        self,
        model: Callable[[], keras.Model],
        loss: Callable,
        optimizer: Callable[[], keras.optimizers.Optimizer],
        metrics: Sequence[Callable[[], keras.metrics.Metric]] = (),
        x: str | list[str] = "x",
        y: str = "y",
        weight: str | None = None,
        class_weight: dict[int, float] | None = None,
    ):
        self._make_model, self._make_optimizer, self._make_metrics = model, optimizer, metrics
        self._loss: Callable = loss(reduction="none") if isinstance(loss, type) else loss
        if getattr(self._loss, "reduction", None) not in (None, "none"):
            raise UsageError(
                f"Supervised.loss is a {type(loss).__name__} that adds up a batch by itself: name its class instead, "
                f"in gin without the ()"
            )
        self._x, self._y, self._weight, self._class_weight = x, y, weight, class_weight
        self._names: list[str] = []  # of the metrics, once they were made

    def build(self, fields: Mapping[str, Field]) -> Parts:
        used = [self._x] if isinstance(self._x, str) else self._x
        for name in [*used, self._y, *([self._weight] if self._weight else [])]:
            if name not in fields:
                raise UsageError(f"the task uses the field '{name}'; the data has: {', '.join(sorted(fields))}")
        self._require_one_number(fields)
        self.model = self._make_model()
        if not callable(self.model):
            raise UsageError(f"Supervised.model made {self.model!r} and no Keras model: does its function return it?")
        # Words by their last number, which a layers.Embedding with room for fewer refuses here, and not while training.
        largest = {name: max(len(fields[name].vocabulary) - 1, 0) for name in used}
        example = {
            name: tf.fill((1, *fields[name].shape), tf.cast(n, fields[name].dtype)) for name, n in largest.items()
        }
        output = self.model(self._input(example), training=False)  # builds what is not built yet
        if not isinstance(output, tf.Tensor):
            raise UsageError("Supervised takes a model with one output tensor; write a task for several")
        targets.require_fit(self._y, fields[self._y], output.shape, self._loss)
        objective = Objective("loss", self.model.trainable_variables, self._make_optimizer())
        return Parts([objective], {"model": self.model})

    def _require_one_number(self, fields: Mapping[str, Field]) -> None:
        """Where more than one number an example would be broadcast against the examples."""
        for name, purpose in ((self._weight, "weight"), (self._class_weight and self._y, "class_weight")):
            if name and math.prod(fields[name].shape) != 1:
                raise UsageError(
                    f"Supervised.{purpose} needs one number an example, but '{name}' has shape "
                    f"{list(fields[name].shape)}: use another field, or a task of your own"
                )

    def _input(self, batch):
        return batch[self._x] if isinstance(self._x, str) else {name: batch[name] for name in self._x}

    def _tokens(self, batch, outputs):
        """The losses [n, tokens] (tokens 1 for plain examples) and which of them count, both float32."""
        values = tf.cast(self._loss(batch[self._y], outputs), tf.float32)
        values = tf.reshape(values, (tf.shape(values)[0], -1))
        outputs, mask = _unmasked(outputs)
        kept = tf.ones_like(values) if mask is None else tf.reshape(tf.cast(mask, tf.float32), tf.shape(values))
        return values * kept, kept * batch["valid"][:, None]

    def _class_weights(self, batch):
        weight = 1.0
        if self._class_weight:
            classes, weights = list(self._class_weight), list(self._class_weight.values())
            match = tf.cast(tf.reshape(batch[self._y], (-1, 1)), tf.int64) == tf.constant(classes, tf.int64)
            found = tf.reduce_any(match, axis=1)
            weight = tf.where(found, tf.reduce_sum(tf.where(match, tf.constant(weights, tf.float32), 0.0), axis=1), 1.0)
        return weight

    def _additive(self, batch, outputs, weight) -> Mapping[str, Loss]:
        values, counts = self._tokens(batch, outputs)
        weight = weight * batch["valid"]
        if self._weight:
            weight *= tf.cast(tf.reshape(batch[self._weight], [-1]), tf.float32)
        values, counts = tf.reduce_sum(values, axis=1) * weight, tf.reduce_sum(counts, axis=1)
        return {"loss": Loss(values, counts, penalties(self.model))}

    def losses(self, batch, seed):
        outputs = self.model(self._input(batch), training=True)
        return self._additive(batch, outputs, self._class_weights(batch)), _masked(outputs)

    def outputs(self, batch):
        return self.model(self._input(batch), training=False)

    def evaluate(self, batch, outputs):
        return self._additive(batch, outputs, 1.0)

    def metrics(self):
        made = [make() for make in self._make_metrics]
        # Keras numbers those that it has named before; in an evaluation they are to be called as in training.
        self._names = self._names or targets.named(made, "Supervised.metrics")
        return dict(zip(self._names, made, strict=True))

    def update(self, metrics, batch, outputs):
        weight = batch["valid"]
        outputs, mask = _unmasked(outputs)
        if mask is not None:
            weight = tf.cast(mask, tf.float32) * weight[:, None]
        for metric in metrics.values():
            metric.update_state(batch[self._y], outputs, sample_weight=weight)
