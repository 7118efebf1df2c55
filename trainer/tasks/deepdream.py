"""DeepDream: changes a photo to show more and more of what a network sees in it. The network is not trained.

Mordvintsev, Olah and Tyka 2015, https://research.google/blog/inceptionism-going-deeper-into-neural-networks.
"""

from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.tasks.picture import Picture, shifted
from trainer.tasks.protocol import Batch, Parts


class DeepDream(Picture):
    """Maximises the mean square of the activations of some layers.

    The activations are taken at several sizes of the image ("octaves"), so that small and large patterns appear. The
    usual program works through the sizes one after another. Here they are terms of one loss: every step runs the same
    graph on the same variable, so a run can stop after any step, and the loss means the same throughout.

    Args:
      model, optimizer: see Picture.
      layers: layer -> its weight.
      octaves: number of sizes.
      ratio: of one size to the next.
      jitter: the image is shifted at random by up to this many pixels, so that patterns do not align with the network's
        strides.
      x: the field of the photo.

    Raises:
      UsageError: an argument is out of range.
    """

    def __init__(
        self,
        model: Callable[[], keras.Model],
        optimizer: Callable[[], keras.optimizers.Optimizer],
        layers: Mapping[str, float],
        octaves: int = 3,
        ratio: float = 1.4,
        jitter: int = 16,
        x: str = "x",
    ):
        super().__init__(model, optimizer, list(layers), [x])
        if octaves < 1 or ratio <= 1.0 or jitter < 0:
            raise UsageError(
                f"DeepDream: octaves = {octaves}, ratio = {ratio}, jitter = {jitter}: give at least 1 octave, a ratio "
                f"above 1, and a jitter of 0 or more"
            )
        self._weights, self._octaves, self._ratio, self._jitter = layers, octaves, ratio, jitter

    def build(self, fields: Mapping[str, Field]) -> Parts:
        parts = super().build(fields)
        height, width, _ = self.change.shape
        if min(height, width) <= self._jitter:
            raise UsageError(
                f"DeepDream.jitter = {self._jitter} is too much for a photo of {height} x {width}: lower it"
            )
        self._sizes = [
            (round(height / self._ratio**octave), round(width / self._ratio**octave)) for octave in range(self._octaves)
        ]
        if min(self._sizes[-1]) < 1:
            raise UsageError(f"DeepDream.octaves = {self._octaves} leaves nothing of {height} x {width}: lower it")
        return parts

    def judge(self, images: tf.Tensor, batch: Batch, seed: tf.Tensor) -> tf.Tensor:
        images, values = shifted(images, seed, self._jitter), 0.0
        for size in self._sizes:
            found = self.activations(tf.image.resize(images, size, antialias=True))
            values -= sum(
                weight * tf.reduce_mean(tf.square(found[name]), axis=(1, 2, 3))
                for name, weight in self._weights.items()
            )
        return values / self._octaves
