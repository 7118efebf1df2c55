"""The global order of the examples: which example stands at which place of which step.

Every answer is computed from the index alone, so seeking costs nothing and no buffer has to be saved: the position in
the data is (seed, step). Knows nothing of files, replicas or tf.data. Also home of the digest that proves the order.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer.randomness import splitmix64

# Eight rounds cannot be told from a random permutation by lag correlation and class counts; the four of
# tf.random.experimental.index_shuffle can, at sizes like 60,000.
_ROUNDS = 8
_PIECES = np.array([0, 16, 32, 48], np.int64)


class Order(NamedTuple):
    """examples: how many there are.  batch_size: of the global batch.  seed: of the permutation; None: as stored."""

    examples: int
    batch_size: int
    seed: int | None = None

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.examples // self.batch_size)

    def examples_before(self, step: int) -> int:
        """How many real examples the steps before `step` have; padding is none."""
        epochs, steps = divmod(step, self.steps_per_epoch)
        return epochs * self.examples + min(steps * self.batch_size, self.examples)

    def locate(self, step: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the ids (int64) and validity (bool) of the examples at `place` of the global batch of `step`.

        step, place: int64, broadcastable against each other. A place beyond the batch or beyond the end of the epoch
        is padding: not valid, and filled with a real example of the same epoch, so that padding looks like data.
        """
        epoch = step // self.steps_per_epoch
        position = (step % self.steps_per_epoch) * self.batch_size + place
        valid = (place < self.batch_size) & (position < self.examples)
        position = position % self.examples
        epoch = tf.broadcast_to(epoch, tf.shape(position))
        if self.seed is None or self.examples == 1:
            return position, valid
        seeds = tf.stack([tf.fill(tf.shape(epoch), np.int64(self.seed)), epoch, tf.zeros_like(epoch)], axis=-1)
        ids = tf.raw_ops.RandomIndexShuffle(
            index=tf.reshape(position, [-1]),
            seed=tf.reshape(seeds, [-1, 3]),
            max_index=tf.constant(self.examples - 1, tf.int64),
            rounds=_ROUNDS,
        )
        return tf.reshape(ids, tf.shape(position)), valid


def mix(ids: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Returns a 64-bit hash (int64) of each pair of an example's id and its global position, both int64.

    The sum of these over a run, modulo 2^64, is the input digest.
    """
    return splitmix64(splitmix64(positions) + ids)


def to_pieces(digest: tf.Tensor) -> tf.Tensor:
    """Splits an int64 into four numbers of 16 bits, float32 [4]: their sums over up to 256 replicas are exact."""
    return tf.cast(tf.bitwise.bitwise_and(tf.bitwise.right_shift(digest, _PIECES), np.int64(0xFFFF)), tf.float32)


def from_pieces(pieces: tf.Tensor) -> tf.Tensor:
    """The int64 (modulo 2^64) whose pieces, or sums of pieces, these are."""
    return tf.reduce_sum(tf.bitwise.left_shift(tf.cast(pieces, tf.int64), _PIECES))
