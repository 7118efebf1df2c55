"""What of a Keras model has no effect here, because Convoy's own step trains it. Makes no models."""

import keras

from trainer.base.errors import UsageError

# What keras.Model's fit, evaluate and predict call.
_STEPS = ("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics")


def require_plain(model: keras.Model, setting: str) -> None:
    """Raises UsageError if a model has a training step, or a part of it, of its own; `setting` names the model."""
    for name in _STEPS:
        if getattr(type(model), name, None) is not getattr(keras.Model, name):
            raise UsageError(
                f"{setting}: {type(model).__name__} has a {name} of its own, which would have no effect: put what it "
                f"does into a task (docs/tasks.md)"
            )
