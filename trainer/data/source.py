"""What a data source is: a number of examples, what each consists of, and how to read some of them by index.

A source knows nothing of batches, order, epochs or replicas.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import tensorflow as tf

from trainer.errors import UsageError


class Field(NamedTuple):
    """One named part of an example.

    shape: of one example, without a batch dimension.  dtype: a NumPy dtype name.
    minimum, maximum: over the whole source where that is known (integers that are resident), else None.
    vocabulary: what the numbers from 0 on stand for, where they stand for words or characters.
    """

    shape: tuple[int, ...]
    dtype: str
    minimum: int | None = None
    maximum: int | None = None
    vocabulary: tuple[str, ...] = ()


class Source(Protocol):
    """Examples that can be read by index, in any order, from inside a graph."""

    @property
    def fields(self) -> Mapping[str, Field]: ...

    def __len__(self) -> int: ...

    def read(self, indices: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """Returns the examples `indices` (int64 [n], each in [0, len)), every field as [n, *shape]. Traced once."""
        ...


class Splits(NamedTuple):
    """The sources of a run: what it trains on, and what it is judged by.

    notes: what a person should know of how they came to be, a line each.
    ties: why a part of the training examples would be no new ones, if it were held out now, and what to do instead:
      means and vocabularies were learned of all of them, or they overlap. Empty, if it would.
    """

    train: Source
    validation: Source | None = None
    test: Source | None = None
    notes: tuple[str, ...] = ()
    ties: str = ""

    @classmethod
    def of(cls, parts: Mapping[str, Source], notes: tuple[str, ...] = (), ties: str = "") -> "Splits":
        """From the sources by split."""
        return cls(parts["train"], parts.get("validation"), parts.get("test"), notes, ties)

    def fields(self) -> dict[str, Field]:
        """The fields of the training data; bounds are those of all splits together."""
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

    def held_out(self) -> dict[str, Source]:
        """The splits that are evaluated, by name."""
        pairs = {"validation": self.validation, "test": self.test}
        return {name: source for name, source in pairs.items() if source is not None}
