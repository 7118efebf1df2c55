"""Models of sequences: of numbers, and of words as numbers."""

from collections.abc import Callable

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
      vocabulary: how many words there are; 0 is padding.
      width: of a word's vector.
      body: makes the layers between, from [n, length, width] to [n, features].
      dropout: before the logits.
      mask: whether padding is masked; convolutions know no masks.
    """
    return keras.Sequential([
        layers.Embedding(vocabulary, width, mask_zero=mask, name="embedding"), *body(), layers.Dropout(dropout),
        layers.Dense(outputs, dtype="float32"),
    ], name="words")  # fmt: skip


def characters(vocabulary: int, width: int = 32, units: int = 256, dropout: float = 0.0) -> keras.Model:
    """From characters, int [n, times], to the logits of the one after each, [n, times, vocabulary]: one LSTM."""
    return keras.Sequential([
        layers.Embedding(vocabulary, width), layers.LSTM(units, return_sequences=True), layers.Dropout(dropout),
        layers.Dense(vocabulary, dtype="float32"),
    ], name="characters")  # fmt: skip


def series(times: int, features: int, target: int, body: Callable[[], list[keras.Layer]]) -> keras.Model:
    """From a window of a series, float [n, times, features], to one number [n, 1].

    What is learned is how the feature `target` changes from its last value on, from the last values and what the body
    makes of all; before the first step the forecast is that nothing changes.
    """
    window = keras.Input((times, features))
    last = window[:, -1]
    x = window
    for layer in body():
        x = layer(x)
    change = layers.Dense(1, kernel_initializer="zeros")(layers.Concatenate()([x, last]))
    return keras.Model(window, layers.Add(dtype="float32")([last[:, target : target + 1], change]), name="series")


def recurrent(
    layer: Callable = layers.GRU, units: int = 32, bidirectional: bool = False, dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
) -> list[keras.Layer]:  # fmt: skip
    """One recurrent layer: layers.SimpleRNN, LSTM or GRU; its last output is what it says of a sequence."""
    made = layer(units, dropout=dropout, recurrent_dropout=recurrent_dropout)
    return [layers.Bidirectional(made) if bidirectional else made]


def convolutional(filters: int = 64, size: int = 7) -> list[keras.Layer]:
    """Two convolutions in time, and the largest value of each filter."""
    return [
        layers.Conv1D(filters, size, activation="relu"), layers.MaxPooling1D(3),
        layers.Conv1D(filters, size, activation="relu"), layers.GlobalMaxPooling1D(),
    ]  # fmt: skip


def mean() -> list[keras.Layer]:
    """The mean of the words, whatever their order; padding does not count."""
    return [MaskedMean()]


class MaskedMean(layers.Layer):
    """From [n, length, features] to [n, features]: the mean over what is not masked; zeros, if all of it is.

    keras.layers.GlobalAveragePooling1D divides by zero there.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.supports_masking = True

    def call(self, sequences, mask=None):
        if mask is None:
            return keras.ops.mean(sequences, axis=1)
        kept = keras.ops.expand_dims(keras.ops.cast(mask, sequences.dtype), -1)
        return keras.ops.sum(sequences * kept, axis=1) / keras.ops.maximum(keras.ops.sum(kept, axis=1), 1.0)

    def compute_mask(self, sequences, mask=None):
        return None
