"""Cutting data: what is trained on, and what is held out."""

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
      UsageError: the share is out of range or leaves a split empty, there is a validation split already, or what would
        be held out is known to the training examples (see Splits.ties).
    """
    splits = data()
    if splits.validation is not None:
        raise UsageError("hold_out: the data has a validation split already: drop hold_out")
    if splits.ties:
        raise UsageError(f"hold_out comes too late for this data: {splits.ties}")
    held = round(len(splits.train) * validation)
    if not 0.0 < validation < 1.0 or held in (0, len(splits.train)):
        raise UsageError(
            f"hold_out.validation = {validation} leaves no example on one side of {len(splits.train):,}: "
            f"choose a share between 0 and 1"
        )
    shuffled = np.random.default_rng(seed).permutation(len(splits.train))
    # Sorted, because neighbours in a file stay neighbours in memory; the run's own order does the shuffling.
    return splits._replace(
        train=Subset(splits.train, np.sort(shuffled[held:])),
        validation=Subset(splits.train, np.sort(shuffled[:held])),
    )


def share(examples: int, test: float = 0.2, validation: float = 0.0, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Returns the numbers of the examples of each split, each in order: training, validation if there is any, test.

    Args:
      test, validation: the shares of all examples that are held out, in (0, 1); validation may be 0.
      seed: decides which; deliberately not the run's seed.

    Raises:
      UsageError: a share is out of range or leaves a split empty.
    """
    held, more = round(examples * test), round(examples * validation)
    if not 0.0 < test < 1.0 or not 0.0 <= validation < 1.0 or not 0 < held < examples - more:
        raise UsageError(
            f"share.test = {test}, share.validation = {validation}: of {examples:,} examples that leaves some split "
            f"empty: choose other shares"
        )
    if validation and not more:
        raise UsageError(
            f"share.validation = {validation} of {examples:,} examples is none: choose another share, or 0"
        )
    mixed = np.random.default_rng(seed).permutation(examples)
    cuts = [mixed[held + more :], mixed[held : held + more], mixed[:held]]
    return tuple(np.sort(cut) for cut in cuts if len(cut))


def fold(examples: int, number: int, folds: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The same for k-fold cross-validation: over `folds` numbers each example is held out once.

    Args:
      number: which fold, from 0; those from `folds` on are a repetition, mixed anew.
      folds: how many there are.
      seed: of the mixing; deliberately not the run's seed.

    Raises:
      UsageError: there are not that many examples, or a number is out of range.
    """
    if not 2 <= folds <= examples:
        raise UsageError(f"fold.folds = {folds}: give a number from 2 to the {examples:,} examples there are")
    if number < 0:
        raise UsageError(f"fold.number = {number}: folds are counted from 0")
    repetition, which = divmod(number, folds)
    mixed = np.random.default_rng([seed, repetition]).permutation(examples)
    held = np.array_split(mixed, folds)[which]
    return np.sort(np.setdiff1d(mixed, held)), np.sort(held)
