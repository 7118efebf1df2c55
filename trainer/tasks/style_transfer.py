"""Style transfer (Gatys, Ecker and Bethge 2015, https://arxiv.org/abs/1508.06576): a photo in the style of a painting.

Optimises the image itself; trains no network.
"""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.tasks.picture import Picture, variation
from trainer.tasks.protocol import Batch


class StyleTransfer(Picture):
    """Minimises content + style_weight * style + variation_weight * variation.

        content    sum (F - P)^2 / sum P^2      F, P: activations of the image and of the photo, at one layer
        style      sum (G - A)^2 / sum A^2      G, A: Gram matrices of the image and of the painting, mean over layers
        variation  see trainer.tasks.picture.variation

    A Gram matrix holds the products of pairs of filters, averaged over all positions. The paper takes plain sums of
    squares, and scales its network so that the mean activation is one; relative errors work for any network.

    Args:
      model, optimizer: see Picture.
      content: the layer whose activations are compared with the photo's.
      style: the layers whose Gram matrices are compared with the painting's.
      style_weight, variation_weight: weights of these terms.
      x: the field of the photo.
      painting: the field of the painting, of any size.

    Raises:
      UsageError: `style` is empty.
    """

    def __init__(
        self,
        model: Callable[[], keras.Model],
        optimizer: Callable[[], keras.optimizers.Optimizer],
        content: str,
        style: Sequence[str],
        style_weight: float,
        variation_weight: float,
        x: str = "x",
        painting: str = "painting",
    ):
        if not style:
            raise UsageError("StyleTransfer.style is empty: name the layers whose textures are wanted")
        super().__init__(model, optimizer, [content, *style], [x, painting])
        self._content, self._style = content, style
        self._style_weight, self._variation_weight, self._x, self._painting = (
            style_weight,
            variation_weight,
            x,
            painting,
        )

    def judge(self, images: tf.Tensor, batch: Batch, seed: tf.Tensor) -> tf.Tensor:
        found, photo, painting = (
            self.activations(each)
            for each in (images, tf.cast(batch[self._x], tf.float32), tf.cast(batch[self._painting], tf.float32))
        )
        content = _error(found[self._content], photo[self._content])
        style = sum(_error(_gram(found[name]), _gram(painting[name])) for name in self._style) / len(self._style)
        return content + self._style_weight * style + self._variation_weight * variation(images)


def _error(found: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """The squared error of each example, relative to the square of `wanted`: [n]."""
    axes = list(range(1, len(found.shape)))
    wanted = tf.stop_gradient(wanted)
    return tf.reduce_sum(tf.square(found - wanted), axes) / tf.reduce_sum(tf.square(wanted), axes)


def _gram(activations: tf.Tensor) -> tf.Tensor:
    """The Gram matrices of activations [n, height, width, filters]: [n, filters, filters]."""
    flat = tf.reshape(activations, (-1, activations.shape[1] * activations.shape[2], activations.shape[3]))
    return tf.matmul(flat, flat, transpose_a=True) / tf.cast(tf.shape(flat)[1], tf.float32)
