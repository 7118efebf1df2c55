"""The processes that train together, and how they share what only one of them knows.

Everything here is a collective: every rank calls it, in the same order, from one thread. Only a few numbers per step
boundary travel this way; gradients go through step/reduction.py.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


class Ranks:
    """The ranks of a strategy; one process by itself is rank 0 of 1.

    Args:
      strategy: the process's only strategy.
      rank: of this process, from 0.
      count: how many processes there are.
    """

    def __init__(self, strategy: tf.distribute.Strategy, rank: int = 0, count: int = 1):
        self.rank, self.count, self._meetings = rank, count, 0
        self._strategy = strategy
        self._gather = tf.function(
            lambda row: strategy.run(self._sum_of_rows, args=(row,)),
            input_signature=[tf.TensorSpec([None], tf.float64)],
            autograph=False,
        )

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes the run directory."""
        return self.rank == 0

    def gather(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Returns float64 [count, n]: the n values of each rank; n is the same on all ranks."""
        row = np.asarray(values, np.float64)
        if self.count == 1:
            return row[None]
        self._meetings += 1
        gathered = self._strategy.experimental_local_results(self._gather(tf.constant(row)))[0]
        rows: np.ndarray = gathered.numpy()
        return rows

    def meetings(self) -> int:
        """How often this process has come to the others so far, to share something; callable from any thread."""
        return self._meetings

    def largest(self, values: Sequence[float]) -> np.ndarray:
        """Returns float64 [n]: the largest of each value over the ranks."""
        largest: np.ndarray = self.gather(values).max(axis=0)
        return largest

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true on any rank."""
        return bool(self.largest([flag])[0])

    def from_first(self, value: Any) -> Any:
        """Returns the value of rank 0, which must be expressible in JSON; the other ranks' values are ignored."""
        text = json.dumps(value).encode() if self.first else b""
        size = int(self.largest([len(text)])[0])
        row = np.zeros(size)
        row[: len(text)] = np.frombuffer(text, np.uint8)
        return json.loads(self.gather(row)[0].astype(np.uint8).tobytes())

    def _sum_of_rows(self, row: tf.Tensor) -> tf.Tensor:
        """The rows of all ranks as [count, n]: an all-reduce of tables that are zero except for the rank's own row."""
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync // self.count
        own = tf.one_hot(self.rank, self.count, dtype=row.dtype)[:, None] * row
        speaks = tf.cast(context.replica_id_in_sync_group % replicas == 0, row.dtype)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, own * speaks)
