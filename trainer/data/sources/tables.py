"""Tables in CSV files: numbers and categories, with values missing. What is learned of the columns (means, deviations,
categories) is learned from the training rows alone. The whole table is held in memory.
"""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import keras
import numpy as np

from trainer.data import text_files
from trainer.data.scale import moments
from trainer.data.source import Splits
from trainer.data.sources.arrays import Arrays
from trainer.data.splits import share
from trainer.data.text_files import Misfit, Table, quoted
from trainer.errors import UsageError


class Column(Protocol):
    """How the values of one column become numbers."""

    def fit(self, values: Sequence[str | None]) -> None:
        """Learns from the training rows. None: missing."""
        ...

    def transform(self, values: Sequence[str | None]) -> np.ndarray:
        """Returns [n] or [n, k]. Raises trainer.data.text_files.Misfit if a value does not fit."""
        ...


class Number:
    """A number: less the mean, divided by the deviation; the mean for what is missing, and a second feature says so.

    The second feature is there if any training row lacks the value.

    Args:
      standardise: False leaves numbers as they are; the mean still stands for what is missing.
    """

    def __init__(self, standardise: bool = True):
        self._standardise = standardise

    def fit(self, values):
        numbers = _numbers(values)
        there = numbers[~np.isnan(numbers)]
        if not there.size:
            raise Misfit(0, "no training row has a value")
        self._mean, self._deviation = moments(there)
        self._gaps = there.size < numbers.size

    def transform(self, values):
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
    """One of the values that the training rows have: one feature each. A missing value is a category of its own.

    Args:
      unknown: 'refuse' a value that no training row has, or 'ignore' it: all of its features are 0.
    """

    def __init__(self, unknown: str = "refuse"):
        if unknown not in ("refuse", "ignore"):
            raise UsageError(f"Category.unknown = '{unknown}': give 'refuse' or 'ignore'")
        self._refuse = unknown == "refuse"

    def fit(self, values):
        self._values = sorted(set(values), key=lambda value: (value is not None, value))

    def transform(self, values):
        place = {value: i for i, value in enumerate(self._values)}
        if self._refuse:
            for row, value in enumerate(values):
                if value not in place:
                    raise Misfit(
                        row, f"{quoted(value)} is in no training row: correct it, or set Category.unknown = 'ignore'"
                    )
        return np.eye(len(place) + 1, dtype=np.float32)[[place.get(value, -1) for value in values], :-1]


class Hashed:
    """A value of very many: one of `bins` features, by its hash (keras.layers.Hashing). Learns nothing."""

    def __init__(self, bins: int):
        self._layer = keras.layers.Hashing(bins, output_mode="one_hot")

    def fit(self, values):
        pass

    def transform(self, values):
        return np.asarray(self._layer(np.array([value or "" for value in values])), np.float32)


class Class:
    """What a row is to be classified as: the number of its value, in the order of the training rows' values; int64.

    If all of these are numbers, that is their order as numbers, and equal ones (1, 01 and 1.0) are one class. They are
    numbered from 0 on without a gap: 0, 1, 2 stay what they are if each is in a training row, and 1, 2 become 0, 1.
    """

    def fit(self, values):
        _require_all(values)
        numbers = [_number(value) for value in values]
        self._key = str if any(isinstance(number, str) for number in numbers) else _number
        self._classes = {key: i for i, key in enumerate(sorted({self._key(value) for value in values}))}

    def transform(self, values):
        _require_all(values)
        for row, value in enumerate(values):
            if self._key(value) not in self._classes:
                raise Misfit(row, f"{quoted(value)} is the class of no training row: correct it, or cut otherwise")
        return np.array([self._classes[self._key(value)] for value in values], np.int64)


class Amount:
    """A number that is to be predicted, as it is; float32."""

    def fit(self, values):
        pass

    def transform(self, values):
        _require_all(values)
        return _numbers(values).astype(np.float32)


def splits(
    path: str,
    fields: Mapping[str, Mapping[str, Callable[[], Column]]],
    cut: Callable[[int], Sequence[np.ndarray]] | None = None,
    test_path: str | None = None,
    missing: Sequence[str] = ("", "NA", "N/A", "NaN", "nan", "null", "None", "?"),
) -> Splits:
    """Returns the rows of a CSV file whose first line names the columns.

    Args:
      path: UTF-8, comma separated, quoted as RFC 4180 has it; .gz too.
      fields: field -> column -> makes what turns its values into numbers. What the columns of a field come to stands
        side by side, in the order given here. Columns that are not named are not used.
      cut: number of rows -> the numbers of those that are trained on and of those that are held out for the test; or of
        three parts, the second being for validation; None: `splits.share`. What is learned of the columns is learned
        from the first.
      test_path: a second file, with the test rows; `cut` then gives those of the first file that are for training and
        for validation, None: all are for training.
      missing: what says that a value is missing, as it is written, but for spaces around it; '' is nothing at all. To a
        Category all of these are one: leave out those that it shall keep apart.

    Raises:
      UsageError: no such file, a column or value that is not there or does not fit, with the line; not UTF-8; or as
        many parts as the files do not allow.
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
        ties="means and categories are those of all training rows; have tables.splits.cut hold out rows for validation",
    )


def _read(path: str, wanted: Sequence[str], missing: Sequence[str]) -> Table:
    table = text_files.table(path, wanted)
    for name, values in table.columns.items():
        stripped = [value.strip() for value in values]
        table.columns[name] = [None if value in missing else value for value in stripped]
    return table


def _require_all(values: Sequence[str | None]) -> None:
    for row, value in enumerate(values):
        if value is None:
            raise Misfit(row, "what is to be predicted is missing: remove the row, or fill it")


def _numbers(values: Sequence[str | None]) -> np.ndarray:
    return text_files.numbers(values, "correct it, or name it in splits.missing")


def _number(value: str) -> int | float | str:
    """The number that a value says, exactly; the value itself, if it says none."""
    try:
        return int(value)
    except ValueError:
        with contextlib.suppress(ValueError):
            if math.isfinite(number := float(value)):
                return number
        return value
