"""A model with several outputs, each with its own target, loss and metrics, trained together by one optimizer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from trainer.base import private_keras
from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.tasks import targets
from trainer.tasks.keras_loss import KerasLoss
from trainer.tasks.keras_models import require_plain
from trainer.tasks.protocol import Batch, Loss, Objective, Parts, penalties


class Head:
    """The target, loss and metrics of one output.

    Args:
      target: the field that the output predicts.
      loss: class of a Keras loss, such as keras.losses.MeanSquaredError.
      weight: of this loss in the sum that is minimised.
      metrics: make the Keras metrics of (target, output).
    """

    def __init__(
        self,
        target: str,
        loss: Callable[..., Any],
        weight: float = 1.0,
        metrics: Sequence[Callable[[], keras.metrics.Metric]] = (),
    ):
        self.target, self.loss, self.weight, self.metrics = target, KerasLoss(loss, "Head.loss"), weight, metrics

    def losses(self, batch: Batch, output: tf.Tensor) -> tf.Tensor:
        """The loss of each example, float32 [n]: the mean over its tokens."""
        return tf.reduce_mean(self.loss(batch[self.target], tf.cast(output, tf.float32), None).values, axis=1)


class MultiOutput:
    """Minimises the weighted sum of the losses of a model's outputs.

    Args:
      model: makes a model from a dict of inputs to a dict of outputs [n, …].
      inputs: the fields that are its inputs.
      heads: output -> makes its Head.
      optimizer: makes the Keras optimizer.

    Raises:
      UsageError: `heads` is empty.
    """

    def __init__(
        self,
        model: Callable[[], keras.Model],
        inputs: Sequence[str],
        heads: Mapping[str, Callable[[], Head]],
        optimizer: Callable[[], keras.optimizers.Optimizer],
    ):
        self._make_model, self._make_optimizer, self._inputs = model, optimizer, list(inputs)
        if not heads:
            raise UsageError("MultiOutput.heads is empty: give a Head for each output of the model")
        self._heads = {name: make() for name, make in heads.items()}
        self._names: dict[str, list[str]] = {}  # of each output's metrics, once they have been made

    def build(self, fields: Mapping[str, Field]) -> Parts:
        for name in (*self._inputs, *(head.target for head in self._heads.values())):
            if name not in fields:
                raise UsageError(f"the task uses the field '{name}'; the data has: {', '.join(sorted(fields))}")
        self.model = self._make_model()
        require_plain(self.model, "MultiOutput.model")
        found = self.model({name: tf.zeros((1, *fields[name].shape), fields[name].dtype) for name in self._inputs})
        if not isinstance(found, Mapping) or found.keys() != self._heads.keys():
            names = ", ".join(found) if isinstance(found, Mapping) else type(found).__name__
            raise UsageError(f"MultiOutput.heads are {', '.join(self._heads)}; the model puts out {names}")
        for name, head in self._heads.items():
            targets.require_fit(head.target, fields[head.target], found[name].shape, head.loss.loss)
            if (
                private_keras.mask_of(found[name]) is not None
                or getattr(head.loss.loss, "ignore_class", None) is not None
            ):
                raise UsageError(
                    f"MultiOutput.heads: of '{name}' some tokens count and others do not (a mask, or ignore_class), so "
                    f"that it needs a divisor of its own: write a task with an Objective for it"
                )
        objective = Objective("loss", self.model.trainable_variables, self._make_optimizer())
        compares = any(head.loss.is_contrastive for head in self._heads.values())
        return Parts([objective], {"model": self.model}, compares_examples=compares)

    def losses(self, batch: Batch, seed: tf.Tensor) -> tuple[Mapping[str, Loss], Mapping[str, tf.Tensor]]:
        outputs = self.model({name: batch[name] for name in self._inputs}, training=True)
        return self._sum(batch, outputs), outputs

    def _sum(self, batch: Batch, outputs: Mapping[str, tf.Tensor]) -> Mapping[str, Loss]:
        """'loss', and 'OUTPUT/loss', unweighted, to be shown."""
        valid = batch["valid"]
        values = {name: head.losses(batch, outputs[name]) * valid for name, head in self._heads.items()}
        total = tf.add_n([head.weight * values[name] for name, head in self._heads.items()])
        parts = {f"{name}/loss": Loss(values[name], valid) for name in self._heads}
        return {"loss": Loss(total, valid, penalties(batch, self.model)), **parts}

    def outputs(self, batch: Batch) -> Mapping[str, tf.Tensor]:
        """The model's outputs by name."""
        found: Mapping[str, tf.Tensor] = self.model({name: batch[name] for name in self._inputs}, training=False)
        return found

    def evaluate(self, batch: Batch, outputs: Mapping[str, tf.Tensor]) -> Mapping[str, Loss]:
        return self._sum(batch, outputs)

    def metrics(self) -> Mapping[str, keras.metrics.Metric]:
        """'OUTPUT/METRIC'."""
        found: dict[str, keras.metrics.Metric] = {}
        for name, head in self._heads.items():
            made = [make() for make in head.metrics]
            # Keras appends numbers to names that it has used before; evaluation must have the same names as training.
            names = self._names.setdefault(name, targets.named(made, f"Head.metrics of '{name}'"))
            found |= {f"{name}/{each}": metric for each, metric in zip(names, made, strict=True)}
        return found

    def update(
        self, metrics: Mapping[str, keras.metrics.Metric], batch: Batch, outputs: Mapping[str, tf.Tensor]
    ) -> None:
        for name, head in self._heads.items():
            for each in self._names[name]:
                targets.update(metrics[f"{name}/{each}"], batch[head.target], outputs[name], batch["valid"])
