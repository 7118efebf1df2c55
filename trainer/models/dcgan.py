"""The networks of a DCGAN (Radford et al. 2015, https://arxiv.org/abs/1511.06434).

The images' sides are multiples of 4 pixels. How the networks are trained is in trainer/tasks/gan.py.
"""

import keras
from keras import layers


def generator(noise: int, shape: tuple[int, int, int], filters: int = 64) -> keras.Model:
    """From float [n, noise] to images [n, height, width, channels] in -1..1.

    Args:
      noise: number of random numbers per image.
      shape: (height, width, channels) of the images.
      filters: of the last hidden layer; those before have twice and four times as many.
    """
    height, width, channels = shape
    return keras.Sequential([
        keras.Input((noise,)),
        layers.Dense(height // 4 * (width // 4) * filters * 4, use_bias=False),
        layers.BatchNormalization(), layers.ReLU(),
        layers.Reshape((height // 4, width // 4, filters * 4)),
        layers.Conv2DTranspose(filters * 2, 5, padding="same", use_bias=False),
        layers.BatchNormalization(), layers.ReLU(),
        layers.Conv2DTranspose(filters, 5, strides=2, padding="same", use_bias=False),
        layers.BatchNormalization(), layers.ReLU(),
        layers.Conv2DTranspose(channels, 5, strides=2, padding="same", activation="tanh", dtype="float32"),
    ], name="generator")  # fmt: skip


def discriminator(shape: tuple[int, int, int], filters: int = 64, dropout: float = 0.3) -> keras.Model:
    """From images [n, height, width, channels] in -1..1 to logits [n, 1], above 0 for real images.

    Args:
      shape: (height, width, channels) of the images.
      filters: of the first convolution; the second has twice as many.
      dropout: share of features that is dropped in training.
    """
    return keras.Sequential([
        keras.Input(shape),
        layers.Conv2D(filters, 5, strides=2, padding="same"), layers.LeakyReLU(0.2), layers.Dropout(dropout),
        layers.Conv2D(filters * 2, 5, strides=2, padding="same"), layers.LeakyReLU(0.2), layers.Dropout(dropout),
        layers.Flatten(), layers.Dense(1, dtype="float32"),
    ], name="discriminator")  # fmt: skip
