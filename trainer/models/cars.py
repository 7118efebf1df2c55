"""A functional model with two inputs, a shared branch, a shortcut past it, and two outputs: not a plain sequence."""

import keras
from keras import layers


def cars(measures: int = 4, makes: int = 20, origins: int = 3, width: int = 32) -> keras.Model:
    """From a car's measurements and its make to its distance per gallon and its origin.

    Args:
      measures, makes: number of features of the two inputs.
      origins: number of classes.
      width: of the hidden layers.

    Inputs: 'measures' [n, measures], 'make' [n, makes]. Outputs: 'distance' [n, 1], 'origin' logits [n, origins].
    """
    size, make = keras.Input((measures,), name="measures"), keras.Input((makes,), name="make")
    both = layers.Concatenate()([layers.Dense(width, activation="relu")(size), layers.Dense(width)(make)])
    hidden = layers.Dense(width, activation="relu")(both)
    # The distance is nearly linear in the measurements, so the hidden layers only need to learn the rest.
    straight, bent = layers.Dense(1, dtype="float32")(size), layers.Dense(1, dtype="float32")(hidden)
    distance = layers.Add(dtype="float32", name="distance")([straight, bent])
    origin = layers.Dense(origins, dtype="float32", name="origin")(layers.Concatenate()([hidden, size]))
    return keras.Model({"measures": size, "make": make}, {"distance": distance, "origin": origin}, name="cars")
