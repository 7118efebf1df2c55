"""From an order and a source to blocks of batches: what tf.data gathers ahead of the devices.

A block holds the slice of K consecutive global batches that one replica works on, as tensors [K, slots, shard_size,
...]: slot m of replica r is shard r * slots + m of the global batch. Which example stands where is the order's
business, how it is read the source's, what is computed with it the step's.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainer.data.order import Order
from trainer.data.reading import unreadable
from trainer.data.source import Source
from trainer.errors import TrainingError, UsageError, of_other_processes

# A block is one host call's work at least, so it should outweigh the call (about 0.2 ms) by far and stay in memory.
_BLOCK_BYTES = 32 << 20
_BLOCK_STEPS = 64
_BLOCKS_AHEAD = 2

RESERVED_FIELDS = ("valid", "id")


class Layout(NamedTuple):
    """How a global batch is cut: into `shards` of equal size, dealt to `replicas` in contiguous parts.

    Sizes are rounded up; what exceeds the batch, or the shards, is padding.
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
        return -(-self.batch_size // self.shards)

    def block_steps(self, source: Source) -> int:
        """Steps in a block, bounded by its bytes; a pure function of the configuration and the data."""
        example = sum(math.prod(f.shape) * np.dtype(f.dtype).itemsize for f in source.fields.values())
        step = self.slots * self.shard_size * max(example, 1)
        return max(1, min(_BLOCK_STEPS, _BLOCK_BYTES // step))


class Segment(NamedTuple):
    """Steps [start, stop) of a block; int32 scalar tensors, so that no new value retraces the step."""

    block: Any
    start: tf.Tensor
    stop: tf.Tensor


class Batches:
    """An open input: hands out the next steps, in segments of blocks that were gathered ahead.

    Args:
      blocks: returns the next block.
      wrong: says what is wrong with the examples of the block of this number; None if all can be read.
    """

    def __init__(
        self,
        blocks: Callable[[], Any],
        block_steps: int,
        first_step: int,
        waiting: Callable,
        wrong: Callable[[int], str | None],
    ):
        self._blocks, self._block_steps, self._step, self._waiting = blocks, block_steps, first_step, waiting
        self._wrong = wrong
        self._block = None

    def take(self, steps: int) -> Iterator[Segment]:
        """Yields segments that hold the next `steps` steps, in order.

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
    """A source in an order, laid out for a strategy's replicas.

    Args:
      waiting: a context manager factory, entered while the caller has to wait for data.
    """

    def __init__(
        self,
        source: Source,
        order: Order,
        layout: Layout,
        strategy: tf.distribute.Strategy,
        waiting: Callable = contextlib.nullcontext,
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
        """Starts reading at `first_step` (an int, O(1)), ahead of the caller.

        stop_step: the first step that will not be taken; None: there is no end. What lies behind it is not read: at the
        end of a run that would keep its sources busy, and a read that hangs would hold up the closing of the input.
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
        # To close an iterator is to wait for its autotuner, which often misses that it is told to end, sleeping on for
        # up to as long again as the iterator was open (TensorFlow 2.21): evaluations would take twice their time, and
        # workers look as if they hung. Without it, AUTOTUNE above stays at what tuning begins with, 16 or all threads.
        options = tf.data.Options()
        options.autotune.enabled = False
        parts = iter(read.with_options(options))
        return Batches(lambda: self._dealt(parts), self.block_steps, first_step, self._waiting, self._wrong)

    def _dealt(self, parts: Iterator) -> Any:
        """The next block: a part for each of this process's replicas, on its device."""
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
        return batch | {"valid": tf.cast(valid, tf.float32), "id": ids}

    def _located(self, block: tf.Tensor, replica: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The examples of a replica's part of a block, int64 [steps, slots, size], and which of them count."""
        steps, slots, size = self.block_steps, self.layout.slots, self.layout.shard_size
        step = (block * steps + tf.range(steps, dtype=tf.int64))[:, None, None]
        shard = (replica * slots + tf.range(slots, dtype=tf.int64))[:, None]
        place = shard * size + tf.range(size, dtype=tf.int64)
        ids, valid = self.order.locate(step, place)
        return ids, valid & (shard < self.layout.shards)

    def _wrong(self, block: int) -> str | None:
        """What is wrong with the examples of a block; None if all can be read. Reads them again, outside of a graph."""
        for replica in range(self.layout.replicas):
            ids, _ = self._located(tf.constant(block, tf.int64), tf.constant(replica, tf.int64))
            if said := unreadable(self.source, tf.reshape(ids, [-1])):
                return said
        return None
