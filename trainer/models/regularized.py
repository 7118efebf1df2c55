"""A multilayer perceptron with regularisation: L1, L2, batch normalisation and dropout."""

from collections.abc import Sequence

import keras
from keras import layers


def regularized(
    hidden: Sequence[int] = (256, 256),
    outputs: int = 10,
    l1: float = 0.0,
    l2: float = 0.0,
    batch_normalization: bool = True,
    dropout: float = 0.5,
    scale: float = 1.0,
) -> keras.Model:
    """Returns a Sequential model: for each hidden layer Dense, batch normalisation, ReLU and dropout; then logits.

    Args:
      hidden: widths of the hidden layers.
      outputs: number of logits.
      l1, l2: weights in the loss of the sums of absolute values, and of squares, of the hidden layers' kernels.
      batch_normalization: whether the hidden layers have it.
      dropout: share of each hidden layer's units that is dropped in training.
      scale: the input is multiplied by it; 1/255 for images stored as bytes.

    Input [n, ...] of any type and rank >= 2; output float [n, outputs].
    """
    model = keras.Sequential([layers.Rescaling(scale), layers.Flatten()], name="regularized")
    for width in hidden:
        model.add(layers.Dense(width, kernel_regularizer=keras.regularizers.L1L2(l1, l2)))
        if batch_normalization:
            model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
        model.add(layers.Dropout(dropout))
    model.add(layers.Dense(outputs, dtype="float32"))
    return model
