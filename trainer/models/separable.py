"""A network of separable convolutions: over the pixels of each channel, then over the channels of each pixel."""

import keras
from keras import layers


def separable(
    filters: int = 32, outputs: int = 10, scale: float = 1.0, shape: tuple[int, int, int] = (28, 28, 1)
) -> keras.Model:
    """Returns a Sequential model with a ninth of the multiplications of plain convolutions.

    The first convolution has a stride of 2, the second keeps the image's size and is followed by pooling, the third has
    no padding.

    Args:
      filters: of the first convolution; the others have twice and four times as many.
      outputs: number of logits.
      scale: the input is multiplied by it; 1/255 for images stored as bytes.
      shape: (height, width, channels) of an image; the data may lack a single channel's dimension.

    Input images [n, height, width] or [n, height, width, channels] of any type; output float [n, outputs].
    """
    return keras.Sequential([
        layers.Rescaling(scale), layers.Reshape(shape),
        layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu"),
        layers.SeparableConv2D(filters * 2, 3, padding="same", activation="relu"), layers.MaxPooling2D(2),
        layers.SeparableConv2D(filters * 4, 3, padding="valid", activation="relu"), layers.GlobalAveragePooling2D(),
        layers.Dense(outputs, dtype="float32"),
    ], name="separable")  # fmt: skip
