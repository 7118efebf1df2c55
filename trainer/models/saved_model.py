"""A network from a TensorFlow SavedModel, as model hubs provide them, like hub.KerasLayer. Downloads nothing."""

import keras
import tensorflow as tf
from keras import layers

from trainer.base.errors import UsageError


def saved_model(path: str, endpoint: str = "serve", training_endpoint: str | None = None) -> keras.Model:
    """Returns the network with its saved weights (keras.layers.TFSMLayer).

    Useful for the features of trainer.pretrained.stored_features.stored. It can be trained only on one replica, since
    the saved program does not know of others. And it is a program: never load one that you do not trust.

    Args:
      path: the SavedModel's folder.
      endpoint: name of the function to call; keras.Model.export writes 'serve', others often have 'serving_default'.
      training_endpoint: the function to call in training; None: the same, without what training adds, like dropout.

    Input and output: one tensor each, [n, …], as in the function.

    Raises:
      UsageError: there is no such function, it has several inputs or outputs, or there are several replicas.
    """
    if tf.distribute.has_strategy():
        raise UsageError(
            f"the SavedModel {path} cannot be part of a model on several replicas: compute its features once with "
            f"trainer.pretrained.stored_features.stored, or use --strategy=default"
        )
    if not tf.saved_model.contains_saved_model(path):
        raise UsageError(f"saved_model.path = '{path}': this is no folder of a SavedModel")
    try:
        layer = layers.TFSMLayer(path, call_endpoint=endpoint, call_training_endpoint=training_endpoint, name="saved")
    except (ValueError, OSError, tf.errors.OpError) as error:
        raise UsageError(f"saved_model: {error}") from error
    function = layer.call_endpoint_fn
    concrete = function if hasattr(function, "structured_input_signature") else function.concrete_functions[0]
    taken = tf.nest.flatten(concrete.structured_input_signature)
    if len(taken) != 1:
        raise UsageError(f"saved_model.endpoint = '{endpoint}' of {path} takes {len(taken)} tensors, and not one")
    inputs = keras.Input(taken[0].shape[1:], dtype=taken[0].dtype.name)
    outputs = tf.nest.flatten(layer(inputs))
    if len(outputs) != 1:
        raise UsageError(f"saved_model.endpoint = '{endpoint}' of {path} returns {len(outputs)} tensors, and not one")
    return keras.Model(inputs, outputs[0], name="saved_model")
