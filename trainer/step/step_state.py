"""Everything that training steps change: the built parts of a task, their optimizers, counters and sums.

Built once, within the strategy's scope. Names its variables for checkpoints and reads its numbers for reports. The
step itself is in train_step.py.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.step import optimizers
from trainer.step.arithmetic import Arithmetic
from trainer.step.averaging import Average, NoAverage
from trainer.step.freezing import Freeze, Frozen
from trainer.step.layer_state import LayerState
from trainer.step.loss_scale import LossScale, NoLossScale
from trainer.step.loss_sums import LossSums
from trainer.step.variables import replicated
from trainer.tasks.protocol import Parts, Task


class Counters(NamedTuple):
    """Scalars that steps change, equal on all replicas.

    step: int64, steps done.  digest: int64, of the input, see trainer.data.digest.  skipped: int64, steps skipped since
    their gradients were not finite.  gradient_norms: float32 by objective, before clipping, of the last step that
    computed it.
    """

    step: tf.Variable
    digest: tf.Variable
    skipped: tf.Variable
    gradient_norms: dict[str, tf.Variable]

    @classmethod
    def of(cls, objectives: Iterable[str]) -> "Counters":
        """Made within strategy.scope()."""
        step, digest, skipped = (replicated(0, tf.int64) for _ in range(3))
        return cls(step, digest, skipped, {name: replicated(0, tf.float32) for name in objectives})


class StepState:
    """A built task and the state of its training.

    Args:
      strategy: the process's only strategy.
      task: not yet built.
      fields: of the training data.
      arithmetic: the settings that determine the numbers.
      seed: of everything random in the run.
      freezes: which layers are frozen.
      initialise: called with the built parts, before anything reads their values.

    Raises:
      UsageError: the task's parts, its optimizers, `freezes` and `arithmetic` do not fit together.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        task: Task,
        fields: Mapping[str, Field],
        arithmetic: Arithmetic,
        seed: int,
        freezes: Sequence[Freeze] = (),
        initialise: Callable[[Parts], None] = lambda parts: None,
    ):
        self.task = task
        with strategy.scope():
            parts = task.build(fields)
            initialise(parts)
            self._frozen = Frozen(freezes, parts)
            self.parts = parts._replace(objectives=[self._frozen.without(o) for o in parts.objectives])
            for objective in self.parts.objectives:
                optimizers.prepare(objective)
            self._rates = [optimizers.learning_rate(objective) for objective in self.parts.objectives]
            self.unreached: list[str] = []  # the paths of variables that no gradient reaches
            self.metrics = dict(task.metrics())
            names = [objective.name for objective in self.parts.objectives]
            if clash := set(names) & set(self.metrics):
                raise UsageError(
                    f"a metric has the name of an objective, '{clash.pop()}': give the metric another name"
                )
            self.counters = Counters.of(names)
            self.loss_sums = LossSums(names)
            self.average: Average | NoAverage = Average.of(arithmetic.average_decay, self.parts)
            self.loss_scale: LossScale | NoLossScale = LossScale.of(arithmetic.precision)
        self.layers = LayerState(self.parts.models.values(), seed)

    def reset_epoch(self) -> None:
        """Resets the losses and metrics of the epoch."""
        for metric in self.metrics.values():
            metric.reset_state()
        self.loss_sums.reset_epoch()

    def leave_out(self, unreached: Collection[int]) -> None:
        """Leaves the variables with these ids, which no gradient reaches, as they are, as Keras does.

        Weight decay would change them otherwise. Raises UsageError if an objective has no others.
        """
        objectives = []
        for objective in self.parts.objectives:
            kept = [variable for variable in objective.variables if id(variable) not in unreached]
            if not kept:
                raise UsageError(f"the loss of the objective '{objective.name}' depends on none of its weights")
            self.unreached += [v.path for v in objective.variables if id(v) in unreached]
            objectives.append(objective._replace(variables=kept))
        self.parts = self.parts._replace(objectives=objectives)

    def unfreeze(self, rule: Freeze | None = None) -> None:
        """Makes the layers of a rule trainable; without a rule, all layers that are frozen until a step."""
        for each in [rule] if rule else self._frozen.ending:
            self._frozen.unfreeze(each)

    def scale_learning_rate(self, factor: float) -> None:
        """Sets every objective's learning rate to `factor` times the configured one.

        Raises:
          UsageError: a learning rate is a schedule.
        """
        for objective, rate in zip(self.parts.objectives, self._rates, strict=True):
            if rate is None:
                raise UsageError(
                    f"the learning rate of '{objective.name}' is a schedule, which cannot be scaled: give a number"
                )
            objective.optimizer.learning_rate.assign(rate * factor)
