"""The encoder and the decoder of a convolutional variational autoencoder, for images of multiples of 4 pixels."""

import keras
from keras import layers


def encoder(latent: int, filters: int = 32) -> keras.Model:
    """From images [n, height, width, channels] to [n, 2 * latent]: means, and logarithms of variances."""
    return keras.Sequential([
        layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(filters * 2, 3, strides=2, padding="same", activation="relu"),
        layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(2 * latent, dtype="float32"),
    ], name="encoder")  # fmt: skip


def decoder(latent: int, shape: tuple[int, int, int], filters: int = 32) -> keras.Model:
    """From [n, latent] to the logits of images [n, height, width, channels]."""
    height, width, channels = shape
    return keras.Sequential([
        keras.Input((latent,)),
        layers.Dense(128, activation="relu"),
        layers.Dense(height // 4 * (width // 4) * filters * 2, activation="relu"),
        layers.Reshape((height // 4, width // 4, filters * 2)),
        layers.Conv2DTranspose(filters, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(channels, 3, strides=2, padding="same", dtype="float32"),
    ], name="decoder")  # fmt: skip
