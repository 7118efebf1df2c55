"""An exponential moving average of the weights, which evaluation uses in their place. Evaluates nothing itself."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from trainer.base import unlocked
from trainer.base.variable_paths import by_path
from trainer.step.variables import replicated
from trainer.tasks.protocol import Parts

# An update reads and writes as much memory as the optimizer does. Updating every 16th step with the 16th power of the
# decay gives the same average, except for how it weighs the steps within a period.
_PERIOD = 16


class Average:
    """average <- decay * average + (1 - decay) * weights, per step; in the first 16 steps it equals the weights.

    Args:
      decay: per step; the average is updated every 16 steps, with decay^16.
      parts: of the built task; the variables of its objectives are averaged.
    """

    def __init__(self, decay: float, parts: Parts):
        self._rate = 1.0 - decay**_PERIOD
        self._weights = {f"{o.name}/{path}": v for o in parts.objectives for path, v in by_path(o.variables).items()}
        self._averages = {path: replicated(v.value.read_value(), v.value.dtype) for path, v in self._weights.items()}

    @staticmethod
    def of(decay: float | None, parts: Parts) -> "Average | NoAverage":
        """Returns the average with this decay per step; NoAverage if it is None. Made within strategy.scope()."""
        return NoAverage() if decay is None else Average(decay, parts)

    def update(self, strategy: tf.distribute.Strategy, step: tf.Tensor) -> None:
        """Updates the average in cross-replica context, after the optimizers. step: int64 [], steps done before it."""

        started = step >= _PERIOD
        rate = tf.where(started, self._rate, 1.0)

        def move() -> None:
            for path, weight in self._weights.items():
                strategy.extended.update(
                    self._averages[path],
                    lambda average, value: average.assign_sub(rate * (average - value)),
                    args=(weight.value,),
                )

        tf.cond(tf.logical_not(started) | (step % _PERIOD == _PERIOD - 1), move, lambda: None)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within this context the models hold the averages instead of their weights."""
        kept = {path: weight.value.numpy() for path, weight in self._weights.items()}
        for path, weight in self._weights.items():
            weight.value.assign(unlocked.tensor(self._averages[path].numpy()))
        try:
            yield
        finally:
            for path, weight in self._weights.items():
                weight.value.assign(unlocked.tensor(kept[path]))

    def variables(self) -> dict[str, tf.Variable]:
        """The averages by name, for checkpoints."""
        return {f"average/{path}": average for path, average in self._averages.items()}


class NoAverage:
    """No average is kept; evaluation uses the weights themselves."""

    def update(self, strategy: tf.distribute.Strategy, step: tf.Tensor) -> None:
        pass

    def in_place(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def variables(self) -> dict[str, tf.Variable]:
        return {}
