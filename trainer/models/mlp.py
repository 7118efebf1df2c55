"""A multilayer perceptron, as a function that makes a Sequential model."""

from collections.abc import Sequence

import keras
from keras import layers


def mlp(hidden: Sequence[int] = (128,), outputs: int = 10, dropout: float = 0.2, scale: float = 1.0) -> keras.Model:
    """Returns a Sequential model: flatten, then Dense + ReLU + Dropout for each hidden layer, then logits.

    Args:
      hidden: widths of the hidden layers.
      outputs: number of logits.
      dropout: share of each hidden layer's units that is dropped in training.
      scale: the input is multiplied by it; 1/255 for images stored as bytes.

    Input [n, ...] of any type and rank >= 2; output float [n, outputs].
    """
    model = keras.Sequential([layers.Rescaling(scale), layers.Flatten()], name="mlp")
    for width in hidden:
        model.add(layers.Dense(width, activation="relu"))
        model.add(layers.Dropout(dropout))
    model.add(layers.Dense(outputs, dtype="float32"))
    return model
