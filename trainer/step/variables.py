"""Variables: those beside the models' own, for counters, sums, scales and averages; and paths of all kinds of them."""

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf


def replicated(value: Any, dtype: tf.DType) -> tf.Variable:
    """A variable that is equal on all replicas and only changed in cross-replica context.

    Made within strategy.scope().

    Args:
      value: the initial one, a number or a tensor.
      dtype: of the variable.
    """
    return tf.Variable(value, dtype=dtype, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)


def by_path(variables: Iterable[keras.Variable]) -> dict[str, keras.Variable]:
    """Variables by their paths. Where Keras gives several one path, as in two copies of a network, it is numbered.

    The numbers follow the order of the variables, which is that in which a model was built.
    """
    named: dict[str, keras.Variable] = {}
    for variable in variables:
        path, number = variable.path, 0
        while path in named:
            number += 1
            path = f"{variable.path}_{number}"
        named[path] = variable
    return named
