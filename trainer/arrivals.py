"""When this process comes to a collective of the devices, and how long it waits there for the others.

Where processes train together all of them stop when one does; the one that has not arrived is the one to look at.
Judges nobody.
"""

from collections.abc import Sequence

import tensorflow as tf


class Arrivals:
    """Counts, in the graph, what Python cannot see during a host call; read from any thread.

    Args:
      replicas: of this process.
    """

    def __init__(self, replicas: int):
        self._replicas = replicas
        with tf.device("CPU:0"):
            self._count = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._waited = tf.Variable(0.0, dtype=tf.float64, trainable=False)

    def before(self, tensors: Sequence[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Counts an arrival once all `tensors` are there, in replica context.

        Returns: them, for nobody to use before that; and the moment, for `after`.
        """
        with tf.device("CPU:0"), tf.control_dependencies(list(tensors)):
            count, moment = self._count.assign_add(1), tf.timestamp()
        with tf.control_dependencies([count, moment]):
            return [tf.identity(tensor) for tensor in tensors], moment

    def after(self, moment: tf.Tensor, tensors: Sequence[tf.Tensor]) -> None:
        """Adds the time from `moment` until `tensors`, which the collective returned, are there."""
        with tf.device("CPU:0"), tf.control_dependencies(list(tensors)):
            self._waited.assign_add(tf.timestamp() - moment)

    def count(self) -> int:
        """How often a replica of this process has come to a collective so far."""
        return int(self._count.numpy())

    def waited(self) -> float:
        """Seconds that a replica of this process has waited in the steps' collectives so far, on average."""
        return float(self._waited.numpy()) / self._replicas
