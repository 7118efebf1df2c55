"""Keras losses before their reduction: one value per example or token, and which of them count."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from trainer.base import private_keras
from trainer.base.errors import UsageError

# Keras's reductions that are means. Convoy takes the mean over the global batch itself.
_MEANS = (None, "none", "mean", "sum_over_batch_size", "mean_with_sample_weight")


class TokenLosses(NamedTuple):
    """Losses of a batch's tokens; a plain example has one.

    values: float32 [n, tokens], 0 where a token does not count.  kept: float32 [n, tokens], 1 where it counts, else 0.
    """

    values: tf.Tensor
    kept: tf.Tensor


class Contrastive(NamedTuple):
    """Says of a loss that it compares the examples of a batch with each other on purpose. See Parts.compares_examples.

    loss: as KerasLoss takes it. keras.losses.Circle needs no Contrastive.
    """

    loss: Callable[..., Any]


class KerasLoss:
    """A loss of keras.losses, or a function.

    Args:
      loss: a class of keras.losses or an object of one, or a function (y_true, y_pred) -> [n] or [n, tokens, …]; or one
        of these as Contrastive.
      setting: the setting that names it, for messages.

    Raises:
      UsageError: its reduction is no mean.

    Attributes: loss: the Keras loss; of a function, what Keras's compile makes of it. is_contrastive: whether it
    compares the examples of a batch with each other on purpose.
    """

    def __init__(self, loss: Callable[..., Any], setting: str):
        made = _made(loss)
        self.is_contrastive = isinstance(made, Contrastive | keras.losses.Circle)
        made = _made(made.loss) if isinstance(made, Contrastive) else made
        self.loss = made if isinstance(made, keras.losses.Loss) else private_keras.loss_of(made)
        self._setting = setting
        reduction = self.loss.reduction
        if reduction not in _MEANS:
            raise UsageError(
                f"{setting} is a {type(self.loss).__name__} with reduction = '{reduction}': its size would depend "
                f"on the batch; leave the reduction out, and scale the learning rate instead"
            )
        self.divides_by_weights = reduction == "mean_with_sample_weight"

    def __call__(self, targets: tf.Tensor, outputs: tf.Tensor, mask: tf.Tensor | None) -> TokenLosses:
        """Returns the losses of a batch.

        Args:
          targets: [n, …].
          outputs: of the model, [n, …].
          mask: Keras's mask of the outputs, bool [n, …]; None: all tokens count.

        Raises:
          UsageError: the loss returns one number for the whole batch.
        """
        found = self.loss.call(tf.cast(targets, self.loss.dtype), tf.cast(outputs, self.loss.dtype))
        masks = [each for each in (mask, private_keras.mask_of(found)) if each is not None]
        if found.shape.rank == 0:
            raise UsageError(
                f"{self._setting}: '{self.loss.name}' returns one number for a whole batch, which would depend on how "
                f"the batch is cut: it must return one per example (Dice and Tversky do, with axis = the image's axes)"
            )
        values = tf.cast(tf.reshape(found, (tf.shape(found)[0], -1)), tf.float32)
        kept = tf.ones_like(values)
        for each in masks:
            kept *= tf.reshape(tf.cast(each, tf.float32), tf.shape(values))
        # Not a product: a masked value may be infinite.
        return TokenLosses(tf.where(kept > 0, values, tf.zeros_like(values)), kept)


def _made(loss: Callable[..., Any]) -> Any:
    return loss() if isinstance(loss, type) else loss
