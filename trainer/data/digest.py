"""The input digest: one 64-bit number that tells which examples went through the steps, and in which order.

It is the sum, modulo 2^64, of a hash of each pair (example id, global position). A sum does not depend on which replica
adds what, so the digest is the same however often a run was killed, and on any number of replicas. It does not cover
the values of the examples.
"""

import numpy as np
import tensorflow as tf

from trainer.base.randomness import splitmix64

_PIECES = np.array([0, 16, 32, 48], np.int64)


def mix(ids: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Returns a 64-bit hash (int64) of each pair of an example's id and its global position, both int64.

    The sum of these over a run, modulo 2^64, is the input digest.
    """
    return splitmix64(splitmix64(positions) + ids)


def to_pieces(digest: tf.Tensor) -> tf.Tensor:
    """Splits an int64 into four 16-bit numbers, float32 [4], whose sums over up to 256 replicas are exact."""
    return tf.cast(tf.bitwise.bitwise_and(tf.bitwise.right_shift(digest, _PIECES), np.int64(0xFFFF)), tf.float32)


def from_pieces(pieces: tf.Tensor) -> tf.Tensor:
    """Returns the int64 (modulo 2^64) of pieces, or the sum of several from sums of their pieces."""
    return tf.reduce_sum(tf.bitwise.left_shift(tf.cast(pieces, tf.int64), _PIECES))
