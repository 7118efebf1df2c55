"""A language model of characters: predicts the next character, and writes texts. Makes no vocabulary."""

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.tasks.protocol import Batch, Loss, Objective, Parts, penalties


class Language:
    """Minimises the cross-entropy of each next character, in nats per character.

    Args:
      model: makes a causal model from int [n, times] to logits [n, times, characters].
      optimizer: makes the Keras optimizer.
      x, y: the fields of the characters and of the next characters, as text.characters makes them.
      temperatures: of the texts that are written: logits are divided by them, so a low one writes likely characters, a
        high one surprising ones. Above 0.
      written: length of these texts, in characters.

    Raises:
      UsageError: an argument is out of range.
    """

    def __init__(
        self,
        model: Callable[[], keras.Model],
        optimizer: Callable[[], keras.optimizers.Optimizer],
        x: str = "x",
        y: str = "y",
        temperatures: Sequence[float] = (0.2, 0.5, 1.0, 1.2),
        written: int = 400,
    ):
        if not temperatures or min(temperatures) <= 0:
            raise UsageError(f"Language.temperatures = {list(temperatures)}: give numbers above 0")
        if written < 1:
            raise UsageError(f"Language.written = {written}: give a number of characters of at least 1")
        self._make_model, self._make_optimizer, self._x, self._y = model, optimizer, x, y
        self._temperatures, self._written = list(temperatures), written

    def build(self, fields: Mapping[str, Field]) -> Parts:
        for name in (self._x, self._y):
            if name not in fields or not fields[name].vocabulary or len(fields[name].shape) != 1:
                raise UsageError(f"the task uses the field '{name}', a text with a vocabulary: text.characters has one")
        self._characters = fields[self._x].vocabulary
        self._length = fields[self._x].shape[0]
        self.model = self._make_model()
        found = self.model(tf.zeros((1, self._length), tf.int32), training=False).shape[1:]
        if list(found) != [self._length, len(self._characters)]:
            raise UsageError(
                f"the model puts out {list(found)} for {self._length} characters of {len(self._characters)} kinds: it "
                f"needs [times, characters]"
            )
        return Parts([Objective("loss", self.model.trainable_variables, self._make_optimizer())], {"model": self.model})

    def _nats(self, batch: Batch, training: bool) -> tf.Tensor:
        logits = tf.cast(self.model(batch[self._x], training=training), tf.float32)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(batch[self._y], logits)

    def losses(self, batch: Batch, seed: tf.Tensor) -> tuple[Mapping[str, Loss], Mapping[str, tf.Tensor]]:
        outputs = {"nats": self._nats(batch, training=True)}
        return self.evaluate(batch, outputs), outputs

    def outputs(self, batch: Batch) -> Mapping[str, tf.Tensor]:
        """'nats' [n, times]: the cross-entropy of each next character."""
        return {"nats": self._nats(batch, training=False)}

    def evaluate(self, batch: Batch, outputs: Mapping[str, tf.Tensor]) -> Mapping[str, Loss]:
        values = tf.reduce_sum(outputs["nats"], axis=1) * batch["valid"]
        return {"loss": Loss(values, float(self._length) * batch["valid"], penalties(batch, self.model))}

    def metrics(self) -> Mapping[str, keras.metrics.Metric]:
        return {}

    def update(
        self, metrics: Mapping[str, keras.metrics.Metric], batch: Batch, outputs: Mapping[str, tf.Tensor]
    ) -> None:
        pass

    def samples(self, batch: Batch, seed: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """'temperature_T': the text that the model writes after the first example, for each temperature T."""
        begun = tf.repeat(tf.cast(batch[self._x][:1], tf.int32), len(self._temperatures), axis=0)
        temperatures = tf.constant(self._temperatures, tf.float32)[:, None]
        texts = tf.concat([begun, tf.zeros((len(self._temperatures), self._written), tf.int32)], axis=1)

        def write(i: tf.Tensor, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            # The model sees as many characters as a window has, as in training.
            logits = tf.cast(self.model(texts[:, i : i + self._length], training=False)[:, -1], tf.float32)
            drawn = tf.random.stateless_categorical(logits / temperatures, 1, seed + [0, i], tf.int32)
            place = tf.one_hot(i + self._length, self._length + self._written, dtype=tf.int32)
            return i + 1, texts + place * drawn

        _, texts = tf.while_loop(lambda i, _: i < self._written, write, (tf.constant(0), texts))
        said = tf.strings.reduce_join(tf.gather(tf.constant(self._characters), texts[:, self._length :]), axis=1)
        return {f"text/temperature_{t:g}": said[i : i + 1] for i, t in enumerate(self._temperatures)}
