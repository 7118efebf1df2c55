"""Targets beside a model's output: whether they fit, where Keras would train on nonsense; and metrics of the two."""

import inspect
from collections.abc import Sequence

import keras
import tensorflow as tf

from trainer.base import private_keras
from trainer.base.errors import UsageError
from trainer.data.reading import essence
from trainer.data.source import Field

# Keras's losses that compare a target with an output of the same shape.
_ELEMENTWISE = (
    "BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy CategoricalFocalCrossentropy CosineSimilarity "
    "CategoricalHinge Hinge Huber KLDivergence LogCosh MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError "
    "MeanSquaredLogarithmicError Poisson SquaredHinge"
).split()

# Keras's metrics that count in thresholds' confusion matrices.
_OF_CONFUSION = (
    "AUC FalseNegatives FalsePositives Precision PrecisionAtRecall Recall RecallAtPrecision SensitivityAtSpecificity "
    "SpecificityAtSensitivity TrueNegatives TruePositives"
).split()


def require_fit(name: str, target: Field, output: tf.TensorShape, loss: keras.losses.Loss) -> None:
    """Raises UsageError unless a loss can compare a target with an output of this shape.

    Args:
      name: of the target's field.
      target: the field.
      output: shape of the model's output, with a batch dimension.
      loss: of losses that are not Keras's own nothing is checked.
    """
    sparse = _is(loss, ["SparseCategoricalCrossentropy"])
    if sparse:
        _require_classes(name, target, output[-1], getattr(loss, "ignore_class", None))
    if sparse or _is(loss, _ELEMENTWISE):  # of other losses it is not known what they compare
        _require_shape(name, target, list(output[1:]), list(output[1:-1]) if sparse else list(output[1:]))


def named(metrics: Sequence[keras.metrics.Metric], whose: str) -> list[str]:
    """The names of metrics. Raises UsageError if two are equal; `whose` names the parameter, for the message."""
    names = [metric.name for metric in metrics]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{whose} has two metrics called '{name}': give each a name of its own")
    return names


def update(metric: keras.metrics.Metric, target: tf.Tensor, output: tf.Tensor, weight: tf.Tensor) -> None:
    """Updates a metric.

    Args:
      metric: of (target, output).
      target, output: [n, …].
      weight: float32 [n] or [n, tokens].

    Raises:
      UsageError: the metric cannot compare them.
    """
    if isinstance(metric, keras.metrics.IoU | keras.metrics.MeanIoU):  # these want a weight for each pixel
        pixels = tf.shape(target) if metric.sparse_y_true else tf.shape(target)[:-1]
        # Of their own dtype, or Keras warns; all weights are 0 or 1.
        weight = tf.cast(tf.broadcast_to(_widened(weight, pixels.shape[0]), pixels), metric.variables[0].dtype)
    elif isinstance(metric, tuple(getattr(keras.metrics, name) for name in _OF_CONFUSION)):
        # These add a dimension to weights, which must then have as many as what they weigh.
        weight = _widened(weight, output.shape.rank - 1)
    try:
        metric.update_state(target, output, sample_weight=weight)
    except (ValueError, TypeError, tf.errors.OpError) as error:
        said = essence(error) if isinstance(error, tf.errors.OpError) else str(error).strip().splitlines()[0]
        shapes = " and ".join(
            f"{kind} {list(each.shape[1:])}" for kind, each in (("target", target), ("output", output))
        )
        raise UsageError(
            f"the metric '{metric.name}' cannot compare an example's {shapes}, each with a weight: {said}"
        ) from error


def _widened(weight: tf.Tensor, rank: int) -> tf.Tensor:
    for _ in range(rank - weight.shape.rank):
        weight = weight[..., None]
    return weight


def _is(loss: keras.losses.Loss, names: Sequence[str]) -> bool:
    """Whether it is of one of these classes, or made of the function that one of them is made of."""
    function, *own = map(private_keras.function_of, [loss, *(getattr(keras.losses, name)() for name in names)])
    return function is not None and inspect.unwrap(function) in [inspect.unwrap(each) for each in own if each]


def _require_classes(name: str, target: Field, classes: int, ignored: int | None) -> None:
    """For classes out of range sparse cross-entropy gives NaN on one device, and reads out of bounds on another."""
    if target.minimum is None or target.maximum is None:
        return
    outside = {n for n in (target.minimum, target.maximum) if not 0 <= n < classes}
    if outside - {ignored}:
        raise UsageError(
            f"labels '{name}' run from {target.minimum} to {target.maximum}, but the model has {classes} "
            f"outputs (0 to {classes - 1}): correct the labels, or the number of classes of the model"
        )


def _require_shape(name: str, target: Field, output: list[int], wanted: list[int]) -> None:
    # A wrong number of tokens would not be noticed: Keras takes the mean over an example's tokens.
    single = len(wanted) == 1 and [*target.shape, 1] == wanted
    if list(target.shape) not in (wanted, [*wanted, 1]) and not single:
        raise UsageError(
            f"the target '{name}' has shape {list(target.shape)} per example, but the model's output "
            f"{output} needs {wanted}: correct the data, the model or the loss"
        )
