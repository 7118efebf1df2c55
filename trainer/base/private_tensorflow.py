"""The private parts of TensorFlow that Convoy needs, and nothing else: the only file that touches them.

Each is covered by a test in tests/base/test_private_tensorflow.py, which fails first when TensorFlow changes.
"""

import contextlib
from collections.abc import Iterator

import tensorflow as tf
from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended
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


@contextlib.contextmanager
def cpus_per_worker(count: int) -> Iterator[None]:
    """A context: a MultiWorkerMirroredStrategy made in it has a replica on each of the first `count` CPU devices.

    By itself it takes all GPUs of a worker, but one CPU device only, and has no argument for it.
    """
    original = CollectiveAllReduceExtended._initialize_local_devices

    def several(self: object, resolver: object, worker: str) -> tuple[tuple[str, ...], str]:
        return tuple(f"{worker}/device:CPU:{i}" for i in range(count)), "CPU"

    CollectiveAllReduceExtended._initialize_local_devices = several
    try:
        yield
    finally:
        CollectiveAllReduceExtended._initialize_local_devices = original
