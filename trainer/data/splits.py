"""Cutting data into splits: which examples are trained on, and which are held out. Reads no files."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Source, Splits


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

    def read(self, indices: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return self._source.read(tf.gather(self._indices, indices))


def hold_out(data: Callable[[], Splits], validation: float, seed: int = 0) -> Splits:
    """Returns the splits of `data`, with a random part of the training examples as the validation split.

    Args:
      data: returns the splits to start from.
      validation: the share of the training examples that is held out, in (0, 1).
      seed: decides which; deliberately not the run's seed, so that runs with different seeds can be compared.

    Raises:
      UsageError: the share is out of range or leaves a split empty, there is a validation split already, or no training
        examples may be held out any more (see Splits.leakage).
    """
    splits = data()
    if splits.validation is not None:
        raise UsageError("hold_out: the data has a validation split already: drop hold_out")
    if splits.leakage:
        raise UsageError(f"hold_out comes too late for this data: {splits.leakage}")
    held = round(len(splits.train) * validation)
    if not 0.0 < validation < 1.0 or held in (0, len(splits.train)):
        raise UsageError(
            f"hold_out.validation = {validation} leaves no example on one side of {len(splits.train):,}: "
            f"choose a share between 0 and 1"
        )
    shuffled = np.random.default_rng(seed).permutation(len(splits.train))
    # Sorted, so that neighbours in a file are read together; the order of the run does the shuffling.
    return splits._replace(
        train=Subset(splits.train, np.sort(shuffled[held:])),
        validation=Subset(splits.train, np.sort(shuffled[:held])),
    )


def share(examples: int, test: float = 0.2, validation: float = 0.0, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Returns the indices of each split's examples, int64 [n], sorted: training, validation if there is any, test.

    Args:
      examples: how many there are.
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
            f"share.validation = {validation} holds out none of {examples:,} examples: choose another share, or 0"
        )
    mixed = np.random.default_rng(seed).permutation(examples)
    cuts = [mixed[held + more :], mixed[held : held + more], mixed[:held]]
    return tuple(np.sort(cut) for cut in cuts if len(cut))


def fold(examples: int, number: int, folds: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of training and test examples of one fold of a k-fold cross-validation, sorted.

    Over `folds` consecutive numbers each example is held out once.

    Args:
      examples: how many there are.
      number: which fold, from 0; from `folds` on, another repetition of the cross-validation with another shuffle.
      folds: how many there are.
      seed: of the shuffle; deliberately not the run's seed.

    Raises:
      UsageError: there are fewer examples than folds, or a number is out of range.
    """
    if not 2 <= folds <= examples:
        raise UsageError(f"fold.folds = {folds}: give a number from 2 to the {examples:,} examples there are")
    if number < 0:
        raise UsageError(f"fold.number = {number}: folds are counted from 0")
    repetition, which = divmod(number, folds)
    mixed = np.random.default_rng([seed, repetition]).permutation(examples)
    held = np.array_split(mixed, folds)[which]
    return np.sort(np.setdiff1d(mixed, held)), np.sort(held)
