"""Strips of several small images side by side, such as a number of single digits, for CTC. Reads no files itself."""

from collections.abc import Callable

import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.base.randomness import splitmix64
from trainer.data.source import Source, Splits


class Strips:
    """A source of strips. The images of a strip are a hash of its index, so they are always the same.

    Args:
      source: of images 'x' [height, width] and their classes 'y', whole numbers from 0.
      length: how many strips there are.
      images: images per strip.

    Fields: 'x' [height, images * width], of the images' dtype; 'y' int64 [images].

    Raises:
      UsageError: the source has no such images, or no such classes.
    """

    def __init__(self, source: Source, length: int, images: int):
        for name in ("x", "y"):
            if name not in source.fields:
                there = ", ".join(sorted(source.fields))
                raise UsageError(f"strips are made of images 'x' and their classes 'y', and this data has: {there}")
        x, y = source.fields["x"], source.fields["y"]
        if len(x.shape) != 2:
            raise UsageError(f"strips are made of images [height, width], and these have the shape {list(x.shape)}")
        if y.shape or (y.minimum is None and not tf.as_dtype(y.dtype).is_integer):
            raise UsageError(
                f"strips need the class of each image as a whole number, and 'y' is {y.dtype} {list(y.shape)}: give "
                f"the numbers of the classes"
            )
        self._source, self._length, self._images = source, length, images
        height, width = x.shape
        self.fields = {
            "x": x._replace(shape=(height, images * width)),
            "y": y._replace(shape=(images,), dtype="int64"),
        }

    def __len__(self) -> int:
        return self._length

    def read(self, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        places = indices[:, None] * self._images + tf.range(self._images, dtype=tf.int64)
        chosen = tf.reshape(tf.math.floormod(splitmix64(places), len(self._source)), [-1])
        found = self._source.read(chosen)
        height, width = self._source.fields["x"].shape
        images = tf.reshape(found["x"], (-1, self._images, height, width))
        x = tf.reshape(tf.transpose(images, (0, 2, 1, 3)), (-1, height, self._images * width))
        return {"x": x, "y": tf.cast(tf.reshape(found["y"], (-1, self._images)), tf.int64)}


def splits(data: Callable[[], Splits], images: int = 5, train: int = 20_000, test: int = 2_000) -> Splits:
    """Returns strips of the images of `data`; each split's strips are made of its own images.

    Args:
      data: returns the splits with the images.
      images: images per strip.
      train, test: how many strips; `test` for each held-out split.

    Raises:
      UsageError: a number is out of range, there is no test split, or the data has no images [height, width] with
        integer classes.
    """
    for name, value in (("images", images), ("train", train), ("test", test)):
        if value < 1:
            raise UsageError(f"splits.{name} = {value}: give a number of at least 1")
    found = data()
    if found.test is None:
        raise UsageError("strips.splits: the data has no test split")
    held_out = {split: Strips(source, test, images) for split, source in found.held_out().items()}
    return Splits.of(
        {"train": Strips(found.train, train, images), **held_out},
        found.notes,
        leakage="strips are made of the same images; hold out images: strips.splits.data = @splits.hold_out",
    )
