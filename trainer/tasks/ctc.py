"""Connectionist temporal classification (CTC): reads strings without knowing where in the input each symbol is.

Graves et al. 2006, https://www.cs.toronto.edu/~graves/icml_2006.pdf. Decodes greedily, without beam search.
"""

from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.tasks.protocol import Batch, Loss, Objective, Parts, penalties


class Ctc:
    """Minimises the negative logarithm of a string's probability, summed over all its alignments, in nats per string.

    Args:
      model: makes a model from the inputs to logits [n, times, 1 + classes]; class 0 is the blank.
      optimizer: makes the Keras optimizer.
      x: the field of the inputs.
      y: the field of the strings: integers [symbols], classes from 0; shorter strings are padded with -1.
    """

    def __init__(
        self,
        model: Callable[[], keras.Model],
        optimizer: Callable[[], keras.optimizers.Optimizer],
        x: str = "x",
        y: str = "y",
    ):
        self._make_model, self._make_optimizer, self._x, self._y = model, optimizer, x, y

    def build(self, fields: Mapping[str, Field]) -> Parts:
        for name in (self._x, self._y):
            if name not in fields:
                raise UsageError(f"the task uses the field '{name}'; the data has: {', '.join(sorted(fields))}")
        target = fields[self._y]
        if len(target.shape) != 1 or not tf.as_dtype(target.dtype).is_integer:
            raise UsageError(
                f"the target '{self._y}' is {target.dtype} {list(target.shape)}: a string is whole numbers [symbols]"
            )
        if target.minimum is not None and target.minimum < -1:
            raise UsageError(f"'{self._y}' has a class {target.minimum}: classes count from 0, and -1 is padding")
        self.model = self._make_model()
        found = self.model(tf.zeros((1, *fields[self._x].shape), fields[self._x].dtype), training=False).shape
        if len(found) != 3:
            raise UsageError(f"the model puts out {list(found[1:])}: it needs [times, 1 + classes]")
        # Two equal symbols in a row need a blank between them.
        needed = 2 * target.shape[0] - 1
        if found[1] < needed:
            raise UsageError(
                f"the model puts out {found[1]} time steps for strings of {target.shape[0]} symbols: if all of them "
                f"are equal, it needs {needed}; stride or pool less"
            )
        if target.maximum is not None and target.maximum + 1 >= found[2]:
            raise UsageError(f"'{self._y}' has classes to {target.maximum}, the model {found[2] - 1} besides the blank")
        return Parts([Objective("loss", self.model.trainable_variables, self._make_optimizer())], {"model": self.model})

    def _loss(self, batch: Batch, logits: tf.Tensor) -> Mapping[str, Loss]:
        logits, strings = tf.cast(logits, tf.float32), tf.cast(batch[self._y], tf.int32) + 1
        times = tf.fill([tf.shape(logits)[0]], tf.shape(logits)[1])
        lengths = tf.reduce_sum(tf.cast(strings > 0, tf.int32), axis=1)
        values = tf.nn.ctc_loss(strings, logits, lengths, times, logits_time_major=False, blank_index=0)
        return {"loss": Loss(values * batch["valid"], batch["valid"], penalties(batch, self.model))}

    def losses(self, batch: Batch, seed: tf.Tensor) -> tuple[Mapping[str, Loss], tf.Tensor]:
        logits = self.model(batch[self._x], training=True)
        return self._loss(batch, logits), logits

    def outputs(self, batch: Batch) -> Mapping[str, tf.Tensor]:
        """'logits' [n, times, 1 + classes]; 'string' int32 [n, times]: decoded greedily, -1 after its end."""
        logits = tf.cast(self.model(batch[self._x], training=False), tf.float32)
        return {"logits": logits, "string": _read(logits)}

    def evaluate(self, batch: Batch, outputs: Mapping[str, tf.Tensor]) -> Mapping[str, Loss]:
        return self._loss(batch, outputs["logits"])

    def metrics(self) -> Mapping[str, keras.metrics.Metric]:
        return {"exact": keras.metrics.Mean("exact")}

    def update(
        self, metrics: Mapping[str, keras.metrics.Metric], batch: Batch, outputs: tf.Tensor | Mapping[str, tf.Tensor]
    ) -> None:
        found = outputs["string"] if isinstance(outputs, dict) else _read(tf.cast(outputs, tf.float32))
        wanted = tf.cast(batch[self._y], tf.int32)
        wanted = tf.pad(wanted, [[0, 0], [0, tf.shape(found)[1] - tf.shape(wanted)[1]]], constant_values=-1)
        right = tf.reduce_all(found == wanted, axis=1)
        metrics["exact"].update_state(tf.cast(right, tf.float32), sample_weight=batch["valid"])


def _read(logits: tf.Tensor) -> tf.Tensor:
    """The likeliest class at each time, without repetitions and blanks: int32 [n, times], -1 after a string's end."""
    best = tf.argmax(logits, axis=-1, output_type=tf.int32)
    before = tf.pad(best[:, :-1], [[0, 0], [1, 0]])
    kept = (best != before) & (best > 0)
    # A stable sort brings what is kept to the front.
    places = tf.argsort(tf.cast(~kept, tf.int32), axis=1, stable=True)
    return tf.gather(tf.where(kept, best - 1, -1), places, batch_dims=1)
