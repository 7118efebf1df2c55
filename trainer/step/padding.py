"""Batches without padding: a batch of its own, and the real rows of one that is padded. Pads none; the input does."""

from collections.abc import Mapping

import tensorflow as tf

from trainer.tasks.protocol import Batch


def whole_batch(fields: Mapping[str, tf.Tensor], ids: tf.Tensor) -> Batch:
    """A global batch in itself, of examples [n, …] with their ids, int64 [n]."""
    ones = tf.ones(tf.shape(ids))
    return {**fields, "valid": ones, "id": ids, "global_valid": ones * tf.reduce_sum(ones)}


def without_padding(batch: Batch) -> Batch:
    """The rows of a batch that are valid; all of them if none is, so that a mean over them is a number."""
    valid = batch["valid"] > 0
    kept = valid | ~tf.reduce_any(valid)
    return {name: tf.boolean_mask(values, kept) for name, values in batch.items()}
