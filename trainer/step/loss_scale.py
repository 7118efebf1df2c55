"""Loss scaling for float16: keeps small gradients from vanishing, and backs off when large ones overflow.

Skips no step itself: the step does, and passes on whether its gradients were finite.
"""

import tensorflow as tf

from trainer.step.variables import replicated

# Keras's and NVIDIA Apex's constants: start at 2^15, double after 2,000 finite steps, halve after one that is not.
_INITIAL = 2.0**15
_GROWTH_STEPS = 2000
_EXHAUSTED = 0.5


class LossScale:
    """A scale that is doubled after 2,000 finite steps in a row, and halved after a step that was not finite.

    Below 1 it has nothing left to give: a step without scaling was not finite either.
    """

    active = True

    def __init__(self) -> None:
        self._scale, self._finite_steps = replicated(_INITIAL, tf.float32), replicated(0, tf.int64)

    @staticmethod
    def of(precision: str) -> "LossScale | NoLossScale":
        """Returns the loss scale for a Keras dtype policy. Made within strategy.scope()."""
        return LossScale() if precision == "mixed_float16" else NoLossScale()

    def read_value(self) -> tf.Tensor:
        """The scale, float32 []."""
        return self._scale.read_value()

    def update(self, finite: tf.Tensor) -> None:
        """Adjusts the scale in cross-replica context, after each step. finite: bool [], of its gradients."""
        steps = tf.where(finite, self._finite_steps.read_value() + 1, 0)
        grow = steps >= _GROWTH_STEPS
        factor = tf.where(grow, 2.0, tf.where(finite, 1.0, 0.5))
        self._scale.assign(tf.clip_by_value(self._scale.read_value() * factor, _EXHAUSTED, 2.0**60))
        self._finite_steps.assign(tf.where(grow, tf.zeros_like(steps), steps))

    def is_usable(self) -> tf.Tensor:
        """Whether a smaller scale may still help, bool []: false once the gradients are not finite without any."""
        return self._scale.read_value() > _EXHAUSTED

    def report(self) -> dict[str, tf.Tensor]:
        """The scale by name, for the hyperparameters of reports."""
        return {"loss_scale": self._scale.read_value()}

    def variables(self) -> dict[str, tf.Variable]:
        """The variables by name, for checkpoints."""
        return {"loss_scale/scale": self._scale, "loss_scale/finite_steps": self._finite_steps}


class NoLossScale:
    """No loss scaling: for dtypes with the range of float32."""

    active = False

    def read_value(self) -> tf.Tensor:
        return tf.constant(1.0)

    def update(self, finite: tf.Tensor) -> None:
        pass

    def is_usable(self) -> tf.Tensor:
        return tf.constant(True)

    def report(self) -> dict[str, tf.Tensor]:
        return {}

    def variables(self) -> dict[str, tf.Variable]:
        return {}
