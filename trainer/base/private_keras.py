"""The private parts of Keras that the step needs, and nothing else: the only file that touches them.

Each is covered by a test in tests/base/test_private_keras.py, which fails first when Keras changes.
"""

import re
from collections.abc import Callable, Iterable

import keras
import tensorflow as tf
from keras.src.losses.losses import LossFunctionWrapper


def _layers(models: Iterable[keras.Model]) -> list[keras.Layer]:
    found = {id(layer): layer for model in models for layer in model._flatten_layers()}
    return list(found.values())


def seed_variables(models: Iterable[keras.Model]) -> list[keras.Variable]:
    """The states of all random seed generators in the models, in a stable order: uint32 [2] or int64 [2] each."""
    generators = [g for layer in _layers(models) for g in getattr(layer, "_seed_generators", [])]
    return list({id(g): g.state for g in generators}.values())


def statistics(models: Iterable[keras.Model]) -> list[keras.Variable]:
    """The variables that layers update while they run in training, like moving averages.

    These are the float variables that were never trainable. The weights of a frozen layer are not among them, although
    Keras lists them as non-trainable.
    """
    return [v for v in _never_trainable(models) if tf.as_dtype(v.dtype).is_floating]


def counts(models: Iterable[keras.Model]) -> list[keras.Variable]:
    """The integer and boolean variables that layers may update while they run in training; no seeds of generators."""
    models = list(models)
    seeds = {id(seed) for seed in seed_variables(models)}
    found = (v for v in _never_trainable(models) if id(v) not in seeds)
    return [v for v in found if tf.as_dtype(v.dtype).is_integer or tf.as_dtype(v.dtype).is_bool]


def _never_trainable(models: Iterable[keras.Model]) -> list[keras.Variable]:
    found = {id(v): v for layer in _layers(models) for v in layer._non_trainable_variables}
    return list(found.values())


def stateful_layers(models: Iterable[keras.Model]) -> list[keras.Layer]:
    """The layers that carry values from one batch to the next, as recurrent layers may."""
    return [layer for layer in _layers(models) if getattr(layer, "stateful", False)]


def synchronized_layers(models: Iterable[keras.Model]) -> list[keras.Layer]:
    """The layers that compute their statistics over all replicas, by a collective of their own."""
    return [layer for layer in _layers(models) if getattr(layer, "synchronized", False)]


def layers_drawn_in_tracing(models: Iterable[keras.Model]) -> list[keras.Layer]:
    """The layers that draw with Python's random numbers, once per tracing, and then always do the same."""
    return [layer for layer in _layers(models) if isinstance(layer, keras.layers.AugMix)]


def leaf_layers(models: Iterable[keras.Model]) -> list[keras.Layer]:
    """The layers that contain no other layers, except input placeholders."""
    return [
        layer
        for layer in _layers(models)
        if not isinstance(layer, keras.layers.InputLayer) and not list(layer._flatten_layers(include_self=False))
    ]


def mixed_layers(models: Iterable[keras.Model]) -> list[keras.Layer]:
    """The layers that have weights of their own and also contain other layers."""
    leaves = {id(layer) for layer in leaf_layers(models)}
    others = [layer for layer in _layers(models) if id(layer) not in leaves]
    return [layer for layer in others if layer._trainable_variables or layer._non_trainable_variables]


def own_weights(layer: keras.Layer) -> list[keras.Variable]:
    """The weights of a layer itself that are trained while it is trainable, also while it is not."""
    return list(layer._trainable_variables)


def has_counted_name(layer: keras.Layer) -> bool:
    """Whether Keras made the layer's name from its class and a counter, which depends on what was made before it."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    name = re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
    return re.fullmatch(rf"{name}(_\d+)?", layer.name) is not None


def sublayers(model: keras.Model) -> list[keras.Layer]:
    """All layers within a model, at any depth, in the order in which it was built; not the model itself."""
    return list(model._flatten_layers(include_self=False))


def loss_of(function: Callable[..., tf.Tensor]) -> keras.losses.Loss:
    """The loss that Keras's compile makes of a function (y_true, y_pred): both become floats of one rank before."""
    return LossFunctionWrapper(function, name=getattr(function, "__name__", type(function).__name__))


def function_of(loss: keras.losses.Loss) -> Callable[..., tf.Tensor] | None:
    """The function that a loss was made of, by Keras or by `loss_of`; None if there is none."""
    return loss.fn if isinstance(loss, LossFunctionWrapper) else None


def mask_of(outputs: tf.Tensor) -> tf.Tensor | None:
    """The mask that Keras's layers attach to what they put out, bool [n, tokens]; None if there is none."""
    return getattr(outputs, "_keras_mask", None)


def call_losses(models: Iterable[keras.Model]) -> list[tuple[keras.Layer, tf.Tensor]]:
    """The losses that layers added when the models were last called, with these layers; not those of weights."""
    return [(layer, loss) for layer in _layers(models) for loss in layer._losses]


def own_reduction(optimizer: keras.optimizers.Optimizer) -> None:
    """Stops the optimizer from reducing gradients over replicas: the step has done that already."""
    optimizer._all_reduce_sum_gradients = lambda grads_and_vars: grads_and_vars


def optimizer_state(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The optimizer's variables without its learning rate, which the configuration or a schedule sets."""
    rate = getattr(optimizer, "_learning_rate", None)
    return [variable for variable in optimizer.variables if variable is not rate]


def configured_rate(
    optimizer: keras.optimizers.Optimizer,
) -> keras.optimizers.schedules.LearningRateSchedule | Callable[[], tf.Tensor] | tf.Variable:
    """The optimizer's learning rate: a schedule, a function without arguments, or its variable."""
    rate = optimizer._learning_rate
    return rate.value if isinstance(rate, keras.Variable) else rate


def used_rate(optimizer: keras.optimizers.Optimizer) -> tf.Tensor:
    """The learning rate of the optimizer's last update, float32 []; before the first one, of that."""
    rate = configured_rate(optimizer)
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        # A schedule is asked with the number of updates done before.
        rate = rate(tf.maximum(optimizer.iterations.value - 1, 0))
    return tf.convert_to_tensor(rate() if callable(rate) else rate, tf.float32)


def fuse(optimizer: keras.optimizers.Optimizer) -> None:
    """Makes Adam (and AdamW) update each variable with one fused TensorFlow kernel instead of a dozen small ops.

    The formula and the optimizer's variables stay Keras's own; so do weight decay, constraints and schedules, which
    `apply` does around the update. Other optimizers, and Adam with amsgrad, are left as they are.
    """
    if type(optimizer).update_step is not keras.optimizers.Adam.update_step or optimizer.amsgrad:
        return

    def update_step(gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor) -> None:
        index = optimizer._get_variable_index(variable)
        time = tf.cast(optimizer.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=optimizer._momentums[index].value.handle,
            v=optimizer._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(optimizer.beta_1, variable.dtype), time),
            beta2_power=tf.pow(tf.cast(optimizer.beta_2, variable.dtype), time),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=tf.cast(optimizer.beta_1, variable.dtype),
            beta2=tf.cast(optimizer.beta_2, variable.dtype),
            epsilon=tf.cast(optimizer.epsilon, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
        )

    optimizer.update_step = update_step
