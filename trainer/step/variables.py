"""A variable beside the models' own: what counters, sums, scales and averages are kept in. Names and saves none."""

from typing import Any

import tensorflow as tf


def replicated(value: Any, dtype: tf.DType) -> tf.Variable:
    """A variable that is equal on all replicas and only changed in cross-replica context.

    Made within strategy.scope().

    Args:
      value: the initial one, a number or a tensor.
      dtype: of the variable.
    """
    return tf.Variable(value, dtype=dtype, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
