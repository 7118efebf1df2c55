"""Images as people look at them: as bytes, several of them side by side, as PNG files."""

import math
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer import atomic


def grid(images: np.ndarray) -> np.ndarray:
    """Returns [n, height, width, channels] as one image uint8, about square, row by row, the rest of it white.

    Numbers that are not bytes are taken for 0 to 1, and cut off there.
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
    """Writes an image uint8 [height, width, channels] as PNG, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(path) as file:
        file.write_bytes(tf.io.encode_png(image).numpy())
