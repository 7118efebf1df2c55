"""Copies of what is evaluated of a state: weights, moving statistics and the weights' average. Writes no files."""

from collections.abc import Mapping

import numpy as np

from trainer.step.step_state import StepState
from trainer.step.variable_names import named_variables

_EVALUATED = ("models/", "variables/", "average/")


def copy(state: StepState) -> dict[str, np.ndarray]:
    """Returns the values by their names in checkpoints."""
    named = named_variables(state)
    return {name: variable.read_value().numpy() for name, variable in named.items() if name.startswith(_EVALUATED)}


def assign(state: StepState, values: Mapping[str, np.ndarray]) -> None:
    """Sets what `copy` returned."""
    named = named_variables(state)
    for name, value in values.items():
        named[name].assign(value)
