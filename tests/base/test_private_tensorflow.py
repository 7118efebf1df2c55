"""The private parts of TensorFlow that are used: the first tests to fail when TensorFlow changes.

What to do then: find what does the same in the new version, change trainer/base/private_tensorflow.py alone, and run
`python -m benchmarks.same_numbers` on the state before and after.
"""

import inspect

import pytest
import tensorflow as tf

from trainer.base import private_tensorflow


def test_uniform_normal_and_gamma_ops_ask_the_function_that_is_replaced():
    """By a generator's name that none knows: whoever does not ask draws all the same."""
    ops = (
        lambda: tf.random.stateless_uniform([2], seed=[1, 2]),
        lambda: tf.random.stateless_normal([2], seed=[1, 2]),
        lambda: tf.random.stateless_truncated_normal([2], seed=[1, 2]),
        lambda: tf.random.stateless_uniform([2], seed=[1, 2], maxval=9, dtype=tf.int32),
        lambda: tf.random.stateless_gamma([2], seed=[1, 2], alpha=1.0),
        lambda: tf.random.experimental.stateless_shuffle(tf.range(2), seed=[1, 2]),
        lambda: tf.nn.experimental.stateless_dropout(tf.ones(2), 0.5, seed=[1, 2]),
    )
    for op in ops:
        with pytest.raises(ValueError, match="nobody"), private_tensorflow.drawing_with("nobody"):
            tf.function(op)()
        assert tf.function(op)().shape == [2]


def test_collectives_can_be_aborted_by_a_code_and_a_message():
    """What it does to a process that waits, tests/process/test_ray.py shows: the others leave when one has failed."""
    from tensorflow.python.eager import context

    assert list(inspect.signature(context.Context.abort_collective_ops).parameters) == ["self", "code", "message"]
    private_tensorflow.abort_collectives("no collective is running here")


def test_a_worker_can_have_several_cpu_devices():
    """What workers of two and of eight compute, tests/process/test_elastic.py and test_workers.py show."""
    from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended as Extended

    original = Extended._initialize_local_devices
    assert list(inspect.signature(original).parameters) == ["self", "cluster_resolver", "worker_device"]
    with private_tensorflow.cpus_per_worker(2):
        devices, kind = Extended._initialize_local_devices(None, None, "/job:worker/task:1")
    assert devices == ("/job:worker/task:1/device:CPU:0", "/job:worker/task:1/device:CPU:1") and kind == "CPU"
    assert Extended._initialize_local_devices is original
