"""Copies of a state's variables in host memory, by their names in checkpoints. Writes no files."""

from collections.abc import Mapping

import numpy as np

from trainer.base import unlocked
from trainer.base.liveness import progressed
from trainer.step.step_state import StepState
from trainer.step.variable_names import named_variables

# What an evaluation depends on: weights, moving statistics and the weights' average.
EVALUATED = ("models/", "variables/", "average/")


def read_values(state: StepState, prefixes: tuple[str, ...] = ("",)) -> dict[str, np.ndarray]:
    """Returns the values by name, of all variables whose names begin with one of the prefixes."""
    values = {}
    for name, variable in named_variables(state).items():
        if name.startswith(prefixes):
            values[name] = variable.read_value().numpy()
            progressed()
    return values


def assign_values(state: StepState, values: Mapping[str, np.ndarray]) -> None:
    """Sets what `read_values` returned."""
    named = named_variables(state)
    for name, value in values.items():
        named[name].assign(unlocked.tensor(value))
        progressed()
