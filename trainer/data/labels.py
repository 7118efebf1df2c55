"""Labels as one-hot vectors: keras.utils.to_categorical, for any source. Changes nothing but the labels."""

from collections.abc import Callable

import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Field, Source, Splits


class OneHot:
    """A source with one field of integers replaced by one-hot vectors, float32 [*shape, classes].

    Args:
      source: the source.
      field: of whole numbers from 0 to classes - 1.
      classes: how many there are.
    """

    def __init__(self, source: Source, field: str, classes: int):
        self._source, self._field, self._classes = source, field, classes
        self.fields = {**source.fields, field: Field((*source.fields[field].shape, classes), "float32")}

    def __len__(self) -> int:
        return len(self._source)

    def read(self, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = dict(self._source.read(indices))
        return {**batch, self._field: tf.one_hot(tf.cast(batch[self._field], tf.int64), self._classes)}


def categorical(data: Callable[[], Splits], classes: int, field: str = "y") -> Splits:
    """Returns the splits of `data` with one-hot labels, for losses such as keras.losses.CategoricalCrossentropy.

    Integer labels with a sparse loss compute the same; vectors are for losses that have no sparse form.

    Args:
      data: returns the splits to start from.
      classes: how many there are, numbered from 0.
      field: of the labels, whole numbers.

    Raises:
      UsageError: there is no such field, it holds no whole numbers, or a label is not in 0..classes - 1.
    """
    splits = data()
    fields = splits.fields()
    if field not in fields:
        raise UsageError(f"categorical.field = '{field}': the data has: {', '.join(sorted(fields))}")
    found = fields[field]
    if found.minimum is None or found.maximum is None:
        raise UsageError(f"categorical.field = '{field}': it is {found.dtype}, and no whole numbers from 0")
    if found.minimum < 0 or found.maximum >= classes:
        raise UsageError(
            f"categorical.classes = {classes}: the labels '{field}' run from {found.minimum} to {found.maximum}"
        )
    parts = {name: OneHot(source, field, classes) for name, source in splits.parts().items()}
    return Splits.of(parts, splits.notes, splits.leakage)
