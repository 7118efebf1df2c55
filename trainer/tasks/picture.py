"""What tasks share whose trained variable is an image: a photo is changed, the network that judges it is not."""

import math
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from trainer.errors import UsageError
from trainer.tasks.images import require_photos
from trainer.tasks.protocol import Loss, Objective, Parts


def shifted(images: tf.Tensor, seed: tf.Tensor, border: int) -> tf.Tensor:
    """Images [n, height, width, 3], all shifted alike, by up to `border` pixels that `seed` (int32[2]) decides.

    What a side lacks is filled with its reflection.
    """
    shift = tf.random.stateless_uniform((2,), seed, 0, 2 * border + 1, tf.int32)
    wider = tf.pad(images, [[0, 0], [border, border], [border, border], [0, 0]], "REFLECT")
    return tf.slice(wider, tf.concat([[0], shift, [0]], axis=0), tf.shape(images))


def variation(images: tf.Tensor) -> tf.Tensor:
    """The distances between neighbouring pixels of images [n, height, width, 3], 0 to 255: total variation, as a share
    of 255 per number: [n].
    """
    return tf.image.total_variation(images) / (255.0 * math.prod(images.shape[1:]))


class Picture:
    """A photo, and what is added to it, which is trained. Subclasses say what is minimised, in `judge`.

    A task does not know its data when it is built, only their shape; so what is trained starts as zeros, and the photo
    comes with every batch. The data is one example, the rest of a batch padding.

    Args:
      model: makes the network: from RGB images [n, height, width, 3], 0 to 255, to activations by layer.
      optimizer: makes the Keras optimizer; the learning rate is about how far a pixel moves in a step, of 255.
      layers: those of the network's layers that are looked at.
      fields: of images; the first is the photo that is changed.
    """

    def __init__(self, model: Callable, optimizer: Callable, layers: Sequence[str], fields: Sequence[str]):
        self._make_model, self._make_optimizer = model, optimizer
        self._layers, self._fields = layers, fields

    def build(self, fields):
        if not self._layers:
            raise UsageError(f"{type(self).__name__}: name at least one layer of the network to look at")
        require_photos(fields, self._fields)
        shape = fields[self._fields[0]].shape
        self.model = self._make_model()
        known = self.model(tf.zeros((1, *shape)), training=False)
        for name in self._layers:
            if name not in known:
                raise UsageError(f"the network has no layer '{name}'; it has: {', '.join(known)}")
        self.change = keras.Variable(tf.zeros(shape), name="change")
        # The network is in no objective: it is not trained, and the optimizer keeps nothing for it.
        objective = Objective("loss", [self.change], self._make_optimizer())
        return Parts([objective], {"model": self.model}, {"change": self.change})

    def judge(self, images, batch, seed):
        """What is to be minimised.

        Args:
          images: float32 [n, height, width, 3], 0 to 255, as changed so far.
          batch: the fields [n, …] that came with them; no padding.
          seed: int32[2].

        Returns: float32 [n].
        """
        raise NotImplementedError

    def activations(self, images):
        """By layer, float32, of those that are looked at."""
        found = self.model(images, training=False)
        return {name: tf.cast(found[name], tf.float32) for name in self._layers}

    def losses(self, batch, seed):
        valid = batch["valid"]
        rows = tf.where(valid > 0)

        def judged():
            real = {name: tf.gather(values, rows[:, 0]) for name, values in batch.items()}
            return tf.scatter_nd(rows, self.judge(self._changed(real), real, seed), tf.shape(valid, tf.int64))

        # Padding would take as long as the photo itself, and not every op takes no images.
        values = tf.cond(tf.reduce_any(valid > 0), judged, lambda: tf.zeros_like(valid))
        return {"loss": Loss(values, valid)}, ()

    def _changed(self, batch):
        return tf.clip_by_value(tf.cast(batch[self._fields[0]], tf.float32) + self.change.value, 0.0, 255.0)

    def outputs(self, batch):
        """'image' float32 [n, height, width, 3] in 0..1: the photo as it is now."""
        return {"image": self._changed(batch) / 255.0}

    def evaluate(self, batch, outputs):
        return self.losses(batch, tf.constant([0, 0]))[0]

    def metrics(self):
        return {}

    def update(self, metrics, batch, outputs):
        pass

    def samples(self, batch, seed):
        """'picture': the photo as it is now."""
        return {"images/picture": self._changed(batch) / 255.0}
