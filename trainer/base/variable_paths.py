"""The paths of variables, each unique, by which checkpoints and warm starts know them. Reads no values."""

from collections.abc import Iterable

import keras


def by_path(variables: Iterable[keras.Variable]) -> dict[str, keras.Variable]:
    """Variables by their paths. Where Keras gives several one path, as in two copies of a network, it is numbered.

    The numbers follow the order of the variables, which is that in which a model was built.
    """
    named: dict[str, keras.Variable] = {}
    for variable in variables:
        path, number = variable.path, 0
        while path in named:
            number += 1
            path = f"{variable.path}_{number}"
        named[path] = variable
    return named
