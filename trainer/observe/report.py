"""What is known at a step boundary: only the record, equal on every rank, so that all ranks decide alike."""

import dataclasses

from trainer.lifecycle.stop_requests import StopReason
from trainer.step.results import StepResults


@dataclasses.dataclass(frozen=True)
class Interval:
    """What happened since the previous report.

    steps: how many.  examples: how many, without padding.  seconds: of training, the most on any rank.
    waiting_for_data: of these, seconds spent waiting for data, the most on any rank.  elapsed: seconds of training and
    of all that is between, such as evaluations and saves, but not of compilation; the most on any rank.
    collective_wait: by rank, seconds in the steps' collectives, the collectives' own time included.

    All seconds are 0 where they say nothing about the rate: in an attempt's first interval, and where one compiles.
    """

    steps: int
    examples: int
    seconds: float
    waiting_for_data: float
    elapsed: float
    collective_wait: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Position:
    """Where in the run a boundary is. total_steps, epochs: of the whole run.  epoch: of the last step, from 1."""

    step: int
    total_steps: int
    epoch: int
    epochs: int


@dataclasses.dataclass
class Report:
    """What actions decide by at a step boundary.

    results: losses, metrics and hyperparameters of the steps.
    request: the largest stop request of any rank.
    save_failed: whether a save in the background has failed on any rank.
    evaluation: values of the evaluations at this boundary so far, by '<split>/<name>'.
    final: the same of the weights that the run ends with, where these are not the newest.
    """

    position: Position
    results: StepResults
    interval: Interval
    request: StopReason
    save_failed: bool = False
    evaluation: dict[str, float] = dataclasses.field(default_factory=dict)
    final: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def step(self) -> int:
        """The number of steps done."""
        return self.position.step
