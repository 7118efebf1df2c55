"""Outputs with Keras's masks, which are attributes of tensors that do not outlive a tf.function. Makes no masks."""

from typing import NamedTuple

import tensorflow as tf

from trainer.base import private_keras


class Masked(NamedTuple):
    """Outputs [n, tokens, …], and which of their tokens count, bool [n, tokens]."""

    outputs: tf.Tensor
    mask: tf.Tensor


def kept(outputs: tf.Tensor) -> tf.Tensor | Masked:
    """The outputs of a model in a form that leaves a tf.function with their mask; as they are if they have none."""
    mask = private_keras.mask_of(outputs)
    return outputs if mask is None else Masked(outputs, mask)


def weighted(outputs: tf.Tensor | Masked, valid: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The outputs, from `kept` or of a model, and their weights in metrics: float32 [n], with a mask [n, tokens].

    valid: float32 [n].
    """
    found = outputs if isinstance(outputs, Masked) else kept(outputs)
    return (
        (found.outputs, tf.cast(found.mask, tf.float32) * valid[:, None])
        if isinstance(found, Masked)
        else (found, valid)
    )
