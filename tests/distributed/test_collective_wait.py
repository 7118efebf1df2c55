"""Arriving at a collective is counted once the tensors are there, and the wait in it is timed."""

import time

import pytest
import tensorflow as tf

from trainer.distributed.collective_wait import CollectiveWait

SECONDS = 0.05


def pause(tensor):
    """The tensor, a little later."""
    return tf.py_function(lambda value: time.sleep(SECONDS) or value, [tensor], tensor.dtype)


@pytest.mark.parametrize("replicas", [1, 2])
def test_waiting_is_what_passes_between_entering_and_leaving(replicas):
    collective_wait = CollectiveWait(replicas)

    @tf.function
    def step(part):
        (part,), moment = collective_wait.enter([pause(part)])  # computing it is not waiting
        total = pause(part)
        collective_wait.leave(moment, [total])
        return total

    for count in range(1, 4):
        assert step(tf.constant(3.0)).numpy() == 3.0
        assert collective_wait.count() == count
        assert SECONDS <= collective_wait.waited() * replicas / count < 2 * SECONDS


def test_who_has_not_got_its_part_has_not_arrived():
    collective_wait = CollectiveWait(1)

    @tf.function
    def step(part):
        with tf.control_dependencies([tf.py_function(lambda: counts.append(collective_wait.count()), [], [])]):
            (part,), _ = collective_wait.enter([tf.identity(part)])
        return part

    counts: list[int] = []
    step(tf.constant(1.0))
    step(tf.constant(1.0))
    assert counts == [0, 1] and collective_wait.count() == 2
