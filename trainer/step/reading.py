"""Reads the numbers of the steps since the last report from the devices. Judges and shows none."""

import math
from typing import Any

import tensorflow as tf

from trainer.base import private_keras
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
        read = tf.nest.map_structure(lambda t: float(t.numpy()), self._read_all())
        sums, metrics, hyperparameters, finite, can_scale = read
        # A mean over nothing is no number, and not 0.
        means = {name: total / count if count else math.nan for name, (total, count) in sums["epoch"].items()}
        losses = [sums["recent"][objective.name][0] for objective in self._state.parts.objectives]
        all_finite = bool(finite) and all(map(math.isfinite, losses))
        return StepResults(sums["recent"], means | metrics, hyperparameters, all_finite, not can_scale)

    def _results(self) -> tuple[Any, dict[str, tf.Tensor], dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        state, objectives = self._state, self._state.parts.objectives
        hyperparameters = dict(state.loss_scale.report())
        if state.loss_scale.active:
            hyperparameters["skipped_steps"] = state.counters.skipped.read_value()
        for objective in objectives:
            suffix = "" if len(objectives) == 1 else f"/{objective.name}"
            hyperparameters[f"learning_rate{suffix}"] = private_keras.used_rate(objective.optimizer)
            hyperparameters[f"gradient_norm{suffix}"] = state.counters.gradient_norms[objective.name].read_value()
        metrics = {name: scalar(name, metric.result()) for name, metric in state.metrics.items()}
        weights = [v.value.read_value() for objective in objectives for v in objective.variables]
        weights += state.layers.read_statistics()
        floats = [weight for weight in weights if weight.dtype.is_floating]
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(weight)) for weight in floats])
        return state.loss_sums.read(), metrics, hyperparameters, finite, state.loss_scale.is_usable()
