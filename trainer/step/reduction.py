"""The one collective of a step: sums over all replicas. Knows nothing of what the sums mean."""

from typing import Any

import tensorflow as tf

from trainer.distributed.collective_wait import CollectiveWait


class Reduction:
    """Sums tensors over all replicas.

    Args:
      collective_wait: counts this replica's arrivals and the time it waits for the others, if there are others.
    """

    def __init__(self, collective_wait: CollectiveWait):
        self._collective_wait = collective_wait

    def reduce(self, tensors: Any) -> Any:
        """Returns the nested tensors, each summed over all replicas; called in replica context.

        Tensors of one dtype go into one all-reduce, so that they can be packed.
        """
        context = tf.distribute.get_replica_context()
        several = context.num_replicas_in_sync > 1
        flat = tf.nest.flatten(tensors)
        if several:
            flat, moment = self._collective_wait.enter(flat)
        reduced: list[tf.Tensor | None] = [None] * len(flat)
        for dtype in dict.fromkeys(tensor.dtype for tensor in flat):
            which = [i for i, tensor in enumerate(flat) if tensor.dtype == dtype]
            together = context.all_reduce(tf.distribute.ReduceOp.SUM, [flat[i] for i in which])
            for i, tensor in zip(which, together, strict=True):
                reduced[i] = tensor
        if several:
            self._collective_wait.leave(moment, reduced)
        return tf.nest.pack_sequence_as(tensors, reduced)
