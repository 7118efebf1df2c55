"""Encoders: they turn texts into numbers, for trainer.data.sources.text.labelled. They read no files.

All but Subwords split a text in the same way, into lower-case words without ASCII punctuation, and differ in how the
words are numbered.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from trainer.base.errors import UsageError
from trainer.base.liveness import progressed


class Encoder(Protocol):
    """Texts to numbers."""

    def fit(self, texts: Sequence[str]) -> None:
        """Learns from the training texts. Raises UsageError if there is nothing to learn."""
        ...

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Returns an array [n, …]."""
        ...

    def vocabulary(self) -> list[str]:
        """The word of each number, from 0; empty if the numbers do not stand for words."""
        ...


class Words:
    """Words in order (keras.layers.TextVectorization): int32 [n, length].

    Args:
      size: of the vocabulary: the most frequent words, padding and the unknown word.
      length: of a text, in words; a longer one is cut, a shorter one padded at its end.

    Raises:
      UsageError: an argument is out of range.
    """

    def __init__(self, size: int, length: int):
        _require("Words", size, 3, length)
        self._layer = keras.layers.TextVectorization(size, standardize=_plain, output_sequence_length=length)

    def fit(self, texts: Sequence[str]) -> None:
        _adapt(self._layer, texts)

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        return _in_parts(self._layer, texts).astype(np.int32)

    def vocabulary(self) -> list[str]:
        """The words by number; '' is padding, '[UNK]' every word that is not in the vocabulary."""
        words: list[str] = self._layer.get_vocabulary()
        return words


class Bag:
    """Bag of words: which words a text contains, float32 [n, size] of 0 and 1.

    Args:
      size: of the vocabulary: the most frequent words, and the unknown word.

    Raises:
      UsageError: the size is out of range.
    """

    def __init__(self, size: int):
        _require("Bag", size, 2)
        self._layer = keras.layers.TextVectorization(
            size, standardize=_plain, output_mode="multi_hot", pad_to_max_tokens=True
        )

    def fit(self, texts: Sequence[str]) -> None:
        _adapt(self._layer, texts)

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        return _in_parts(self._layer, texts).astype(np.float32)

    def vocabulary(self) -> list[str]:
        return []


class HashedBag:
    """Bag of hashed words, float32 [n, size] of 0 and 1: a word's number is its hash, so some words share one.

    Learns nothing.

    Args:
      size: how many numbers there are.

    Raises:
      UsageError: the size is out of range.
    """

    def __init__(self, size: int):
        _require("HashedBag", size, 1)
        self._size = size

    def fit(self, texts: Sequence[str]) -> None:
        pass

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        numbers = _hashes(texts, self._size)
        bag = np.zeros((len(texts), self._size), np.float32)
        bag[numbers.value_rowids().numpy(), numbers.flat_values.numpy()] = 1.0
        return bag

    def vocabulary(self) -> list[str]:
        return []


class HashedWords:
    """Hashed words in order: int32 [n, length]. Learns nothing.

    Args:
      size: how many numbers there are, including padding; some words share one.
      length: of a text, in words; a longer one is cut, a shorter one padded at its end.

    Raises:
      UsageError: an argument is out of range.
    """

    def __init__(self, size: int, length: int):
        _require("HashedWords", size, 2, length)
        self._size, self._length = size, length

    def fit(self, texts: Sequence[str]) -> None:
        pass

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        numbers = 1 + _hashes(texts, self._size - 1)
        return np.asarray(numbers.to_tensor(shape=(None, self._length)).numpy(), np.int32)

    def vocabulary(self) -> list[str]:
        return []


class Subwords:
    """Subwords by byte-pair encoding (the package tokenizers): int32 [n, length]; no text is unknown to it.

    Punctuation is kept, upper case is not.

    Args:
      size: of the vocabulary, including padding, the unknown subword and 256 bytes, so at least 258.
      length: of a text, in subwords; a longer one is cut, a shorter one padded at its end.

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

    def fit(self, texts: Sequence[str]) -> None:
        self._tokenizer.train_from_iterator(
            texts, self._size, min_frequency=2, special_tokens=["[PAD]", "[UNK]"], show_progress=False
        )
        self._tokenizer.enable_truncation(self._length)
        self._tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=self._length)

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        encode = lambda part: [encoded.ids for encoded in self._tokenizer.encode_batch(list(part))]
        return _in_parts(encode, texts).astype(np.int32)

    def vocabulary(self) -> list[str]:
        return [self._tokenizer.id_to_token(number) for number in range(self._tokenizer.get_vocab_size())]


def _require(encoder: str, size: int, least: int, length: int = 1) -> None:
    for name, value, smallest in (("size", size, least), ("length", length, 1)):
        if value < smallest:
            raise UsageError(f"{encoder}.{name} = {value}: give a number of at least {smallest}")


def _plain(texts: tf.Tensor) -> tf.Tensor:
    """The texts in lower case, without ASCII punctuation; words are separated by spaces.

    Keras's own 'lower_and_strip_punctuation' changes only ASCII letters to lower case.
    """
    return tf.strings.regex_replace(tf.strings.lower(texts, encoding="utf-8"), "[[:punct:]]", "")


def _adapt(layer: keras.layers.TextVectorization, texts: Sequence[str]) -> None:
    signature = tf.TensorSpec([None], tf.string)
    layer.adapt(tf.data.Dataset.from_generator(lambda: _parts(texts), output_signature=signature))
    if not set(layer.get_vocabulary()) - {"", "[UNK]"}:
        raise UsageError("no training text has a word in it: check that they are the right texts")


def _hashes(texts: Sequence[str], size: int) -> tf.RaggedTensor:
    """The hashes of each text's words, int64 in 0..size - 1, the same on every machine."""
    words = tf.strings.split(_plain(tf.constant(texts, tf.string)))
    return words.with_flat_values(tf.strings.to_hash_bucket_fast(words.flat_values, size))


def _in_parts(encode: Callable[[np.ndarray], ArrayLike], texts: Sequence[str]) -> np.ndarray:
    return np.concatenate([np.asarray(encode(part)) for part in _parts(texts)])


def _parts(texts: Sequence[str], size: int = 4096) -> Iterator[np.ndarray]:
    for first in range(0, len(texts), size):
        yield np.array(texts[first : first + size], object)
        progressed()
