"""The one collective of a step: what replicas add up. Knows nothing of what the sums mean but for their names."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from trainer.arrivals import Arrivals
from trainer.data import order


def all_reduce(
    context: tf.distribute.ReplicaContext, sums: Mapping[str, Any], gradients_as: tf.DType, arrivals: Arrivals
) -> dict[str, Any]:
    """Returns `sums`, added up over all replicas, in the types they came in.

    Everything goes as float32, so that it can be packed together; gradients alone may travel in a shorter type, as a
    second collective.

    Args:
      context: of the calling replica.
      sums: nested tensors; 'gradients' are those that may be shortened, 'digest' is an int64 that wraps around.
      gradients_as: float32 or bfloat16.
      arrivals: told, where there are other replicas, that this one has its part, and that all have got the sums.
    """
    sums = {**sums, "digest": order.to_pieces(sums["digest"])}
    flat = tf.nest.flatten(sums)
    gradients = {id(gradient) for gradient in tf.nest.flatten(sums["gradients"])}
    types = [gradients_as if id(tensor) in gradients else tf.float32 for tensor in flat]
    several = context.num_replicas_in_sync > 1
    if several:
        flat, moment = arrivals.before(flat)
    reduced: list = [None] * len(flat)
    for dtype in dict.fromkeys(types):
        which = [i for i, t in enumerate(types) if t == dtype]
        together = context.all_reduce(tf.distribute.ReduceOp.SUM, [tf.cast(flat[i], dtype) for i in which])
        for i, tensor in zip(which, together, strict=True):
            reduced[i] = tf.cast(tensor, flat[i].dtype)
    if several:
        arrivals.after(moment, reduced)
    packed: dict[str, Any] = tf.nest.pack_sequence_as(sums, reduced)
    return {**packed, "digest": order.from_pieces(packed["digest"])}
