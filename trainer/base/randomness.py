"""Stateless random seeds, and the random algorithm that compiled code draws with.

Everything random in a run is a pure function of (seed, step, shard) or of an example's id; this file derives those
seeds. It holds no state and draws nothing itself.
"""

import contextlib
from typing import Literal

import numpy as np
import tensorflow as tf

from trainer.base import private_tensorflow

_GAMMA, _FIRST, _SECOND = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64).view(
    np.int64
)


def splitmix64(x: tf.Tensor) -> tf.Tensor:
    """Returns a 64-bit hash of each int64, as int64.

    SplitMix64 of Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014). int64, since its arithmetic
    wraps on every device, and not every device has uint64 ops.
    """

    def xor_shifted(x: tf.Tensor, bits: int) -> tf.Tensor:
        # A logical shift: int64's own copies the sign bit.
        shifted = tf.bitwise.bitwise_and(tf.bitwise.right_shift(x, np.int64(bits)), np.int64((1 << (64 - bits)) - 1))
        return tf.bitwise.bitwise_xor(x, shifted)

    x = tf.cast(x, tf.int64) + _GAMMA
    x = xor_shifted(x, 30) * _FIRST
    x = xor_shifted(x, 27) * _SECOND
    return xor_shifted(x, 31)


def fold(seed: int, *numbers: int | tf.Tensor) -> tf.Tensor:
    """Returns a seed, int32 [2], that is a pure function of `seed` and of each of `numbers` (ints or scalar tensors).

    Only integer arithmetic, so compiled and plain graphs get the same seeds, whatever algorithm they draw with.
    """
    state = splitmix64(tf.constant(seed, tf.int64))
    for number in numbers:
        state = splitmix64(state + tf.cast(number, tf.int64))
    return tf.bitcast(state, tf.int32)


def algorithm(name: Literal["threefry", "philox"]) -> contextlib.AbstractContextManager[None]:
    """A context: random ops traced in it that leave the algorithm open ("auto_select") draw with `name`.

    XLA's default on the CPU is some 40 times slower than threefry: a dropout layer would cost more than the rest of a
    small model. Plain graphs use "philox", and do not have "threefry".
    """
    return private_tensorflow.drawing_with(name)
