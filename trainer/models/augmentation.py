"""Images that are turned, mirrored and zoomed at random while a model is trained: the first layers of such a model."""

import keras
from keras import layers


def augmentation(flip: str | None = "horizontal", rotation: float = 0.05, zoom: float = 0.1) -> keras.Model:
    """Returns a model that changes each image of a batch by itself in training, and nothing in inference.

    Args:
      flip: 'horizontal', 'vertical', 'horizontal_and_vertical', or None.
      rotation: the most it is turned, either way, as a share of a full turn.
      zoom: the most it is made larger or smaller, as a share of its size.

    Input images [n, height, width, channels] of any type; output float of the same shape, in the same range.
    """
    changes = [layers.RandomRotation(rotation, fill_mode="nearest"), layers.RandomZoom(zoom, fill_mode="nearest")]
    if flip is not None:
        changes.insert(0, layers.RandomFlip(flip))
    return keras.Sequential(changes, name="augmentation")
