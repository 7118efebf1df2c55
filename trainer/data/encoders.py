"""Encoders: what makes numbers of texts, for trainer.data.sources.text.labelled.

All but Subwords take a text apart alike, into words of lower case without ASCII's punctuation, and differ in how these
are numbered.
"""

from collections.abc import Sequence
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from trainer.errors import UsageError


class Encoder(Protocol):
    """Texts to numbers."""

    def fit(self, texts: Sequence[str]) -> None:
        """Learns from the training texts. Raises UsageError if there is nothing to learn."""
        ...

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Returns an array [n, …]."""
        ...

    def vocabulary(self) -> list[str]:
        """What the numbers it returns stand for, from 0 on; empty, if they are no numbers of words."""
        ...


class Words:
    """Words in their order (keras.layers.TextVectorization): int32 [n, length].

    Args:
      size: of the vocabulary, the most frequent words, with padding and the unknown word.
      length: of a text in words; a longer one is cut, a shorter one padded at its end.

    Raises:
      UsageError: an argument is out of range.
    """

    def __init__(self, size: int, length: int):
        _require("Words", size, 3, length)
        self._layer = keras.layers.TextVectorization(size, standardize=_plain, output_sequence_length=length)

    def fit(self, texts):
        _adapt(self._layer, texts)

    def transform(self, texts):
        return _in_parts(self._layer, texts).astype(np.int32)

    def vocabulary(self) -> list[str]:
        """The words by number; '' is padding, '[UNK]' what is not in it."""
        return self._layer.get_vocabulary()


class Bag:
    """Which words a text has, whatever their order: float32 [n, size] of 0 and 1.

    Args:
      size: of the vocabulary, the most frequent words, with the unknown word.

    Raises:
      UsageError: the size is out of range.
    """

    def __init__(self, size: int):
        _require("Bag", size, 2)
        self._layer = keras.layers.TextVectorization(
            size, standardize=_plain, output_mode="multi_hot", pad_to_max_tokens=True
        )

    def fit(self, texts):
        _adapt(self._layer, texts)

    def transform(self, texts):
        return _in_parts(self._layer, texts).astype(np.float32)

    def vocabulary(self):
        return []


class HashedBag:
    """The same without a vocabulary: a word's number is its hash, and some words share one. Learns nothing.

    Args:
      size: how many numbers there are.

    Raises:
      UsageError: the size is out of range.
    """

    def __init__(self, size: int):
        _require("HashedBag", size, 1)
        self._size = size

    def fit(self, texts):
        pass

    def transform(self, texts):
        numbers = _hashes(texts, self._size)
        bag = np.zeros((len(texts), self._size), np.float32)
        bag[numbers.value_rowids().numpy(), numbers.flat_values.numpy()] = 1.0
        return bag

    def vocabulary(self):
        return []


class HashedWords:
    """Words in their order, each by its hash: int32 [n, length]. Learns nothing.

    Args:
      size: how many numbers there are, with padding; some words share one.
      length: of a text in words; a longer one is cut, a shorter one padded at its end.

    Raises:
      UsageError: an argument is out of range.
    """

    def __init__(self, size: int, length: int):
        _require("HashedWords", size, 2, length)
        self._size, self._length = size, length

    def fit(self, texts):
        pass

    def transform(self, texts):
        numbers = 1 + _hashes(texts, self._size - 1)
        return numbers.to_tensor(shape=(None, self._length)).numpy().astype(np.int32)

    def vocabulary(self):
        return []


class Subwords:
    """Pieces of words by byte-pair encoding (the package tokenizers): int32 [n, length]; nothing is unknown to it.

    Punctuation counts, upper case does not.

    Args:
      size: of the vocabulary, with padding, the unknown piece and 256 bytes, so at least 258.
      length: of a text in pieces; a longer one is cut, a shorter one padded at its end.

    Raises:
      UsageError: tokenizers is not installed, or an argument is out of range.
    """

    def __init__(self, size: int, length: int):
        try:
            import tokenizers
        except ModuleNotFoundError as error:
            raise UsageError("Subwords needs the package tokenizers: pip install 'convoy-train[text]'") from error
        _require("Subwords", size, 258, length)
        self._size, self._length = size, length
        self._tokenizer = tokenizers.ByteLevelBPETokenizer(lowercase=True)

    def fit(self, texts):
        self._tokenizer.train_from_iterator(
            texts, self._size, min_frequency=2, special_tokens=["[PAD]", "[UNK]"], show_progress=False
        )
        self._tokenizer.enable_truncation(self._length)
        self._tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=self._length)

    def transform(self, texts):
        return np.array([encoded.ids for encoded in self._tokenizer.encode_batch(list(texts))], np.int32)

    def vocabulary(self):
        return [self._tokenizer.id_to_token(number) for number in range(self._tokenizer.get_vocab_size())]


def _require(encoder: str, size: int, least: int, length: int = 1) -> None:
    for name, value, smallest in (("size", size, least), ("length", length, 1)):
        if value < smallest:
            raise UsageError(f"{encoder}.{name} = {value}: give a number of at least {smallest}")


def _plain(texts: tf.Tensor) -> tf.Tensor:
    """Lower case of any script, without ASCII's punctuation: what stands between spaces is a word.

    Keras's own ('lower_and_strip_punctuation') leaves the upper case of letters that are not ASCII's.
    """
    return tf.strings.regex_replace(tf.strings.lower(texts, encoding="utf-8"), "[[:punct:]]", "")


def _adapt(layer: keras.layers.TextVectorization, texts: Sequence[str]) -> None:
    layer.adapt(np.array(texts, object), batch_size=1024)
    if not set(layer.get_vocabulary()) - {"", "[UNK]"}:
        raise UsageError("no training text has a word in it: see whether they are the texts that are meant")


def _hashes(texts: Sequence[str], size: int) -> tf.RaggedTensor:
    """Of each text the hashes of its words, int64 in 0..size - 1: equal on every machine."""
    words = tf.strings.split(_plain(tf.constant(texts, tf.string)))
    return words.with_flat_values(tf.strings.to_hash_bucket_fast(words.flat_values, size))


def _in_parts(layer, texts: Sequence[str], size: int = 4096) -> np.ndarray:
    return np.concatenate(
        [np.asarray(layer(np.array(texts[i : i + size], object))) for i in range(0, len(texts), size)]
    )
