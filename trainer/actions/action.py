"""The contract between the loop and an action, and what an action may use. The loop is in trainer/loop."""

import enum
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.distributed.ranks import Ranks
from trainer.lifecycle.goodput import Goodput
from trainer.observe.console import Console
from trainer.observe.report import Report
from trainer.observe.summaries import Summaries
from trainer.step.evaluation import Evaluator
from trainer.step.freezing import Freeze
from trainer.tasks.protocol import Parts

NEVER = sys.maxsize


class Training(NamedTuple):
    """What is trained, and what an action may change about it.

    parts: the task's models and objectives.
    fields: of the training data.
    inject_nan: given a step, makes the gradients of the step after it NaN.
    scale_learning_rate: sets the learning rates to a multiple of the configured ones.
    unfreeze: makes the layers that a rule froze trainable.
    weights, set_weights: copies the models' weights and moving statistics by name, and sets them again.
    """

    parts: Parts
    fields: Mapping[str, Field]
    inject_nan: Callable[[int], None]
    scale_learning_rate: Callable[[float], None]
    unfreeze: Callable[[Freeze], None]
    weights: Callable[[], dict[str, np.ndarray]]
    set_weights: Callable[[Mapping[str, np.ndarray]], None]


class Attempt(NamedTuple):
    """This attempt at the run.

    number: from 1.
    ranks: the processes that train together, and this one's rank.
    save: saves the state as of a step. A collective.
    should_stop: whether there is a stop request.
    """

    number: int
    ranks: Ranks
    save: Callable[[int], None]
    should_stop: Callable[[], bool]


class Context(NamedTuple):
    """What a run gives its actions."""

    total_steps: int
    steps_per_epoch: int
    evaluator: Evaluator
    summaries: Summaries
    console: Console
    goodput: Goodput
    attempt: Attempt
    training: Training


class Turn(enum.IntEnum):
    """The order of the actions that are due at the same step; within a turn, the order of the configuration."""

    GUARD = 0  # may end the run before anything uses this step, or change the next step
    MEASURE = 1  # produces the values that others decide by
    ACT = 2  # decides by those values
    TELL = 3  # reports what the actions before it found
    KEEP = 4  # saves; last, so that the checkpoint holds the others' state after this step


class Action:
    """Something that is done at certain step boundaries. Subclasses are made by `factory(context)`.

    `next_step` and `due` are functions of the step, the report and the action's own state alone. These are equal on
    all ranks, so all ranks do the same things at the same steps. A clock may decide what is shown, and nothing else.

    `due` is called once at every boundary, whether the action acts there or not. So actions that sum over reports, Log
    and Straggler, do so in it.
    """

    turn = Turn.ACT
    measures: str | None = None  # the split whose values it adds to a report's evaluation
    monitors: str | None = None  # '<split>/<name>', the evaluated value that it acts on

    def next_step(self, step: int) -> int:
        """The next step after `step` at which this is due; `step` itself if it should have acted there and has not."""
        return NEVER

    def due(self, step: int, report: Report) -> bool:
        """Whether to act at this boundary."""
        raise NotImplementedError

    def __call__(self, report: Report) -> bool:
        """Acts; returns whether the run should end here, the same on all ranks."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The name of its state in checkpoints; unique among the actions of a run."""
        return type(self).__name__

    def state(self) -> Mapping[str, Any]:
        """What a checkpoint holds of this action: numbers or arrays by name."""
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores what `state` returned."""

    def close(self) -> None:
        """Called once after the last step, and after a failure, too."""


class Periodic(Action):
    """Due at every multiple of `every` steps and at the last step.

    Args:
      every: a period in steps; None: once per epoch.

    Raises:
      UsageError: `every` is below 1, or longer than the run.
    """

    def __init__(self, context: Context, every: int | None):
        if every is not None and not 1 <= every <= context.total_steps:
            raise UsageError(
                f"{type(self).__name__}.every = {every}: give a number of steps from 1 to {context.total_steps:,}, "
                f"which is the whole run, or None"
            )
        self.every = every or context.steps_per_epoch
        self.context = context

    def next_step(self, step: int) -> int:
        return (step // self.every + 1) * self.every

    def due(self, step: int, report: Report) -> bool:
        return step % self.every == 0 or step == self.context.total_steps
