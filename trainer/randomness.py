"""Stateless random seeds, and the random algorithm that compiled code draws with.

Everything random in a run is a pure function of (seed, step, shard) or of an example's id; this file derives those
seeds. It holds no state and draws nothing itself.
"""

import contextlib

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import random_ops_util

_GAMMA, _FIRST, _SECOND = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64).view(
    np.int64
)


def splitmix64(x: tf.Tensor) -> tf.Tensor:
    """Returns a 64-bit hash of each int64, as int64.

    Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014). int64, since its arithmetic wraps on
    every device and TensorFlow's uint64 is not everywhere.
    """

    def xor_shifted(x: tf.Tensor, bits: int) -> tf.Tensor:
        # A logical shift: int64's own copies the sign bit.
        shifted = tf.bitwise.bitwise_and(tf.bitwise.right_shift(x, np.int64(bits)), np.int64((1 << (64 - bits)) - 1))
        return tf.bitwise.bitwise_xor(x, shifted)

    x = tf.cast(x, tf.int64) + _GAMMA
    x = xor_shifted(x, 30) * _FIRST
    x = xor_shifted(x, 27) * _SECOND
    return xor_shifted(x, 31)


def fold(seed: int, *numbers) -> tf.Tensor:
    """Returns an int32[2] seed that is a pure function of `seed` and of each of `numbers` (ints or scalar tensors).

    Integer arithmetic, so that compiled and plain graphs get the same seeds, whatever they draw with.
    """
    state = splitmix64(tf.constant(seed, tf.int64))
    for number in numbers:
        state = splitmix64(state + tf.cast(number, tf.int64))
    return tf.bitcast(state, tf.int32)


@contextlib.contextmanager
def algorithm(name: str):
    """Within this context, ops that are traced and leave the algorithm open ("auto_select") draw with `name`.

    XLA's default on the CPU is some 40 times slower than threefry, which alone would make a dropout layer cost more
    than the rest of a small model. TensorFlow has no public switch for it, so the one function that all stateless
    random ops share is replaced while tracing. "philox" is what plain graphs use; they do not know "threefry".
    """
    original = random_ops_util.get_key_counter_alg
    random_ops_util.get_key_counter_alg = lambda seed, alg: original(
        seed, name if alg in (None, "auto_select") else alg
    )
    try:
        yield
    finally:
        random_ops_util.get_key_counter_alg = original
