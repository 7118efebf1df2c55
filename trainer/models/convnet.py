"""A small convolutional network for colour images, to be trained from scratch."""

from collections.abc import Callable, Sequence

import keras
from keras import layers


def convnet(
    outputs: int,
    filters: Sequence[int] = (32, 64, 128),
    dropout: float = 0.3,
    scale: float = 1 / 255,
    augment: Callable[[], keras.Model] | None = None,
) -> keras.Model:
    """Returns a Sequential model: a block for each of `filters`, global average pooling, dropout, logits.

    A block is a 3x3 convolution, BatchNorm, ReLU, and 2x2 max pooling.

    Args:
      outputs: number of logits.
      filters: of each block's convolution.
      dropout: share of the pooled features that is dropped in training.
      scale: the input is multiplied by it; 1/255 for images stored as bytes.
      augment: makes the augmentation, a model of the first layers; None: none.

    Input images [n, height, width, channels] of any type; output float [n, outputs].
    """
    model = keras.Sequential([augment()] if augment else [], name="convnet")
    model.add(layers.Rescaling(scale))
    for number in filters:
        model.add(layers.Conv2D(number, 3, padding="same", use_bias=False))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
        model.add(layers.MaxPooling2D())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dropout(dropout))
    model.add(layers.Dense(outputs, dtype="float32"))
    return model
