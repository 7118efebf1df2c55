"""Models of sequences: of words and characters as numbers, and of time series."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers


def words(
    vocabulary: int,
    width: int,
    body: Callable[[], list[keras.Layer]],
    outputs: int = 1,
    dropout: float = 0.0,
    mask: bool = True,
) -> keras.Model:
    """From words, int [n, length], to logits [n, outputs].

    Args:
      vocabulary: number of words; 0 is padding.
      width: of a word's vector.
      body: makes the layers between, from [n, length, width] to [n, features].
      outputs: number of logits.
      dropout: share of features that is dropped before the logits.
      mask: whether padding is masked; convolutions do not support masks.
    """
    return keras.Sequential([
        layers.Embedding(vocabulary, width, mask_zero=mask, name="embedding"), *body(), layers.Dropout(dropout),
        layers.Dense(outputs, dtype="float32"),
    ], name="words")  # fmt: skip


def characters(vocabulary: int, width: int = 32, units: int = 256, dropout: float = 0.0) -> keras.Model:
    """From characters, int [n, times], to the logits of each next character, [n, times, vocabulary]: one LSTM.

    Args:
      vocabulary: number of characters.
      width: of a character's vector.
      units: of the LSTM.
      dropout: share of the LSTM's outputs that is dropped.
    """
    return keras.Sequential([
        layers.Embedding(vocabulary, width), layers.LSTM(units, return_sequences=True), layers.Dropout(dropout),
        layers.Dense(vocabulary, dtype="float32"),
    ], name="characters")  # fmt: skip


def series(times: int, features: int, target: int, body: Callable[[], list[keras.Layer]]) -> keras.Model:
    """From a window of a time series, float [n, times, features], to a prediction [n, 1].

    The model predicts the change of the feature `target` since its last value, from the features' last values and the
    output of the body. It starts from predicting no change.

    Args:
      times, features: shape of a window.
      target: index of the feature to predict.
      body: makes the layers from [n, times, features] to [n, k].
    """
    window = keras.Input((times, features))
    last = window[:, -1]
    x = window
    for layer in body():
        x = layer(x)
    change = layers.Dense(1, kernel_initializer="zeros")(layers.Concatenate()([x, last]))
    return keras.Model(window, layers.Add(dtype="float32")([last[:, target : target + 1], change]), name="series")


def recurrent(
    layer: Callable[..., keras.Layer] = layers.GRU, units: int = 32, bidirectional: bool = False, dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
) -> list[keras.Layer]:  # fmt: skip
    """One recurrent layer, which returns its last output: from [n, times, k] to [n, units], or [n, 2 * units].

    Args:
      layer: layers.SimpleRNN, LSTM or GRU.
      units: of the layer.
      bidirectional: whether there is another one that reads backwards.
      dropout, recurrent_dropout: of the layer.
    """
    made = layer(units, dropout=dropout, recurrent_dropout=recurrent_dropout)
    return [layers.Bidirectional(made) if bidirectional else made]


def convolutional(filters: int = 64, size: int = 7) -> list[keras.Layer]:
    """Two convolutions over time with pooling, then the maximum of each filter: from [n, times, k] to [n, filters].

    Args:
      filters: of each convolution.
      size: of each convolution, in time steps.
    """
    return [
        layers.Conv1D(filters, size, activation="relu"), layers.MaxPooling1D(3),
        layers.Conv1D(filters, size, activation="relu"), layers.GlobalMaxPooling1D(),
    ]  # fmt: skip


def mean() -> list[keras.Layer]:
    """The mean of the words' vectors, without padding: from [n, length, k] to [n, k]."""
    return [MaskedMean()]


class MaskedMean(layers.Layer):  # type: ignore[misc]
    """From [n, length, features] to [n, features]: the mean without masked positions; zeros if all are masked.

    keras.layers.GlobalAveragePooling1D divides by zero if all are masked.
    """

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.supports_masking = True

    def call(self, sequences: keras.KerasTensor, mask: keras.KerasTensor | None = None) -> keras.KerasTensor:
        if mask is None:
            return keras.ops.mean(sequences, axis=1)
        kept = keras.ops.expand_dims(keras.ops.cast(mask, sequences.dtype), -1)
        return keras.ops.sum(sequences * kept, axis=1) / keras.ops.maximum(keras.ops.sum(kept, axis=1), 1.0)

    def compute_mask(self, sequences: keras.KerasTensor, mask: keras.KerasTensor | None = None) -> None:
        return None
