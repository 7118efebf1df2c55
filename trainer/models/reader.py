"""A network that reads a strip of symbols: convolutions, then a recurrent layer over its columns. The loss is CTC's."""

from typing import Any

import keras
from keras import layers


def reader(classes: int, filters: int = 32, units: int = 64, scale: float = 1.0) -> keras.Model:
    """From images [n, height, width] to logits [n, width / 4, 1 + classes]; class 0 is the blank.

    Args:
      classes: number of symbols.
      filters: of the first convolution; the second has twice as many.
      units: of the recurrent layer, in each direction.
      scale: the input is multiplied by it; 1/255 for images stored as bytes.
    """
    return keras.Sequential([
        layers.Rescaling(scale), Columns(filters), layers.Bidirectional(layers.GRU(units, return_sequences=True)),
        layers.Dense(1 + classes, dtype="float32"),
    ], name="reader")  # fmt: skip


class Columns(layers.Layer):  # type: ignore[misc]
    """From images [n, height, width] to features of their columns, [n, width / 4, height / 4 * 2 * filters]."""

    def __init__(self, filters: int, **options: Any):
        super().__init__(**options)
        self.convolutions = [layers.Conv2D(n, 3, padding="same", activation="relu") for n in (filters, filters * 2)]
        self.pool = layers.MaxPooling2D(2)

    def build(self, shape: tuple[int | None, ...]) -> None:
        size = (*shape, 1)
        for convolution in self.convolutions:
            convolution.build(size)
            size = self.pool.compute_output_shape(convolution.compute_output_shape(size))

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        features = keras.ops.expand_dims(images, -1)
        for convolution in self.convolutions:
            features = self.pool(convolution(features))
        _, height, width, channels = features.shape
        return keras.ops.reshape(keras.ops.transpose(features, (0, 2, 1, 3)), (-1, width, height * channels))
