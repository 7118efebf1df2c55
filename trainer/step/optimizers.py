"""Prepares a Keras optimizer for the step: refuses what would act on each replica alone, and fuses Adam.

Makes no optimizer; tasks do.
"""

import keras

from trainer.base import private_keras
from trainer.base.errors import UsageError
from trainer.tasks.protocol import Objective

_REMEDIES = {
    "clipnorm": "set Arithmetic.clip_norm instead",
    "global_clipnorm": "set Arithmetic.clip_norm instead",
    "clipvalue": "set Arithmetic.clip_norm instead",
    "gradient_accumulation_steps": "raise Arithmetic.shards instead",
    "loss_scale_factor": "Arithmetic.precision = 'mixed_float16' scales the loss",
    "use_ema": "set Arithmetic.average_decay instead",
}


def prepare(objective: Objective) -> None:
    """Builds the objective's optimizer; called within strategy.scope().

    Raises:
      UsageError: one of its settings would act on each replica alone, before gradients are reduced.
    """
    optimizer = objective.optimizer
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise UsageError("use the optimizer without LossScaleOptimizer: Arithmetic.precision = 'mixed_float16' scales")
    if isinstance(optimizer, keras.optimizers.MultiOptimizer):
        raise UsageError(
            "MultiOptimizer cannot be used: a step has one optimizer per objective; write a task with an Objective for "
            "each group of variables"
        )
    own = {name: value for name, value in vars(optimizer).items() if not name.startswith("_self_")}  # not TensorFlow's
    for name, value in own.items():
        within = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        if any(isinstance(each, keras.optimizers.Optimizer) for each in within):
            raise UsageError(
                f"{type(optimizer).__name__}.{name} is an optimizer within an optimizer: it would act on each replica "
                f"alone, and checkpoints would not hold its state; write a class of keras.optimizers.Optimizer instead"
            )
    for name, remedy in _REMEDIES.items():
        if getattr(optimizer, name, None):
            raise UsageError(f"{type(optimizer).__name__}.{name} would act on each replica alone: {remedy}")
    optimizer.build(list(objective.variables))
    private_keras.own_reduction(optimizer)
    private_keras.fuse(optimizer)


def learning_rate(objective: Objective) -> float | None:
    """The configured learning rate; None if it is a schedule or a function."""
    rate = private_keras.configured_rate(objective.optimizer)
    return None if callable(rate) else float(rate.numpy())
