"""Holding out a part of the training data for validation."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from trainer.data.source import Source, Splits
from trainer.errors import UsageError


class Subset:
    """Some of a source's examples, renumbered from 0.

    Args:
      source: the source they are part of.
      indices: int [n], which ones.
    """

    def __init__(self, source: Source, indices: np.ndarray):
        self.fields, self._source, self._length = source.fields, source, len(indices)
        with tf.device("CPU:0"):
            self._indices = tf.constant(indices, tf.int64)

    def __len__(self) -> int:
        return self._length

    def read(self, indices: tf.Tensor):
        return self._source.read(tf.gather(self._indices, indices))


def hold_out(data: Callable[[], Splits], validation: float, seed: int = 0) -> Splits:
    """Returns the splits of `data` with a random part of the training examples as the validation split.

    Args:
      data: returns the splits to start from.
      validation: the share of the training examples that is held out, in (0, 1).
      seed: decides which; deliberately not the run's seed, so that runs with other seeds can be compared.

    Raises:
      UsageError: the share is out of range or leaves a split empty, or there is a validation split already.
    """
    splits = data()
    if splits.validation is not None:
        raise UsageError("hold_out: the data has a validation split already: drop hold_out")
    held = round(len(splits.train) * validation)
    if not 0.0 < validation < 1.0 or held in (0, len(splits.train)):
        raise UsageError(
            f"hold_out.validation = {validation} leaves no example on one side of {len(splits.train):,}: "
            f"choose a share between 0 and 1"
        )
    shuffled = np.random.default_rng(seed).permutation(len(splits.train))
    # Sorted, because neighbours in a file stay neighbours in memory; the run's own order does the shuffling.
    return Splits(
        train=Subset(splits.train, np.sort(shuffled[held:])),
        validation=Subset(splits.train, np.sort(shuffled[:held])),
        test=splits.test,
    )
