"""Encoder and decoder of a convolutional variational autoencoder; the images' sides are multiples of 4 pixels."""

import keras
from keras import layers


def encoder(latent: int, filters: int = 32) -> keras.Model:
    """From images float [n, height, width, channels] to [n, 2 * latent]: means, and logarithms of variances.

    Args:
      latent: number of latent dimensions.
      filters: of the first convolution; the second has twice as many.
    """
    return keras.Sequential([
        layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(filters * 2, 3, strides=2, padding="same", activation="relu"),
        layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(2 * latent, dtype="float32"),
    ], name="encoder")  # fmt: skip


def decoder(latent: int, shape: tuple[int, int, int], filters: int = 32) -> keras.Model:
    """From [n, latent] to the logits of images [n, height, width, channels].

    Args:
      latent: number of latent dimensions.
      shape: (height, width, channels) of the images.
      filters: of the first transposed convolution.
    """
    height, width, channels = shape
    return keras.Sequential([
        keras.Input((latent,)),
        layers.Dense(128, activation="relu"),
        layers.Dense(height // 4 * (width // 4) * filters * 2, activation="relu"),
        layers.Reshape((height // 4, width // 4, filters * 2)),
        layers.Conv2DTranspose(filters, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(channels, 3, strides=2, padding="same", dtype="float32"),
    ], name="decoder")  # fmt: skip
