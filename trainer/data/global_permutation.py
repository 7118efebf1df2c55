"""The order in which each epoch is a permutation of all examples, computed per position, without a shuffle buffer.

The permutation is TensorFlow's RandomIndexShuffle, a block cipher on the indices. Reads no examples.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

# By lag correlation and class counts, 8 rounds cannot be told from a random permutation; the 4 rounds of
# tf.random.experimental.index_shuffle can, at sizes like 60,000.
_ROUNDS = 8


class GlobalPermutation(NamedTuple):
    """Every epoch is another permutation of all examples.

    examples: how many there are.  batch_size: of the global batch.  seed: of the permutations; None: the stored order.
    """

    examples: int
    batch_size: int
    seed: int | None = None

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.examples // self.batch_size)

    def examples_before(self, step: int) -> int:
        """See Order.examples_before."""
        epochs, steps = divmod(step, self.steps_per_epoch)
        return epochs * self.examples + min(steps * self.batch_size, self.examples)

    def locate(self, step: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See Order.locate."""
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
