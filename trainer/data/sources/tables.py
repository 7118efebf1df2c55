"""Tables in CSV files: numbers and categories, with missing values. The whole table is held in memory.

What is learned from columns (means, deviations, categories) is learned from the training rows alone.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Protocol

import keras
import numpy as np

from trainer.base.errors import UsageError
from trainer.data import text_files
from trainer.data.scale import moments
from trainer.data.source import Splits
from trainer.data.sources.arrays import Arrays
from trainer.data.splits import share
from trainer.data.text_files import Misfit, Table, quoted


class Column(Protocol):
    """How the values of one column become numbers."""

    def fit(self, values: Sequence[str | None]) -> None:
        """Learns from the training rows' values; None stands for a missing one."""
        ...

    def transform(self, values: Sequence[str | None]) -> np.ndarray:
        """Returns numbers [n] or [n, k]. Raises trainer.data.text_files.Misfit if a value does not fit."""
        ...


class Number:
    """A number, standardised: float32 [n, 1]. If any training row lacks a value, [n, 2], with 1 for missing values.

    The mean takes the place of missing values.

    Args:
      standardise: False leaves numbers as they are; the mean still takes the place of missing values.
    """

    def __init__(self, standardise: bool = True):
        self._standardise = standardise

    def fit(self, values: Sequence[str | None]) -> None:
        numbers = _numbers(values)
        there = numbers[~np.isnan(numbers)]
        if not there.size:
            raise Misfit(0, "no training row has a value")
        self._mean, self._deviation = moments(there)
        self._gaps = there.size < numbers.size

    def transform(self, values: Sequence[str | None]) -> np.ndarray:
        numbers = _numbers(values)
        gaps = np.isnan(numbers)
        numbers = np.where(gaps, self._mean, numbers)
        if self._standardise:
            with np.errstate(over="ignore"):
                numbers = ((numbers - self._mean) / self._deviation).astype(np.float32)
            if (far := np.flatnonzero(np.isinf(numbers))).size:
                row = int(far[0])
                raise Misfit(row, f"{quoted(values[row])} is too far from the mean of the training rows: correct it")
        return np.stack([numbers, gaps] if self._gaps else [numbers], axis=1).astype(np.float32)


class Category:
    """A category, one-hot: float32 [n, k] for the k values in the training rows. A missing value is one of them.

    Args:
      unknown: 'refuse' a value that no training row has, or 'ignore' it: all of its features are 0.

    Raises:
      UsageError: `unknown` is neither.
    """

    def __init__(self, unknown: str = "refuse"):
        if unknown not in ("refuse", "ignore"):
            raise UsageError(f"Category.unknown = '{unknown}': give 'refuse' or 'ignore'")
        self._refuse = unknown == "refuse"

    def fit(self, values: Sequence[str | None]) -> None:
        self._values = sorted(set(values), key=lambda value: (value is not None, value))

    def transform(self, values: Sequence[str | None]) -> np.ndarray:
        place = {value: i for i, value in enumerate(self._values)}
        if self._refuse:
            for row, value in enumerate(values):
                if value not in place:
                    raise Misfit(
                        row, f"{quoted(value)} is in no training row: correct it, or set Category.unknown = 'ignore'"
                    )
        return np.eye(len(place) + 1, dtype=np.float32)[[place.get(value, -1) for value in values], :-1]


class Hashed:
    """A category with very many values, one-hot by its hash (keras.layers.Hashing): float32 [n, bins]. Learns nothing.

    Args:
      bins: number of features; some values share one.
    """

    def __init__(self, bins: int):
        self._layer = keras.layers.Hashing(bins, output_mode="one_hot")

    def fit(self, values: Sequence[str | None]) -> None:
        pass

    def transform(self, values: Sequence[str | None]) -> np.ndarray:
        return np.asarray(self._layer(np.array([value or "" for value in values])), np.float32)


class Class:
    """The class of a row, int64 [n]: the index of its value among the sorted values of the training rows.

    If all of these are numbers, they are sorted as numbers, and equal ones (1, 01 and 1.0) are one class. Classes are
    numbered from 0 without gaps: 0, 1, 2 stay the same if each is in a training row, and 1, 2 become 0, 1.
    """

    def fit(self, values: Sequence[str | None]) -> None:
        texts = _all_of(values)
        numbers = [_number(text) for text in texts]
        self._key: Callable[[str], Fraction | str] = (
            str if any(isinstance(number, str) for number in numbers) else _number
        )
        self._classes = {key: i for i, key in enumerate(sorted({self._key(text) for text in texts}))}

    def transform(self, values: Sequence[str | None]) -> np.ndarray:
        texts = _all_of(values)
        for row, text in enumerate(texts):
            if self._key(text) not in self._classes:
                raise Misfit(row, f"{quoted(text)} is the class of no training row: correct it, or change `cut`")
        return np.array([self._classes[self._key(text)] for text in texts], np.int64)


class Amount:
    """A number to predict, unchanged: float32 [n]."""

    def fit(self, values: Sequence[str | None]) -> None:
        pass

    def transform(self, values: Sequence[str | None]) -> np.ndarray:
        return _numbers(_all_of(values)).astype(np.float32)


def splits(
    path: str,
    fields: Mapping[str, Mapping[str, Callable[[], Column]]],
    cut: Callable[[int], Sequence[np.ndarray]] | None = None,
    test_path: str | None = None,
    missing: Sequence[str] = ("", "NA", "N/A", "NaN", "nan", "null", "None", "?"),
) -> Splits:
    """Returns the rows of a CSV file whose first line names the columns.

    Args:
      path: UTF-8, comma-separated, quoted as in RFC 4180; may be gzipped (.gz).
      fields: field -> column -> factory of a Column. A field has the features of its columns side by side, in the order
        given here. Columns that are not named are not used.
      cut: number of rows -> the indices of training and test rows, or of training, validation and test rows; None:
        trainer.data.splits.share. Columns learn from the training rows.
      test_path: a second file, with the test rows; `cut` then returns the indices of the first file's training and
        validation rows; None: all are for training.
      missing: texts that stand for a missing value; spaces around a value are ignored, and '' is an empty one. For a
        Category all of these are the same value: leave out those that it should tell apart.

    Raises:
      UsageError: no such file, no such column, or a value that does not fit, with the line; not UTF-8; or `cut` returns
        a wrong number of parts.
    """
    for field, columns in fields.items():
        if not columns:
            raise UsageError(f"splits.fields: the field '{field}' has no columns: name some, or remove it")
    wanted = sorted({name for columns in fields.values() for name in columns})
    rows = _read(path, wanted, missing)
    if test_path is None:
        parts = rows.cut(cut or share)
    else:
        parts = rows.cut(cut, [("train", "validation")]) if cut else {"train": rows}
        parts["test"] = _read(test_path, wanted, missing)
    found: dict[str, dict[str, np.ndarray]] = {split: {} for split in parts}
    for field, columns in fields.items():
        made = {name: make() for name, make in columns.items()}
        for name, column in made.items():
            parts["train"].told(name, column.fit)
        for split, part in parts.items():
            each = [part.told(name, column.transform) for name, column in made.items()]
            found[split][field] = each[0] if len(each) == 1 else np.column_stack(each)
    return Splits.of(
        {split: Arrays(arrays, name=f"{parts[split].path} ({split})") for split, arrays in found.items()},
        leakage="means and categories are those of all training rows; have tables.splits.cut hold out rows",
    )


def _read(path: str, wanted: Sequence[str], missing: Sequence[str]) -> Table:
    table = text_files.table(path, wanted)
    for name, values in table.columns.items():
        stripped = [value.strip() for value in values]
        table.columns[name] = [None if value in missing else value for value in stripped]
    return table


def _all_of(values: Sequence[str | None]) -> list[str]:
    """The values, none of which may be missing."""
    there = list[str]()
    for row, value in enumerate(values):
        if value is None:
            raise Misfit(row, "what is to be predicted is missing: remove the row, or fill it")
        there.append(value)
    return there


def _numbers(values: Sequence[str | None]) -> np.ndarray:
    return text_files.numbers(values, "correct it, or name it in splits.missing")


def _number(value: str) -> Fraction | str:
    """The number that a text spells, exactly; the text itself, if it spells none, or one with an exponent (1e5)."""
    return Fraction(value) if text_files.is_number(value) and "e" not in value.lower() else value
