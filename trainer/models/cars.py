"""A functional model that is no chain: two inputs, a branch that both share, a shortcut past it, two outputs."""

import keras
from keras import layers


def cars(measures: int = 4, makes: int = 20, origins: int = 3, width: int = 32) -> keras.Model:
    """From what a car measures and how it was made, to how far it goes and where it is from.

    Args:
      measures, makes: how many features the two inputs have.
      origins: how many there are.
      width: of the hidden layers.

    Inputs: 'measures' [n, measures], 'make' [n, makes]. Outputs: 'distance' [n, 1], 'origin' logits [n, origins].
    """
    size, make = keras.Input((measures,), name="measures"), keras.Input((makes,), name="make")
    both = layers.Concatenate()([layers.Dense(width, activation="relu")(size), layers.Dense(width)(make)])
    hidden = layers.Dense(width, activation="relu")(both)
    # How far a car goes is nearly a linear function of its measures: the layers need to learn the rest only.
    straight, bent = layers.Dense(1, dtype="float32")(size), layers.Dense(1, dtype="float32")(hidden)
    distance = layers.Add(dtype="float32", name="distance")([straight, bent])
    origin = layers.Dense(origins, dtype="float32", name="origin")(layers.Concatenate()([hidden, size]))
    return keras.Model({"measures": size, "make": make}, {"distance": distance, "origin": origin}, name="cars")
