"""Reads the numbers of the steps since the last report from the devices. Judges and shows none."""

from typing import Any

import tensorflow as tf

from trainer.step.loss_sums import scalar
from trainer.step.results import StepResults
from trainer.step.step_state import StepState


class ResultReader:
    """Reads what a state has come to, in one host call.

    Args:
      state: what steps change.
    """

    def __init__(self, state: StepState):
        self._state = state
        self._read_all = tf.function(self._results, autograph=False)

    def read(self) -> StepResults:
        """Returns the numbers of the steps since the last report, and starts the next sums. A collective."""
        sums, metrics, hyperparameters, finite = tf.nest.map_structure(lambda t: float(t.numpy()), self._read_all())
        means = {name: total / count if count else 0.0 for name, (total, count) in sums["epoch"].items()}
        return StepResults(sums["recent"], means | metrics, hyperparameters, bool(finite))

    def _results(self) -> tuple[Any, dict[str, tf.Tensor], dict[str, tf.Tensor], tf.Tensor]:
        state, objectives = self._state, self._state.parts.objectives
        hyperparameters = dict(state.loss_scale.report())
        for objective in objectives:
            suffix = "" if len(objectives) == 1 else f"/{objective.name}"
            hyperparameters[f"learning_rate{suffix}"] = tf.convert_to_tensor(objective.optimizer.learning_rate)
            hyperparameters[f"gradient_norm{suffix}"] = state.counters.gradient_norms[objective.name].read_value()
        metrics = {name: scalar(name, metric.result()) for name, metric in state.metrics.items()}
        weights = [v.value.read_value() for objective in objectives for v in objective.variables]
        weights += state.layers.read_statistics()
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(weight)) for weight in weights])
        return state.loss_sums.read(), metrics, hyperparameters, finite
