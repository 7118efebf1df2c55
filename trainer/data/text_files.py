"""Reads text files: UTF-8, with or without a byte order mark, gzipped (.gz) or not; whole, or as columns of a CSV file.

Errors name the file and the line or byte. What the values mean is up to the callers.
"""

import contextlib
import csv
import dataclasses
import gzip
import io
import os
import re
import textwrap
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from trainer.base import counted_files
from trainer.base.errors import UsageError
from trainer.base.liveness import progressed

# Characters in one value. A value may be a whole text, and csv's default limit is 131,072.
_LONGEST = 2**31 - 1
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Misfit(ValueError):
    """A value that does not fit. row: its index among the values given."""

    def __init__(self, row: int, message: str):
        super().__init__(message)
        self.row = row


# The splits that the rows of a table are usually cut into, for two parts and for three.
_SPLITS = (("train", "test"), ("train", "validation", "test"))


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of a CSV file.

    path: of the file.  lines: the line at which each row begins, from 1.  columns: the values by column, unchanged.
    """

    path: str
    lines: list[int]
    columns: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(self.lines)

    def rows(self, numbers: Sequence[int] | np.ndarray) -> "Table":
        """The rows with these indices, in the order given."""
        columns = {name: [values[i] for i in numbers] for name, values in self.columns.items()}
        return Table(self.path, [self.lines[i] for i in numbers], columns)

    def cut(
        self, cut: Callable[[int], Sequence[np.ndarray]], splits: Sequence[Sequence[str]] = _SPLITS
    ) -> dict[str, "Table"]:
        """The rows by split.

        Args:
          cut: number of rows -> the indices of each part's rows.
          splits: the names of the parts, for each number of parts that is allowed.

        Raises:
          UsageError: it returned another number of parts.
        """
        parts = cut(len(self))
        names = {len(each): each for each in splits}.get(len(parts))
        if names is None:
            allowed = "; or of ".join(", ".join(each) for each in splits)
            raise UsageError(f"cut returned {len(parts)} parts of {self.path}: it must return the rows of {allowed}")
        return {name: self.rows(rows) for name, rows in zip(names, parts, strict=True)}

    def told(self, name: str, function: Callable[[list[Any]], Any]) -> Any:
        """Returns function(values of a column). A Misfit becomes a UsageError that names file, line and column."""
        try:
            found = function(self.columns[name])
        except Misfit as misfit:
            raise UsageError(f"{self.path}, line {self.lines[misfit.row]}, column '{name}': {misfit}") from None
        progressed()
        return found


def table(path: str, names: Sequence[str]) -> Table:
    """Returns some columns of a CSV file, whose first line names its columns.

    Args:
      path: a file of comma-separated values, quoted as in RFC 4180; ~ is the home folder. Empty lines are skipped.
      names: of the columns to return.

    Raises:
      UsageError: no such file, or one that cannot be read; not UTF-8, with the byte; no such column, or two of that
        name; no row; quotes that are not closed or a wrong number of values, with the line where that row begins.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))  # of the whole process, so it is never lowered
    with _opened(path) as stream:
        reader = csv.reader(_lines(path, stream), strict=True)
        line = 1
        try:
            header = [name.strip() for name in next(reader, [])]
            places = {name: _place(path, header, name) for name in names}
            found = Table(path, [], {name: [] for name in names})
            line = reader.line_num + 1
            for row in reader:
                if row:
                    if len(row) != len(header):
                        raise UsageError(
                            f"{path}, line {line}: {len(row)} values, but the first line has {len(header)} names"
                        )
                    found.lines.append(line)
                    for name, place in places.items():
                        found.columns[name].append(row[place])
                line = reader.line_num + 1
        except csv.Error as error:
            raise UsageError(
                f"{path}, line {line}: {error}: close the quotes of the row that begins there, and double those "
                f"within a value"
            ) from None
    if not len(found):
        raise UsageError(f"{path} holds no row below its first line")
    return found


def read(path: str) -> str:
    """Returns the text of a file; its lines end with \\n.

    Raises:
      UsageError: no such file, one that cannot be read, or not UTF-8, with the byte.
    """
    with _opened(path) as stream:
        try:
            text = io.TextIOWrapper(io.BytesIO(stream.read()), encoding="utf-8").read().removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise _no_text(path, error, 0) from None
    progressed()
    return text


def numbers(values: Sequence[str | None], remedy: str = "correct it") -> np.ndarray:
    """Returns the numbers that texts spell, float64 [n], each within the range of float32; NaN for None.

    Args:
      values: the texts.
      remedy: ends the message about a value that does not fit.

    Raises:
      Misfit: a value is no number (see is_number), or too large.
    """
    found = np.empty(len(values))
    for row, value in enumerate(values):
        if value is None:
            found[row] = np.nan
        elif not is_number(value):
            raise Misfit(row, f"{quoted(value)} is no number: {remedy}")
        else:
            found[row] = float(value)
            if not abs(found[row]) <= np.finfo(np.float32).max:
                raise Misfit(row, f"{quoted(value)} is too large for float32: {remedy}")
    return found


def is_number(text: str) -> bool:
    """Whether a text spells a number in decimal digits, perhaps with a point and an exponent.

    Python's float() takes more: 1_0, digits of other scripts, inf and nan.
    """
    return _NUMBER.fullmatch(text) is not None


def quoted(value: str | None, longest: int = 60) -> str:
    """A value as messages show it: in quotes, on one line, and cut if it is long."""
    if not value:
        return "a missing value"
    return repr(value if len(value) <= longest else f"{value[:longest]}…")


def _place(path: str, header: Sequence[str], name: str) -> int:
    if name not in header:
        there = textwrap.shorten(", ".join(header), 300, placeholder=" …") or "none"
        remedy = "; columns are separated by commas" if len(header) == 1 else ""
        raise UsageError(f"{path} has no column '{name}'; it has: {there}{remedy}")
    if header.count(name) > 1:
        raise UsageError(f"{path} has {header.count(name)} columns '{name}': rename all but one of them")
    return header.index(name)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[io.BufferedIOBase]:
    try:
        with counted_files.reader(os.path.expanduser(path)) as file:
            if path.endswith(".gz"):
                with gzip.open(file) as stream:
                    yield stream
            else:
                yield file
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _lines(path: str, stream: io.BufferedIOBase) -> Iterator[str]:
    """The lines with their ends. Decoded one by one, because Python's text reader does not say which byte is wrong."""
    before = 0
    for line in stream:
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise _no_text(path, error, before) from None
        # Old files end their lines with \r alone.
        yield from io.StringIO(text if before else text.removeprefix("\ufeff"), newline="")
        before += len(line)


def _no_text(path: str, error: UnicodeDecodeError, before: int) -> UsageError:
    return UsageError(
        f"{path} is no UTF-8 text: {error.reason} at byte {before + error.start:,}; convert it"
        f" (iconv -f LATIN1 -t UTF-8, or from whatever it is in)"
    )
