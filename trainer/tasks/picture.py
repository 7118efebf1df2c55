"""The base of tasks that train an image: a photo is changed, and the network that the loss is computed with is not."""

import math
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.tasks.images import require_photos
from trainer.tasks.protocol import Batch, Loss, Objective, Parts


def shifted(images: tf.Tensor, seed: tf.Tensor, border: int) -> tf.Tensor:
    """Shifts images [n, height, width, 3], all alike, by up to `border` pixels at random; `seed` is int32 [2].

    The gaps at the borders are filled with reflections.
    """
    shift = tf.random.stateless_uniform((2,), seed, 0, 2 * border + 1, tf.int32)
    wider = tf.pad(images, [[0, 0], [border, border], [border, border], [0, 0]], "REFLECT")
    return tf.slice(wider, tf.concat([[0], shift, [0]], axis=0), tf.shape(images))


def variation(images: tf.Tensor) -> tf.Tensor:
    """The mean total variation of images [n, height, width, 3], 0 to 255: float32 [n], per value and divided by 255."""
    return tf.image.total_variation(images) / (255.0 * math.prod(images.shape[1:]))


class Picture:
    """Trains the change of a photo, an image that is added to it. Subclasses define the loss, in `judge`.

    A task knows only the shape of its data when it is built, so the change starts as zeros, and the photo comes with
    every batch. The data is one example, and the rest of a batch is padding.

    Args:
      model: makes the network: from RGB images [n, height, width, 3], 0 to 255, to activations by layer.
      optimizer: makes the Keras optimizer; with Adam the learning rate is about how far a pixel moves per step, of 255.
      layers: the network's layers that `activations` returns.
      fields: of images; the first is the photo that is changed.
    """

    def __init__(
        self,
        model: Callable[[], keras.Model],
        optimizer: Callable[[], keras.optimizers.Optimizer],
        layers: Sequence[str],
        fields: Sequence[str],
    ):
        self._make_model, self._make_optimizer = model, optimizer
        self._layers, self._fields = layers, fields

    def build(self, fields: Mapping[str, Field]) -> Parts:
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
        # The network is in no objective, so it is not trained, and the optimizer keeps no slots for it.
        objective = Objective("loss", [self.change], self._make_optimizer())
        return Parts([objective], {"model": self.model}, {"change": self.change})

    def judge(self, images: tf.Tensor, batch: Batch, seed: tf.Tensor) -> tf.Tensor:
        """The loss to minimise.

        Args:
          images: float32 [n, height, width, 3], 0 to 255, the photo as changed so far.
          batch: the fields [n, …] that came with it; no padding.
          seed: int32 [2].

        Returns: float32 [n].
        """
        raise NotImplementedError

    def activations(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The activations of `layers` by name, float32 [n, …]."""
        found = self.model(images, training=False)
        return {name: tf.cast(found[name], tf.float32) for name in self._layers}

    def losses(self, batch: Batch, seed: tf.Tensor) -> tuple[Mapping[str, Loss], tuple[()]]:
        valid = batch["valid"]
        rows = tf.where(valid > 0)

        def judged() -> tf.Tensor:
            real = {name: tf.gather(values, rows[:, 0]) for name, values in batch.items()}
            return tf.scatter_nd(rows, self.judge(self._changed(real), real, seed), tf.shape(valid, tf.int64))

        # Computing padding would take as long as the photo itself, and some ops fail on a batch of 0 images.
        values = tf.cond(tf.reduce_any(valid > 0), judged, lambda: tf.zeros_like(valid))
        return {"loss": Loss(values, valid)}, ()

    def _changed(self, batch: Batch) -> tf.Tensor:
        return tf.clip_by_value(tf.cast(batch[self._fields[0]], tf.float32) + self.change.value, 0.0, 255.0)

    def outputs(self, batch: Batch) -> Mapping[str, tf.Tensor]:
        """'image' float32 [n, height, width, 3] in 0..1: the photo as changed so far."""
        return {"image": self._changed(batch) / 255.0}

    def evaluate(self, batch: Batch, outputs: Mapping[str, tf.Tensor]) -> Mapping[str, Loss]:
        return self.losses(batch, tf.constant([0, 0]))[0]

    def metrics(self) -> Mapping[str, keras.metrics.Metric]:
        return {}

    def update(self, metrics: Mapping[str, keras.metrics.Metric], batch: Batch, outputs: tuple[()]) -> None:
        pass

    def samples(self, batch: Batch, seed: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """'picture': the photo as changed so far."""
        return {"images/picture": self._changed(batch) / 255.0}
