"""The names of a run's variables in its checkpoints. Writes and reads none."""

from collections.abc import Iterable

import keras
import tensorflow as tf

from trainer.base import private_keras
from trainer.base.variable_paths import by_path
from trainer.step.step_state import StepState


def named_variables(state: StepState) -> dict[str, tf.Variable]:
    """Every variable that a checkpoint holds, by a name that does not depend on positions in lists."""
    counters, parts = state.counters, state.parts
    named = {"step": counters.step, "input/digest": counters.digest, "skipped_steps": counters.skipped}
    for name, model in parts.models.items():
        named |= _by_path(f"models/{name}", [v for v in model.variables if not state.layers.is_seed(v)])
    named |= {f"variables/{name}": variable.value for name, variable in parts.variables.items()}
    for objective in parts.objectives:
        named |= _by_path(f"optimizers/{objective.name}", private_keras.optimizer_state(objective.optimizer))
    for name, metric in state.metrics.items():
        named |= {f"metrics/{name}/{i}": v.value for i, v in enumerate(metric.variables)}
    return named | state.loss_sums.variables() | state.average.variables() | state.loss_scale.variables()


def _by_path(prefix: str, variables: Iterable[keras.Variable]) -> dict[str, tf.Variable]:
    return {f"{prefix}/{path}": variable.value for path, variable in by_path(variables).items()}
