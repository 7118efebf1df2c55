"""What comes next in a text: a model of its characters, and texts that it writes."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from trainer.errors import UsageError
from trainer.tasks.protocol import Loss, Objective, Parts, penalties


class Language:
    """Minimises the cross-entropy of each next character, in nats a character.

    Args:
      model: makes a model from int [n, times] to logits [n, times, characters]; it may look back, never ahead.
      optimizer: makes the Keras optimizer.
      x, y: the fields of the characters and of those that follow, as text.characters makes them.
      temperatures: of the texts that are written: the logits are divided by it, so that a low one writes what is
        likely, and a high one what is surprising. Each is above 0.
      written: how long these texts are, in characters.
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

    def build(self, fields):
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

    def _nats(self, batch, training):
        logits = tf.cast(self.model(batch[self._x], training=training), tf.float32)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(batch[self._y], logits)

    def losses(self, batch, seed):
        outputs = {"nats": self._nats(batch, training=True)}
        return self.evaluate(batch, outputs), outputs

    def outputs(self, batch):
        """'nats' [n, times]: how surprising each next character was."""
        return {"nats": self._nats(batch, training=False)}

    def evaluate(self, batch, outputs):
        values = tf.reduce_sum(outputs["nats"], axis=1) * batch["valid"]
        return {"loss": Loss(values, float(self._length) * batch["valid"], penalties(self.model))}

    def metrics(self):
        return {}

    def update(self, metrics, batch, outputs):
        pass

    def samples(self, batch, seed):
        """'temperature_T': what the model writes after the first text of the batch, for each temperature."""
        begun = tf.repeat(tf.cast(batch[self._x][:1], tf.int32), len(self._temperatures), axis=0)
        temperatures = tf.constant(self._temperatures, tf.float32)[:, None]
        texts = tf.concat([begun, tf.zeros((len(self._temperatures), self._written), tf.int32)], axis=1)

        def write(i, texts):
            # As in training, the model is shown as many characters as a window has.
            logits = tf.cast(self.model(texts[:, i : i + self._length], training=False)[:, -1], tf.float32)
            drawn = tf.random.stateless_categorical(logits / temperatures, 1, seed + [0, i], tf.int32)
            place = tf.one_hot(i + self._length, self._length + self._written, dtype=tf.int32)
            return i + 1, texts + place * drawn

        _, texts = tf.while_loop(lambda i, _: i < self._written, write, (tf.constant(0), texts))
        said = tf.strings.reduce_join(tf.gather(tf.constant(self._characters), texts[:, self._length :]), axis=1)
        return {f"text/temperature_{t:g}": said[i : i + 1] for i, t in enumerate(self._temperatures)}
