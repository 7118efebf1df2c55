"""The protocol of a global order: which example is at which position of which step's global batch.

An order is computed from the position alone, so a run can start at any step, and no shuffle buffer has to be saved: the
state of the input is (seed, step). Knows nothing of files, replicas or tf.data.
"""

from typing import Protocol

import tensorflow as tf


class Order(Protocol):
    """A global order; equal on every process, whatever their number."""

    @property
    def examples(self) -> int:
        """How many examples there are."""
        ...

    @property
    def batch_size(self) -> int:
        """Examples in the global batch."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Global batches in an epoch, the last of which may be partly padding."""
        ...

    def examples_before(self, step: int) -> int:
        """How many examples the steps before `step` have, without padding."""
        ...

    def locate(self, step: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the ids (int64) and the validity (bool) of the examples at positions of a step's global batch.

        A position beyond the batch or beyond the end of the epoch is padding: not valid, and filled with an example of
        the same epoch, so that padding looks like data.

        Args:
          step: int64, from 0.
          place: int64, position in the global batch, from 0. Broadcast against `step`; so are the results.
        """
        ...
