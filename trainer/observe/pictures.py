"""Images for people: several tiled into one, and PNG files. Makes no images itself."""

import math
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer.storage import atomic


def grid(images: np.ndarray) -> np.ndarray:
    """Tiles images [n, height, width, channels], row by row, into one uint8 image about square; empty tiles are white.

    Images of other dtypes than uint8 have values from 0 to 1; they are clipped to that.
    """
    if images.dtype != np.uint8:
        images = np.round(np.clip(np.nan_to_num(images), 0.0, 1.0) * 255.0).astype(np.uint8)
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    found = np.full((rows * columns, height, width, channels), 255, np.uint8)
    found[:count] = images
    table = found.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return table.reshape(rows * height, columns * width, channels)


def save(path: Path, image: np.ndarray) -> None:
    """Writes an image, uint8 [height, width, channels], as a PNG file, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(path) as file:
        file.write_bytes(tf.io.encode_png(image).numpy())
