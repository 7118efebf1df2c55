"""Counts this process's arrivals at the devices' collectives, and how long it waits there for the others.

When one process stops, all that train with it wait in the same collective; the one that has not arrived is at fault.
Decides nothing: the hang detector and the action Straggler do.
"""

from collections.abc import Sequence

import tensorflow as tf


class CollectiveWait:
    """Counts in the graph, since Python sees nothing during a host call; can be read from any thread.

    Args:
      replicas: how many this process has.
    """

    def __init__(self, replicas: int):
        self._replicas = replicas
        with tf.device("CPU:0"):
            self._count = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._waited = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self._passed = 0

    def enter(self, tensors: Sequence[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Counts an arrival once all `tensors` have been computed; called in replica context.

        Returns: the tensors, made to depend on the count (use these), and the arrival time, float64 [] in seconds, for
        `leave`.
        """
        with tf.device("CPU:0"), tf.control_dependencies(list(tensors)):
            count, moment = self._count.assign_add(1), tf.timestamp()
        with tf.control_dependencies([count, moment]):
            return [tf.identity(tensor) for tensor in tensors], moment

    def leave(self, moment: tf.Tensor, tensors: Sequence[tf.Tensor]) -> None:
        """Adds the time from `moment` until `tensors`, the results of the collective, have been computed."""
        with tf.device("CPU:0"), tf.control_dependencies(list(tensors)):
            self._waited.assign_add(tf.timestamp() - moment)

    def passed(self, steps: int) -> None:
        """Counts steps of a replica that has no other to wait for, which enters no collective."""
        self._passed += steps

    def count(self) -> int:
        """How often replicas of this process have reached a collective so far, or done a step alone, all added up."""
        return int(self._count.numpy()) + self._passed

    def waited(self) -> float:
        """Seconds spent in the steps' collectives so far, averaged over this process's replicas."""
        return float(self._waited.numpy()) / self._replicas
