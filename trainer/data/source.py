"""The protocol of a data source: its number of examples, their fields, and how to read examples by index.

A source knows nothing of batches, order, epochs or replicas.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import tensorflow as tf

from trainer.base.errors import UsageError


class Field(NamedTuple):
    """One named part of an example.

    shape: of one example, without a batch dimension.  dtype: a NumPy dtype name.
    minimum, maximum: over the whole source, if they are known (of integers in memory, and classes), else None.
    vocabulary: the word or character of each number, from 0; empty if the numbers stand for something else.
    """

    shape: tuple[int, ...]
    dtype: str
    minimum: int | None = None
    maximum: int | None = None
    vocabulary: tuple[str, ...] = ()


class Source(Protocol):
    """Examples that can be read by index, in any order, from inside a graph."""

    @property
    def fields(self) -> Mapping[str, Field]:
        """The parts of an example, by name."""
        ...

    def __len__(self) -> int: ...

    def read(self, indices: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """Returns the examples `indices` (int64 [n], each in [0, len)), every field as [n, *shape]. Traced once.

        Raises (outside of a graph):
          TrainingError: an example cannot be read; names the file, if the source can.
        """
        ...


class Splits(NamedTuple):
    """The sources of a run: what it trains on, and what it is evaluated on.

    notes: lines for the console on how they were made.
    leakage: why no training examples may be held out any more (means were computed from all, or examples overlap), and
      the remedy. Empty: they may.
    """

    train: Source
    validation: Source | None = None
    test: Source | None = None
    notes: tuple[str, ...] = ()
    leakage: str = ""

    @classmethod
    def of(cls, parts: Mapping[str, Source], notes: tuple[str, ...] = (), leakage: str = "") -> "Splits":
        """Splits from sources by name: 'train', and 'validation' and 'test' if there are such."""
        return cls(parts["train"], parts.get("validation"), parts.get("test"), notes, leakage)

    def fields(self) -> dict[str, Field]:
        """The fields of the training data; minimum and maximum are over all splits.

        Raises:
          UsageError: another split lacks a field, or has it with another shape or dtype.
        """
        others = self.held_out()
        found = {}
        for name, field in self.train.fields.items():
            low, high = field.minimum, field.maximum
            for split, source in others.items():
                if name not in source.fields:
                    raise UsageError(f"the {split} data lacks the field '{name}', which the training data has")
                other = source.fields[name]
                if (other.shape, other.dtype) != (field.shape, field.dtype):
                    raise UsageError(
                        f"field '{name}' has examples of shape {list(field.shape)} and type {field.dtype} in the "
                        f"training data, of shape {list(other.shape)} and type {other.dtype} in the {split} data: "
                        f"correct one of them"
                    )
                low = None if low is None or other.minimum is None else min(low, other.minimum)
                high = None if high is None or other.maximum is None else max(high, other.maximum)
            found[name] = field._replace(minimum=low, maximum=high)
        return found

    def parts(self) -> dict[str, Source]:
        """All splits by name, the inverse of `of`."""
        return {"train": self.train, **self.held_out()}

    def held_out(self) -> dict[str, Source]:
        """The splits that are evaluated, by name."""
        pairs = {"validation": self.validation, "test": self.test}
        return {name: source for name, source in pairs.items() if source is not None}
