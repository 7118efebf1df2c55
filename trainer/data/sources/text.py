"""Texts: labelled texts as sequences of numbers, and one long text as windows of characters. The encoders are in
trainer/data/encoders.py.

Vocabularies are made from the training texts alone, and texts are encoded once, when the data is opened. 0 is padding
(layers.Embedding(mask_zero=True) makes it a mask), 1 is any word that is not in the vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer.base import unlocked
from trainer.base.errors import UsageError
from trainer.base.liveness import progressed
from trainer.data import class_folders, text_files
from trainer.data.class_folders import ClassFolders
from trainer.data.encoders import Bag, Encoder, HashedBag, HashedWords, Subwords, Words
from trainer.data.source import Field, Splits
from trainer.data.sources.arrays import Arrays
from trainer.data.sources.tables import Class
from trainer.data.splits import share
from trainer.data.text_files import read

# The names that gin files use as text.NAME.
__all__ = [
    "Bag", "HashedBag", "HashedWords", "Subwords", "Words", "characters", "folders", "labelled", "read", "table",
]  # fmt: skip


class LabelledTexts(dict[str, tuple[Sequence[str], Sequence[int]]]):
    """The texts and labels of each split. notes: lines for the console on how they were found."""

    notes: tuple[str, ...] = ()


def labelled(
    texts: Callable[[], Mapping[str, tuple[Sequence[str], Sequence[int]]]], encoder: Callable[[], Encoder]
) -> Splits:
    """Returns labelled texts as numbers. Fields: 'x', the encoded text, with the encoder's vocabulary; 'y' int64 [].

    Args:
      texts: returns the texts and labels of 'train', and of 'validation' and 'test' if there are such.
      encoder: returns an encoder, see trainer.data.encoders.

    Raises:
      UsageError: a split without texts, or training texts that the encoder learns nothing from.
    """
    found = texts()
    for split, (said, _) in found.items():
        if not len(said):
            raise UsageError(f"labelled.texts returned no text for {split}: leave that split out, or fill it")
    one = encoder()
    one.fit(found["train"][0])
    parts = {
        split: Arrays({"x": one.transform(said), "y": np.asarray(labels, np.int64)}, name=f"the texts ({split})")
        for split, (said, labels) in found.items()
    }
    for source in parts.values():
        source.fields["x"] = source.fields["x"]._replace(vocabulary=tuple(one.vocabulary()))
    return Splits.of(
        parts,
        found.notes if isinstance(found, LabelledTexts) else (),
        leakage="the encoder has learned from all training texts; let text.table.cut return three parts, or give "
        "text.folders a folder 'validation'",
    )


def folders(path: str) -> LabelledTexts:
    """Returns the texts of PATH/SPLIT/CLASS/**.txt, for `labelled`; classes are numbered in the order of their names.

    The splits are train, and validation and test if there are such. Hidden files are left out, as others are that are
    no .txt; the notes say how many.

    Raises:
      UsageError: no such folder, another folder beside those of splits, an empty class, classes that differ between
        splits, or a file that is not UTF-8.
    """
    root, files_of = Path(path).expanduser(), ClassFolders("text", (".txt",))
    if not (root / "train").is_dir():
        raise UsageError(f"{path} has no folder 'train' with a folder for each class in it")
    splits = [folder.name for folder in class_folders.folders(root)]
    if others := [name for name in splits if name not in ("train", "validation", "test")]:
        raise UsageError(
            f"{path} has the folder '{others[0]}', which is of no split: rename it to train, validation or test, or "
            f"move it elsewhere"
        )
    found = LabelledTexts()
    listed = {split: files_of.find(root / split) for split in ("train", "validation", "test") if split in splits}
    for split, classes in listed.items():
        if list(classes) != list(listed["train"]):
            names = (", ".join(each) for each in (classes, listed["train"]))
            raise UsageError("{} has the classes {}, train has {}".format(root / split, *names))
        labels = [label for label, files in enumerate(classes.values()) for _ in files]
        found[split] = ([read(file) for files in classes.values() for file in files], labels)
    found.notes = tuple(files_of.note(path))
    return found


def table(
    path: str,
    text: str,
    label: str,
    cut: Callable[[int], Sequence[np.ndarray]] = share,
    only: Mapping[str, str] | None = None,
) -> dict[str, tuple[list[str], list[int]]]:
    """Returns the texts of a CSV file, for `labelled`; labels are numbered by tables.Class.

    Args:
      path: UTF-8, with the names of the columns in its first line; may be gzipped (.gz).
      text, label: the names of the columns.
      cut: number of rows -> the indices of training and test rows, or of training, validation and test rows.
      only: column -> value: rows with another value are left out.

    Raises:
      UsageError: no such file, no such column, no row left, a label that is missing or in no training row, with its
        line; or not UTF-8.
    """
    only = only or {}
    rows = text_files.table(path, [text, label, *only])
    kept = [i for i in range(len(rows)) if all(rows.columns[name][i] == value for name, value in only.items())]
    if not kept:
        raise UsageError(f"table.only = {dict(only)} leaves no row of {path}: correct it")
    rows = rows.rows(kept)
    rows.columns[label] = [value.strip() or None for value in rows.columns[label]]
    parts, classes = rows.cut(cut), Class()
    parts["train"].told(label, classes.fit)
    return {split: (part.columns[text], part.told(label, classes.transform).tolist()) for split, part in parts.items()}


class Characters:
    """Windows over a text, which do not overlap.

    Args:
      numbers: int32 [characters], the text.
      length: of a window, in characters.
      vocabulary: the characters by number.

    Fields: 'x' int32 [length], and 'y' int32 [length], the same one character later.
    """

    def __init__(self, numbers: np.ndarray, length: int, vocabulary: tuple[str, ...]):
        self._length = length
        self.fields = {name: Field((length,), "int32", 0, len(vocabulary) - 1, vocabulary) for name in ("x", "y")}
        self._numbers = unlocked.tensor(numbers)
        self._windows = (len(numbers) - 1) // length

    def __len__(self) -> int:
        return self._windows

    def read(self, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        places = indices[:, None] * self._length + tf.range(self._length, dtype=tf.int64)
        return {"x": tf.gather(self._numbers, places), "y": tf.gather(self._numbers, places + 1)}


def characters(text: Callable[[], str], alphabet: str, length: int, test: float = 0.1) -> Splits:
    """Returns a text as windows of characters, see Characters; its end is held out.

    Args:
      text: returns the text.
      alphabet: the characters with numbers from 1; 0 stands for every other character.
      length: of a window, in characters.
      test: the share that is held out; 0 for no test split.

    Raises:
      UsageError: an argument is out of range, or the text is too short for it.
    """
    if not alphabet or (twice := [character for character in alphabet if alphabet.count(character) > 1]):
        what = f"has {twice[0]!r} more than once" if alphabet else "is empty"
        raise UsageError(f"characters.alphabet {what}: give each character that is to be told apart once")
    if length < 1:
        raise UsageError(f"characters.length = {length}: give a number of at least 1")
    if not 0.0 <= test < 1.0:
        raise UsageError(f"characters.test = {test}: give the share that is held out, from 0 to less than 1")
    said = text()
    codes = _codes(said)
    number = np.zeros(max(int(codes.max(initial=0)), *map(ord, alphabet)) + 1, np.int32)
    for i, character in enumerate(alphabet, 1):
        number[ord(character)] = i
    cut = round(len(codes) * (1 - test))
    parts = {"train": number[codes[:cut]], "test": number[codes[cut:]]} if test else {"train": number[codes]}
    for split, numbers in parts.items():
        if len(numbers) <= length:
            raise UsageError(
                f"the text has {len(numbers):,} characters for {split}, but a window needs {length + 1:,}: shorten "
                f"characters.length, or change characters.test"
            )
    vocabulary = ("\N{REPLACEMENT CHARACTER}", *alphabet)
    return Splits.of({split: Characters(numbers, length, vocabulary) for split, numbers in parts.items()})


def _codes(text: str, part: int = 1 << 20) -> np.ndarray:
    """The number of each character, uint32 [n]; part by part, as Python's global lock is held while it encodes one."""
    codes = np.empty(len(text), np.uint32)
    for first in range(0, len(text), part):
        codes[first : first + part] = np.frombuffer(text[first : first + part].encode("utf-32-le"), np.uint32)
        progressed()
    return codes
