"""A model with several outputs, each with a target, a loss and metrics of its own, trained together."""

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from trainer.errors import UsageError
from trainer.tasks import targets
from trainer.tasks.protocol import Loss, Objective, Parts, penalties


class Head:
    """What one output is judged by.

    Args:
      target: the field that it is to predict.
      loss: class of a Keras loss, such as keras.losses.MeanSquaredError.
      weight: of this loss in the sum that is minimised.
      metrics: make Keras metrics of (target, output).
    """

    def __init__(self, target: str, loss: Callable, weight: float = 1.0, metrics: Sequence[Callable] = ()):
        self.target, self.loss, self.weight, self.metrics = target, loss(reduction="none"), weight, metrics

    def losses(self, batch, output) -> tf.Tensor:
        """The loss of each example, float32 [n]: the mean over what an output has besides its examples."""
        values = tf.cast(self.loss(batch[self.target], tf.cast(output, tf.float32)), tf.float32)
        return tf.reduce_mean(tf.reshape(values, (tf.shape(values)[0], -1)), axis=1)


class MultiOutput:
    """Minimises the weighted sum of the losses of a model's outputs.

    Args:
      model: makes a model from a dict of the inputs to a dict of outputs [n, ...].
      inputs: the fields that it is given.
      heads: by the names of the outputs; each makes a Head.
      optimizer: makes the Keras optimizer.
    """

    def __init__(
        self,
        model: Callable[[], keras.Model],
        inputs: Sequence[str],
        heads: Mapping[str, Callable[[], Head]],
        optimizer: Callable,
    ):
        self._make_model, self._make_optimizer, self._inputs = model, optimizer, list(inputs)
        if not heads:
            raise UsageError("MultiOutput.heads is empty: name what each output is judged by")
        self._heads = {name: make() for name, make in heads.items()}
        self._names: dict[str, list[str]] = {}  # of each output's metrics, once they were made

    def build(self, fields):
        for name in (*self._inputs, *(head.target for head in self._heads.values())):
            if name not in fields:
                raise UsageError(f"the task uses the field '{name}'; the data has: {', '.join(sorted(fields))}")
        self.model = self._make_model()
        found = self.model({name: tf.zeros((1, *fields[name].shape), fields[name].dtype) for name in self._inputs})
        if not isinstance(found, Mapping) or found.keys() != self._heads.keys():
            names = ", ".join(found) if isinstance(found, Mapping) else type(found).__name__
            raise UsageError(f"MultiOutput.heads are {', '.join(self._heads)}; the model puts out {names}")
        for name, head in self._heads.items():
            targets.require_fit(head.target, fields[head.target], found[name].shape, head.loss)
        return Parts([Objective("loss", self.model.trainable_variables, self._make_optimizer())], {"model": self.model})

    def losses(self, batch, seed):
        outputs = self.model({name: batch[name] for name in self._inputs}, training=True)
        return self._sum(batch, outputs), outputs

    def _sum(self, batch, outputs):
        values = tf.add_n([head.weight * head.losses(batch, outputs[name]) for name, head in self._heads.items()])
        return {"loss": Loss(values * batch["valid"], batch["valid"], penalties(self.model))}

    def outputs(self, batch):
        """The model's own, by name."""
        return self.model({name: batch[name] for name in self._inputs}, training=False)

    def evaluate(self, batch, outputs):
        return self._sum(batch, outputs)

    def metrics(self):
        """OUTPUT/loss, not weighted, and OUTPUT/METRIC."""
        found: dict[str, keras.metrics.Metric] = {}
        for name, head in self._heads.items():
            made = [keras.metrics.Mean("loss"), *(make() for make in head.metrics)]
            # Keras numbers those that it has named before; in an evaluation they are to be called as in training.
            names = self._names.setdefault(name, targets.named(made, f"Head.metrics of '{name}'"))
            found |= {f"{name}/{each}": metric for each, metric in zip(names, made, strict=True)}
        return found

    def update(self, metrics, batch, outputs):
        for name, head in self._heads.items():
            loss, *others = (metrics[f"{name}/{each}"] for each in self._names[name])
            loss.update_state(head.losses(batch, outputs[name]), sample_weight=batch["valid"])
            for metric in others:
                metric.update_state(batch[head.target], outputs[name], sample_weight=batch["valid"])
