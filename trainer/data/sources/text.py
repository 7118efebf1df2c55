"""Texts: labelled ones as sequences of numbers, and one long text as windows of characters.

Vocabularies are made from the training texts alone, and everything is numbered once, when the data is opened. 0 is
padding (layers.Embedding(mask_zero=True) makes it a mask), 1 is whatever the vocabulary lacks.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from trainer.data.source import Field, Splits
from trainer.data.sources.arrays import Arrays
from trainer.data.splits import share
from trainer.errors import UsageError


class Encoder(Protocol):
    """Texts to numbers."""

    def fit(self, texts: Sequence[str]) -> None:
        """Learns from the training texts."""
        ...

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Returns an array [n, …]."""
        ...

    def vocabulary(self) -> list[str]:
        """What the numbers it returns stand for, from 0 on; empty, if they are no numbers of words."""
        ...


class Words:
    """Words in their order (keras.layers.TextVectorization): int32 [n, length], lower case, without punctuation.

    Args:
      size: of the vocabulary, the most frequent words, with padding and the unknown word.
      length: of a text in words; a longer one is cut, a shorter one padded at its end.
    """

    def __init__(self, size: int, length: int):
        self._layer = keras.layers.TextVectorization(size, output_sequence_length=length)

    def fit(self, texts):
        self._layer.adapt(np.array(texts, object), batch_size=1024)

    def transform(self, texts):
        return _in_parts(self._layer, texts).astype(np.int32)

    def vocabulary(self) -> list[str]:
        """The words by number; '' is padding, '[UNK]' what is not in it."""
        return self._layer.get_vocabulary()


class Bag:
    """Which words a text has, whatever their order: float32 [n, size] of 0 and 1.

    Args:
      size: of the vocabulary, the most frequent words.
    """

    def __init__(self, size: int):
        self._layer = keras.layers.TextVectorization(size, output_mode="multi_hot", pad_to_max_tokens=True)

    def fit(self, texts):
        self._layer.adapt(np.array(texts, object), batch_size=1024)

    def transform(self, texts):
        return _in_parts(self._layer, texts).astype(np.float32)

    def vocabulary(self):
        return []


class HashedBag:
    """The same without a vocabulary: a word's number is its hash, and some words share one. Learns nothing.

    Args:
      size: how many numbers there are.
    """

    def __init__(self, size: int):
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
    """Words in their order, each by its hash: int32 [n, length], lower case, without punctuation. Learns nothing.

    Args:
      size: how many numbers there are, with padding; some words share one.
      length: of a text in words; a longer one is cut, a shorter one padded at its end.
    """

    def __init__(self, size: int, length: int):
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

    Args:
      size: of the vocabulary, with padding and 256 bytes.
      length: of a text in pieces.

    Raises:
      UsageError: tokenizers is not installed.
    """

    def __init__(self, size: int, length: int):
        try:
            import tokenizers
        except ModuleNotFoundError as error:
            raise UsageError("Subwords needs the package tokenizers: pip install 'convoy-train[text]'") from error
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


def labelled(
    texts: Callable[[], Mapping[str, tuple[Sequence[str], Sequence[int]]]], encoder: Callable[[], Encoder]
) -> Splits:
    """Returns labelled texts as numbers. Fields: 'x', what the encoder makes of a text, with its vocabulary; 'y' int64.

    Args:
      texts: returns the texts and labels of 'train', and of 'validation' and 'test' where there are such.
      encoder: makes what numbers them.
    """
    found = texts()
    one = encoder()
    one.fit(found["train"][0])
    parts = {
        split: Arrays({"x": one.transform(said), "y": np.asarray(labels, np.int64)}, name=f"the texts ({split})")
        for split, (said, labels) in found.items()
    }
    for source in parts.values():
        source.fields["x"] = source.fields["x"]._replace(vocabulary=tuple(one.vocabulary()))
    return Splits.of(parts)


def folders(path: str) -> dict[str, tuple[list[str], list[int]]]:
    """Returns the texts of PATH/SPLIT/CLASS/*.txt, for `labelled`; classes are numbered in the order of their names.

    Raises:
      UsageError: no such folder, an empty class, or a file that is no UTF-8 text.
    """
    root = Path(path).expanduser()
    if not (root / "train").is_dir():
        raise UsageError(f"{path} has no folder 'train' with a folder for each class in it")
    found: dict[str, tuple[list[str], list[int]]] = {}
    names = _class_names(root / "train")
    for split in ("train", "validation", "test"):
        if not (root / split).is_dir():
            continue
        if (there := _class_names(root / split)) != names:
            raise UsageError(f"{root / split} has the classes {', '.join(there)}, train has {', '.join(names)}")
        found[split] = ([], [])
        for label, name in enumerate(names):
            files = sorted((root / split / name).glob("*.txt"))
            if not files:
                raise UsageError(f"the class folder {root / split / name} holds no .txt file: fill it, or remove it")
            found[split][0].extend(read(str(file)) for file in files)
            found[split][1].extend([label] * len(files))
    return found


def table(
    path: str,
    text: str,
    label: str,
    cut: Callable[[int], tuple[np.ndarray, np.ndarray]] = share,
    only: Mapping[str, str] | None = None,
) -> dict[str, tuple[list[str], list[int]]]:
    """Returns the texts of a CSV file, for `labelled`; labels are numbered in their order.

    Args:
      path: UTF-8, with the names of the columns in its first line.
      text, label: the columns.
      cut: number of texts -> those that are trained on, those that are held out.
      only: column -> value: rows with another value are left out.

    Raises:
      UsageError: no such file, no such column, or not UTF-8.
    """
    said, labels = [], []
    needed = [text, label, *(only or {})]
    try:
        with Path(path).expanduser().open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            for name in needed:
                if name not in (reader.fieldnames or []):
                    raise UsageError(f"{path} has no column '{name}'; it has: {', '.join(reader.fieldnames or [])}")
            for row in reader:
                if None in row or None in row.values():
                    raise UsageError(
                        f"{path}, line {reader.line_num}: not as many values as the first line names columns"
                    )
                if all(row[name] == value for name, value in (only or {}).items()):
                    said.append(row[text])
                    labels.append(row[label])
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except UnicodeDecodeError as error:
        raise _no_text(path, error) from None
    number = {name: i for i, name in enumerate(sorted(set(labels)))}
    parts = dict(zip(("train", "test"), cut(len(said)), strict=True))
    return {split: ([said[i] for i in rows], [number[labels[i]] for i in rows]) for split, rows in parts.items()}


class Characters:
    """Windows over a text, one beginning at every multiple of their length.

    Args:
      numbers: int32 [characters].
      length: of a window.
      vocabulary: the characters by number.

    Fields: 'x' int32 [length], and 'y' int32 [length], which is one character on.
    """

    def __init__(self, numbers: np.ndarray, length: int, vocabulary: tuple[str, ...]):
        self._length = length
        self.fields = {name: Field((length,), "int32", 0, len(vocabulary) - 1, vocabulary) for name in ("x", "y")}
        with tf.device("CPU:0"):
            self._numbers = tf.constant(numbers, tf.int32)
        self._windows = (len(numbers) - 1) // length

    def __len__(self) -> int:
        return self._windows

    def read(self, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        places = indices[:, None] * self._length + tf.range(self._length, dtype=tf.int64)
        return {"x": tf.gather(self._numbers, places), "y": tf.gather(self._numbers, places + 1)}


def characters(text: Callable[[], str], alphabet: str, length: int, test: float = 0.1) -> Splits:
    """Returns a text as windows of characters; its end is held out.

    Args:
      text: returns it.
      alphabet: the characters by number, but for 0, which stands for every other one.
      length: of a window.
      test: the share that is held out.

    Raises:
      UsageError: the text is too short for that.
    """
    said = text()
    codes = np.frombuffer(said.encode("utf-32-le"), np.uint32)
    number = np.zeros(max(int(codes.max(initial=0)), *map(ord, alphabet)) + 1, np.int32)
    for i, character in enumerate(alphabet, 1):
        number[ord(character)] = i
    cut = round(len(codes) * (1 - test))
    parts = {"train": number[codes[:cut]], "test": number[codes[cut:]]}
    for split, numbers in parts.items():
        if len(numbers) <= length:
            raise UsageError(
                f"the text has {len(numbers):,} characters for {split}, but a window needs {length + 1:,}: shorten "
                f"characters.length"
            )
    vocabulary = ("\N{REPLACEMENT CHARACTER}", *alphabet)
    return Splits.of({split: Characters(numbers, length, vocabulary) for split, numbers in parts.items()})


def read(path: str) -> str:
    """Returns the text of a UTF-8 file. Raises UsageError if there is none, or it is no such text."""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except UnicodeDecodeError as error:
        raise _no_text(path, error) from None


def _no_text(path: str, error: UnicodeDecodeError) -> UsageError:
    return UsageError(f"{path} is no UTF-8 text: {error.reason} at byte {error.start:,}; convert it (iconv -t UTF-8)")


def _class_names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())


def _hashes(texts: Sequence[str], size: int) -> tf.RaggedTensor:
    """Of each text the hashes of its words, int64 in 0..size - 1: equal on every machine."""
    words = tf.strings.split(tf.strings.regex_replace(tf.strings.lower(texts), r"[^\w\s]", ""))
    return words.with_flat_values(tf.strings.to_hash_bucket_fast(words.flat_values, size))


def _in_parts(layer, texts: Sequence[str], size: int = 4096) -> np.ndarray:
    return np.concatenate(
        [np.asarray(layer(np.array(texts[i : i + size], object))) for i in range(0, len(texts), size)]
    )
