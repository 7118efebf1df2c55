"""Augmentation: the first layers of a model, which rotate, flip and zoom images at random, in training only."""

import keras
from keras import layers


def augmentation(flip: str | None = "horizontal", rotation: float = 0.05, zoom: float = 0.1) -> keras.Model:
    """Returns a model that changes each image of a batch independently in training, and does nothing in inference.

    Args:
      flip: 'horizontal', 'vertical', 'horizontal_and_vertical', or None.
      rotation: the largest rotation, in either direction, as a share of a full turn.
      zoom: the largest change of size, in either direction, as a share of the size.

    Input images [n, height, width, channels] of any type; output float of the same shape, in the same range.
    """
    changes = [layers.RandomRotation(rotation, fill_mode="nearest"), layers.RandomZoom(zoom, fill_mode="nearest")]
    if flip is not None:
        changes.insert(0, layers.RandomFlip(flip))
    return keras.Sequential(changes, name="augmentation")
