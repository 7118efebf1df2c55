"""A new head on a network that others have trained."""

from collections.abc import Callable

import keras
from keras import layers


def on_base(
    base: Callable[[], keras.Model],
    head: Callable[[], keras.Model],
    augment: Callable[[], keras.Model] | None = None,
) -> keras.Model:
    """From images [n, height, width, channels] to what the head makes of their features.

    Args:
      base: makes the network below, from images to features [n, height, width, channels].
      head: makes the one above, from the mean of the features over the image, [n, channels].
      augment: makes what changes the images at random in training.
    """
    below = [augment()] if augment else []
    return keras.Sequential([*below, base(), layers.GlobalAveragePooling2D(), head()], name="transfer")


def pooled(base: Callable[[], keras.Model]) -> keras.Model:
    """From images to the mean of a network's features over the image, [n, channels]."""
    made = base()
    return keras.Model(made.input, layers.GlobalAveragePooling2D()(made.output), name="pooled")


def classifier(outputs: int, units: int = 256, dropout: float = 0.5) -> keras.Model:
    """From features [n, channels] to logits [n, outputs], by one hidden layer."""
    return keras.Sequential([
        layers.Dense(units, activation="relu"), layers.Dropout(dropout), layers.Dense(outputs, dtype="float32"),
    ], name="classifier")  # fmt: skip
