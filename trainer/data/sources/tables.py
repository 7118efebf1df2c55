"""Tables in CSV files: numbers and categories, with values missing. What is learned of the columns (means, deviations,
categories) is learned from the training rows alone. The whole table is held in memory.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import keras
import numpy as np

from trainer.data.source import Splits
from trainer.data.sources.arrays import Arrays
from trainer.data.splits import share
from trainer.errors import UsageError

_MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None", "?")


class Column(Protocol):
    """How the values of one column become numbers."""

    def fit(self, values: Sequence[str | None]) -> None:
        """Learns from the training rows. None: missing."""
        ...

    def transform(self, values: Sequence[str | None]) -> np.ndarray:
        """Returns [n] or [n, k]. Raises Misfit if a value does not fit."""
        ...


class Misfit(ValueError):
    """A value that its column cannot take; row: its place among those that were given."""

    def __init__(self, row: int, message: str):
        super().__init__(message)
        self.row = row


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
        self._mean, self._deviation = there.mean(), there.std() or 1.0
        self._gaps = there.size < numbers.size

    def transform(self, values):
        numbers = _numbers(values)
        gaps = np.isnan(numbers)
        numbers = np.where(gaps, self._mean, numbers)
        if self._standardise:
            numbers = (numbers - self._mean) / self._deviation
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
                        row, f"{_said(value)} is in no training row: correct it, or set Category.unknown = 'ignore'"
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

    Whole numbers are put in order as numbers, so that 0, 1, 2 stay what they are.
    """

    def fit(self, values):
        _require_all(values)
        try:
            order = sorted(set(values), key=float)
        except ValueError:
            order = sorted(set(values))
        self._number = {value: i for i, value in enumerate(order)}

    def transform(self, values):
        for row, value in enumerate(values):
            if value not in self._number:
                raise Misfit(row, f"{_said(value)} is the class of no training row: correct it, or cut otherwise")
        return np.array([self._number[value] for value in values], np.int64)


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
    cut: Callable[[int], tuple[np.ndarray, np.ndarray]] = share,
    test_path: str | None = None,
) -> Splits:
    """Returns the rows of a CSV file whose first line names the columns.

    Args:
      path: UTF-8, comma separated, quoted as RFC 4180 has it.
      fields: field -> column -> makes what turns its values into numbers. What the columns of a field come to stands
        side by side, in the order given here. Columns that are not named are not used.
      cut: number of rows -> those that are trained on, those that are held out, where there is no `test_path`.
      test_path: a second file, with the test rows.

    Raises:
      UsageError: no such file, a column or value that is not there or does not fit, with the line; or not UTF-8.
    """
    wanted = sorted({name for columns in fields.values() for name in columns})
    rows = _read(path, wanted)
    if test_path is None:
        kept, held = cut(len(rows))
        parts = {"train": (path, [rows[i] for i in kept]), "test": (path, [rows[i] for i in held])}
    else:
        parts = {"train": (path, rows), "test": (test_path, _read(test_path, wanted))}
    found: dict[str, dict[str, np.ndarray]] = {split: {} for split in parts}
    for field, columns in fields.items():
        made = {name: make() for name, make in columns.items()}
        for name, column in made.items():
            _told(name, *parts["train"], column.fit)
        for split, part in parts.items():
            each = [_told(name, *part, column.transform) for name, column in made.items()]
            found[split][field] = each[0] if len(each) == 1 else np.column_stack(each)
    return Splits.of({split: Arrays(arrays, name=f"{parts[split][0]} ({split})") for split, arrays in found.items()})


def _read(path: str, wanted: Sequence[str]) -> list[tuple[int, dict[str, str | None]]]:
    """The line of each row, and its values of the `wanted` columns; None: missing."""
    rows = []
    try:
        with Path(path).expanduser().open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            for name in wanted:
                if name not in header:
                    raise UsageError(f"{path} has no column '{name}'; it has: {', '.join(header)}")
            places = {name: header.index(name) for name in wanted}
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise UsageError(
                        f"{path}, line {reader.line_num}: {len(row)} values, but the first line has {len(header)} names"
                    )
                values = {name: row[place].strip() for name, place in places.items()}
                rows.append((reader.line_num, {n: None if v in _MISSING else v for n, v in values.items()}))
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text: {error.reason} at byte {error.start:,}") from None
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}") from None
    if not rows:
        raise UsageError(f"{path} holds no row below its first line")
    return rows


def _told(name: str, path: str, rows: list, function: Callable):
    """Calls a function with a column's values; a misfit gets its file and line."""
    try:
        return function([values[name] for _, values in rows])
    except Misfit as misfit:
        raise UsageError(f"{path}, line {rows[misfit.row][0]}, column '{name}': {misfit}") from None


def _require_all(values: Sequence[str | None]) -> None:
    for row, value in enumerate(values):
        if value is None:
            raise Misfit(row, "what is to be predicted is missing: remove the row, or fill it")


def _numbers(values: Sequence[str | None]) -> np.ndarray:
    numbers = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            numbers[row] = np.nan if value is None else float(value)
            if np.isinf(numbers[row]):
                raise ValueError
        except ValueError:
            raise Misfit(row, f"{_said(value)} is no number") from None
    return numbers


def _said(value: str | None) -> str:
    return "a missing value" if value is None else f"'{value}'"
