"""The private parts of TensorFlow that Convoy needs, and nothing else: the only file that touches them.

Each is covered by a test in tests/base/test_private_tensorflow.py, which fails first when TensorFlow changes.
"""

import contextlib
from collections.abc import Iterator

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.ops import random_ops_util


@contextlib.contextmanager
def drawing_with(algorithm: str) -> Iterator[None]:
    """A context: random ops traced in it that leave the algorithm open ("auto_select") use this one.

    TensorFlow has no public switch for it, so the function that chooses the algorithm is replaced while tracing.
    Uniform, normal, truncated normal and gamma ask it, and what is made of them. stateless_categorical,
    stateless_poisson and stateless_binomial do not: they have no choice of algorithm.
    """
    original = random_ops_util.get_key_counter_alg
    random_ops_util.get_key_counter_alg = lambda seed, alg: original(
        seed, algorithm if alg in (None, "auto_select") else alg
    )
    try:
        yield
    finally:
        random_ops_util.get_key_counter_alg = original


def abort_collectives(why: str) -> None:
    """Ends all pending collectives of this process with an UnavailableError that says why."""
    context.context().abort_collective_ops(tf.errors.UNAVAILABLE, why)
