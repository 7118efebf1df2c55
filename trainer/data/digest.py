"""The input digest: one 64-bit number that tells which examples went through the steps, and in which order.

It is the sum, modulo 2^64, of a hash of each pair (example id, global position). A sum does not depend on which replica
adds what, so the digest is the same however often a run was killed, and on any number of replicas. It does not cover
the values of the examples.
"""

import numpy as np
import tensorflow as tf

from trainer.base.randomness import splitmix64

# Integers up to 2^24 are exact in float32.
_EXACT_BITS = 24


def mix(ids: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Returns a 64-bit hash (int64) of each pair of an example's id and its global position, both int64.

    The sum of these over a run, modulo 2^64, is the input digest.
    """
    return splitmix64(splitmix64(positions) + ids)


def to_pieces(digest: tf.Tensor, replicas: int) -> tf.Tensor:
    """Splits an int64 into numbers, float32 [pieces], so short that their sums over that many replicas are exact."""
    offsets, bits = _pieces(replicas)
    mask = np.int64((1 << bits) - 1)
    return tf.cast(tf.bitwise.bitwise_and(tf.bitwise.right_shift(digest, offsets), mask), tf.float32)


def from_pieces(pieces: tf.Tensor, replicas: int) -> tf.Tensor:
    """Returns the int64 (modulo 2^64) of pieces, or the sum of several from sums of their pieces."""
    offsets, _ = _pieces(replicas)
    return tf.reduce_sum(tf.bitwise.left_shift(tf.cast(pieces, tf.int64), offsets))


def _pieces(replicas: int) -> tuple[np.ndarray, int]:
    """At which bits an int64 is cut, int64 [pieces], and how many bits each piece has."""
    bits = _EXACT_BITS - (replicas - 1).bit_length()
    return np.arange(0, 64, bits, dtype=np.int64), bits
