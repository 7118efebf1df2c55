"""A new head on a pretrained network. The pretrained weights are loaded by a warm start."""

from collections.abc import Callable

import keras
from keras import layers


def on_base(
    base: Callable[[], keras.Model],
    head: Callable[[], keras.Model],
    augment: Callable[[], keras.Model] | None = None,
) -> keras.Model:
    """From images [n, height, width, channels] to the head's output for their features.

    Args:
      base: makes the network below, from images to features [n, height, width, channels].
      head: makes the network above, from the features' means over the image, [n, channels].
      augment: makes the augmentation, see trainer.models.augmentation; None: none.
    """
    below = [augment()] if augment else []
    return keras.Sequential([*below, base(), layers.GlobalAveragePooling2D(), head()], name="transfer")


def pooled(base: Callable[[], keras.Model]) -> keras.Model:
    """From images to the mean of a network's features over the image, [n, channels].

    Args:
      base: makes the network, from images to features [n, height, width, channels].
    """
    made = base()
    return keras.Model(made.input, layers.GlobalAveragePooling2D()(made.output), name="pooled")


def classifier(outputs: int, units: int = 256, dropout: float = 0.5) -> keras.Model:
    """From features [n, channels] to logits [n, outputs], with one hidden layer.

    Args:
      outputs: number of logits.
      units: of the hidden layer.
      dropout: share of the hidden layer's units that is dropped in training.
    """
    return keras.Sequential([
        layers.Dense(units, activation="relu"), layers.Dropout(dropout), layers.Dense(outputs, dtype="float32"),
    ], name="classifier")  # fmt: skip
