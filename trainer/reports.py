"""What is known at a step boundary: the numbers of the step, the rate, and whether somebody asked to stop.

Equal on every rank, so that all of them decide alike.
"""

import dataclasses
import math

from trainer.data.order import Order
from trainer.goodput import Ledger
from trainer.ranks import Ranks
from trainer.requests import Reason, Requests
from trainer.step import TrainStep


@dataclasses.dataclass
class Report:
    """The state of affairs at a boundary.

    losses: by objective, the sum and the count since the last report, of which the mean loss is the quotient.
    metrics: since the epoch began, among them 'loss'.
    hyperparameters: learning rate, gradient norm of the last step, loss scale.
    finite: whether losses and weights are.
    steps, examples, seconds, waiting: since the last report: steps, real examples, seconds of training, and how many of
      those were spent waiting for data, by the slowest rank.
    held_up: by rank, the seconds that it waited in the steps' collective, its own time included.
    request: the gravest request to stop that any rank has.
    evaluation: what an evaluation at this boundary found, '<split>/<name>'.
    """

    step: int
    total_steps: int
    epoch: int
    epochs: int
    losses: dict[str, tuple[float, float]]
    metrics: dict[str, float]
    hyperparameters: dict[str, float]
    steps: int
    finite: bool
    examples: int
    seconds: float
    waiting: float
    held_up: tuple[float, ...]
    request: Reason
    evaluation: dict[str, float] = dataclasses.field(default_factory=dict)


class Reporter:
    """Makes the reports of a run.

    Args:
      first_step: where this attempt starts.
    """

    def __init__(
        self,
        step: TrainStep,
        order: Order,
        ledger: Ledger,
        total_steps: int,
        first_step: int,
        requests: Requests,
        ranks: Ranks,
    ):
        self._step, self._order, self._ledger, self._total = step, order, ledger, total_steps
        self._last_step, self._requests, self._ranks = first_step, requests, ranks
        self._spent = self._clock()
        self.examples, self.seconds = 0, 0.0
        self.latest: Report | None = None
        self.evaluation: dict[str, float] = {}

    @property
    def examples_per_second(self) -> float:
        """Of this attempt's training, without start-up, compilation, evaluation and saving; 0 before the first."""
        return self.examples / self.seconds if self.seconds else 0.0

    def read(self, step: int) -> Report:
        """The report of the steps since the last one, up to `step`. A collective."""
        numbers = self._step.read()
        if self.latest is not None:
            self.evaluation |= self.latest.evaluation
        before, self._spent = self._spent, self._clock()
        # The first call compiles, and says nothing about the rate.
        spent = [now - then if self.latest else 0.0 for now, then in zip(self._spent, before, strict=True)]
        table = self._ranks.gather([self._requests.pending, *spent])
        request, seconds, waited, _ = table.max(axis=0).tolist()
        spe = self._order.steps_per_epoch
        report = Report(
            step=step,
            total_steps=self._total,
            epoch=max(1, -(-step // spe)),
            epochs=-(-self._total // spe),
            losses=numbers.losses,
            metrics=numbers.metrics,
            hyperparameters=numbers.hyperparameters,
            finite=all(math.isfinite(total) for total, _ in numbers.losses.values()) and numbers.finite,
            steps=step - self._last_step,
            examples=self._order.examples_before(step) - self._order.examples_before(self._last_step),
            seconds=seconds,
            waiting=waited,
            held_up=tuple(table[:, 3].tolist()),
            request=Reason(int(request)),
        )
        self._last_step = step
        if self.latest:
            self.examples += report.examples
            self.seconds += report.seconds
        self.latest = report
        return report

    def metrics(self) -> dict[str, float]:
        """The newest training metrics ('train/<name>') and the newest of each evaluation ('<split>/<name>')."""
        if self.latest is None:
            return dict(self.evaluation)
        training = {f"train/{name}": value for name, value in self.latest.metrics.items()}
        return self.evaluation | self.latest.evaluation | training

    def _clock(self) -> tuple[float, float, float]:
        """Seconds so far: of training, of these waiting for data, of these waiting for other ranks."""
        seconds = self._ledger.seconds()
        return seconds["stepping"] + seconds["data"], seconds["data"], self._step.arrivals.waited()
