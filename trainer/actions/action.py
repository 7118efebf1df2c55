"""The contract between the loop and an action, and what an action may use."""

import enum
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from trainer.console import Console
from trainer.data.source import Field
from trainer.errors import UsageError
from trainer.evaluator import Evaluator
from trainer.freezing import Freeze
from trainer.goodput import Ledger
from trainer.ranks import Ranks
from trainer.reports import Report
from trainer.summaries import Summaries
from trainer.tasks.protocol import Parts

NEVER = sys.maxsize


class Context(NamedTuple):
    """What a run gives its actions.

    ranks: the processes that train together; this one's rank.
    attempt: number of this attempt at the run, from 1.
    save: saves the state as of a step; save_failed: whether saving, which goes on in the background, has failed.
    should_stop: whether somebody asked for the end of the run.
    poison: makes the gradients of the step after a step NaN.
    scale_learning_rate: multiplies the configured learning rates.
    release: has layers trained that were frozen.
    parts: the models that are trained.
    fields: of the training data.
    """

    total_steps: int
    steps_per_epoch: int
    evaluator: Evaluator
    summaries: Summaries
    console: Console
    ledger: Ledger
    save: Callable[[int], None]
    save_failed: Callable[[], bool]
    should_stop: Callable[[], bool]
    ranks: Ranks
    attempt: int
    poison: Callable[[int], None]
    scale_learning_rate: Callable[[float], None]
    release: Callable[[Freeze], None]
    parts: Parts
    fields: Mapping[str, Field]


class Turn(enum.IntEnum):
    """When an action acts, of those that are due at the same step; within a turn, in the order of the configuration."""

    GUARD = 0  # may forbid that anybody builds on this step, or change what the next one is
    MEASURE = 1  # finds what others decide by
    ACT = 2
    TELL = 3  # of what all of those have found
    KEEP = 4  # what is saved holds what the others remember of this very step


class Action:
    """Something that is done at certain step boundaries. Subclasses are made by `factory(context)`.

    `next_step` and `due` are pure functions of the step, the report and the action's own state, which are equal on all
    ranks, so that all ranks do the same things at the same steps. A clock may decide what is shown, never more.
    """

    turn = Turn.ACT
    measures: str | None = None  # the split whose values it puts into a report's evaluation
    monitors: str | None = None  # '<split>/<name>', the value of an evaluation that it waits for

    def next_step(self, step: int) -> int:
        """The first step at which this is due, counted from `step`; `step` itself if something is still owed there."""
        return NEVER

    def due(self, step: int, report: Report) -> bool:
        """Whether to act at this boundary."""
        raise NotImplementedError

    def __call__(self, report: Report) -> bool:
        """Acts; returns whether the run shall end here."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """What its state is kept under: unlike that of any other action of the run."""
        return type(self).__name__

    def state(self) -> Mapping[str, Any]:
        """What must survive: names to numbers or arrays."""
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes back what `state` returned."""

    def close(self) -> None:
        """Called once after the last step, also when the run failed."""


class Periodic(Action):
    """Due at every multiple of `every` steps and at the last step.

    Args:
      every: a period in steps; None: an epoch.
    """

    def __init__(self, context: Context, every: int | None):
        if every is not None and every < 1:
            raise UsageError(f"{type(self).__name__}.every = {every}: give a number of steps of at least 1, or None")
        self.every = every or context.steps_per_epoch
        self.context = context

    def next_step(self, step: int) -> int:
        return (step // self.every + 1) * self.every

    def due(self, step: int, report: Report) -> bool:
        return step % self.every == 0 or step == self.context.total_steps
