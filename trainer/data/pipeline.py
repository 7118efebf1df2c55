"""From an order and a source to blocks of batches, which tf.data reads ahead of the devices.

A block holds one replica's part of K consecutive global batches, as tensors [K, slots, shard_size, …]: slot m of
replica r is shard r * slots + m of the global batch. The order decides which example is where, the source reads it,
and the step computes with it.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainer.base.errors import TrainingError, UsageError, of_other_processes
from trainer.data.order import Order
from trainer.data.reading import unreadable
from trainer.data.source import Source

# A host call works on one block at a time, so a block should take much longer than the call itself (about 0.2 ms), and
# fit into memory.
_BLOCK_BYTES = 32 << 20
_BLOCK_STEPS = 64
_BLOCKS_AHEAD = 2

RESERVED_FIELDS = ("valid", "id", "global_valid")


class Layout(NamedTuple):
    """How a global batch is cut: into `shards` microbatches of equal size, dealt to `replicas` in contiguous parts.

    A shard has its own random numbers and batch statistics, and their number is fixed for the whole run, so the number
    of replicas does not change the results. Sizes are rounded up; positions beyond the batch, or beyond the shards, are
    padding.
    """

    batch_size: int
    shards: int
    replicas: int

    @property
    def slots(self) -> int:
        """Shards that a replica works through in a step."""
        return -(-self.shards // self.replicas)

    @property
    def shard_size(self) -> int:
        """Examples in a shard, padding included."""
        return -(-self.batch_size // self.shards)

    def block_steps(self, source: Source) -> int:
        """Steps in a block, bounded by its bytes; a pure function of the configuration and the data."""
        example = sum(math.prod(f.shape) * np.dtype(f.dtype).itemsize for f in source.fields.values())
        step = self.slots * self.shard_size * max(example, 1)
        return max(1, min(_BLOCK_STEPS, _BLOCK_BYTES // step))


class Segment(NamedTuple):
    """Steps [start, stop) of a block; int32 [] tensors, so that a new value does not retrace the step."""

    block: Any
    start: tf.Tensor
    stop: tf.Tensor


class Batches:
    """An open input: hands out the next steps, in segments of blocks that were read ahead.

    Args:
      blocks: returns the next block.
      block_steps: steps in a block.
      first_step: where the input starts.
      waiting: returns a context that is entered while the caller waits for data.
      wrong: given the number of a block, says what is wrong with its examples; None if all can be read.
    """

    def __init__(
        self,
        blocks: Callable[[], Any],
        block_steps: int,
        first_step: int,
        waiting: Callable[[], contextlib.AbstractContextManager[None]],
        wrong: Callable[[int], str | None],
    ):
        self._blocks, self._block_steps, self._step, self._waiting = blocks, block_steps, first_step, waiting
        self._wrong = wrong
        self._block = None

    def take(self, steps: int) -> Iterator[Segment]:
        """Yields segments with the next `steps` steps, in order.

        Raises:
          TrainingError: an example cannot be read.
        """
        while steps > 0:
            start = self._step % self._block_steps
            if start == 0 or self._block is None:
                with self._waiting():
                    self._block = self._next()
            stop = min(self._block_steps, start + steps)
            yield Segment(self._block, tf.constant(start), tf.constant(stop))
            self._step += stop - start
            steps -= stop - start

    def _next(self) -> Any:
        try:
            return self._blocks()
        except tf.errors.OpError as error:
            if of_other_processes(error):
                raise
            said = self._wrong(self._step // self._block_steps)
            if said is None:
                raise
            raise TrainingError(said) from error


class Input:
    """A source in an order, laid out for the replicas of a strategy.

    Args:
      source: of the examples.
      order: of the examples.
      layout: how global batches are cut.
      strategy: whose local replicas are read for.
      waiting: returns a context that is entered while the caller waits for data.

    Raises:
      UsageError: a field has a reserved name.
    """

    def __init__(
        self,
        source: Source,
        order: Order,
        layout: Layout,
        strategy: tf.distribute.Strategy,
        waiting: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ):
        for name in RESERVED_FIELDS:
            if name in source.fields:
                raise UsageError(f"a data field is named '{name}', which every batch has already: rename the field")
        self.source, self.order, self.layout = source, order, layout
        self._strategy, self._waiting = strategy, waiting
        ids = strategy.experimental_distribute_values_from_function(lambda context: context.replica_id_in_sync_group)
        self._replicas = np.asarray(strategy.experimental_local_results(ids), np.int64)
        self.block_steps = layout.block_steps(source)

    def open(self, first_step: int, stop_step: int | None = None) -> Batches:
        """Starts reading at `first_step`, in O(1), ahead of the caller.

        stop_step: the first step that will not be taken; None: there is no end. Nothing beyond its block is read: at
        the end of a run that would keep the source busy, and a read that hangs would block the closing of the input.
        """
        first_block = first_step // self.block_steps
        # Consecutive elements go to this process's replicas in turn.
        local = len(self._replicas)
        stop = np.iinfo(np.int64).max if stop_step is None else -(-stop_step // self.block_steps) * local
        elements = tf.data.Dataset.range(first_block * local, stop)
        read = elements.map(
            lambda e: self._read(e // local, tf.gather(self._replicas, e % local)),
            num_parallel_calls=tf.data.AUTOTUNE,
        ).prefetch(_BLOCKS_AHEAD * local)
        # Closing an iterator waits for its autotuner, which often misses the signal to end and sleeps on for up to as
        # long as the iterator was open (TensorFlow 2.21): evaluations would take twice their time, and workers would
        # seem to hang. Without it, AUTOTUNE above stays at its initial value, 16 or all threads.
        options = tf.data.Options()
        options.autotune.enabled = False
        parts = iter(read.with_options(options))
        return Batches(lambda: self._dealt(parts), self.block_steps, first_step, self._waiting, self._wrong)

    def _dealt(self, parts: Iterator[Mapping[str, tf.Tensor]]) -> Any:
        """The next block of each of this process's replicas, on its device."""
        strategy, placed = self._strategy, []
        for device in strategy.extended.worker_devices if strategy.num_replicas_in_sync > 1 else [None]:
            part = next(parts)
            with tf.device(device):
                placed.append(tf.nest.map_structure(tf.identity, part))
        if len(placed) == 1:
            return placed[0]
        dealt = iter(placed)
        return strategy.experimental_distribute_values_from_function(lambda context: next(dealt))

    def _read(self, block: tf.Tensor, replica: tf.Tensor) -> dict[str, tf.Tensor]:
        ids, valid = self._located(block, replica)
        fields = self.source.read(tf.reshape(ids, [-1]))
        sizes = self.block_steps, self.layout.slots, self.layout.shard_size
        batch = {name: tf.reshape(fields[name], (*sizes, *field.shape)) for name, field in self.source.fields.items()}
        return batch | {"valid": tf.cast(valid, tf.float32), "id": ids, "global_valid": self._global_valid(block)}

    def _global_valid(self, block: tf.Tensor) -> tf.Tensor:
        """How many examples of each step's global batch are valid, float32 [steps, slots, size]."""
        step = block * self.block_steps + tf.range(self.block_steps, dtype=tf.int64)
        places = tf.range(self.layout.shards * self.layout.shard_size, dtype=tf.int64)
        _, valid = self.order.locate(step[:, None], places)
        counts = tf.reduce_sum(tf.cast(valid, tf.float32), axis=1)
        return tf.broadcast_to(counts[:, None, None], (self.block_steps, self.layout.slots, self.layout.shard_size))

    def _located(self, block: tf.Tensor, replica: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The ids of a replica's block, int64 [steps, slots, size], and which of them are valid."""
        steps, slots, size = self.block_steps, self.layout.slots, self.layout.shard_size
        step = (block * steps + tf.range(steps, dtype=tf.int64))[:, None, None]
        shard = (replica * slots + tf.range(slots, dtype=tf.int64))[:, None]
        place = shard * size + tf.range(size, dtype=tf.int64)
        ids, valid = self.order.locate(step, place)
        return ids, valid & (shard < self.layout.shards)

    def _wrong(self, block: int) -> str | None:
        """What is wrong with the examples of a block, by reading them outside of a graph; None if all can be read."""
        for replica in range(self.layout.replicas):
            ids, _ = self._located(tf.constant(block, tf.int64), tf.constant(replica, tf.int64))
            if said := unreadable(self.source, tf.reshape(ids, [-1])):
                return said
        return None
