"""Makes the report of each step boundary from the steps' results, the clock and all ranks' stop requests.

Decides nothing by it; actions do.
"""

from collections.abc import Callable

from trainer.data.order import Order
from trainer.distributed.ranks import Ranks
from trainer.lifecycle.goodput import Goodput
from trainer.lifecycle.stop_requests import StopReason, StopRequests
from trainer.observe.report import Interval, Position, Report
from trainer.step.device_loop import DeviceLoop


class Reporter:
    """Makes the reports of one attempt.

    Args:
      device_loop: whose results are reported.
      order: of the training examples.
      goodput: what the seconds are read from.
      total_steps: of the run.
      first_step: where this attempt starts.
      stop_requests: of this process.
      ranks: the processes that train together; all get the same report.
      save_failed: whether a save in the background has failed in this process.
    """

    def __init__(
        self,
        device_loop: DeviceLoop,
        order: Order,
        goodput: Goodput,
        total_steps: int,
        first_step: int,
        stop_requests: StopRequests,
        ranks: Ranks,
        save_failed: Callable[[], bool] = lambda: False,
    ):
        self._device_loop, self._order, self._goodput, self._total = device_loop, order, goodput, total_steps
        self._last_step, self._stop_requests, self._ranks = first_step, stop_requests, ranks
        self._spent, self._save_failed = self._clock(), save_failed
        self.examples, self.seconds = 0, 0.0
        self.latest: Report | None = None
        self.evaluation: dict[str, float] = {}

    @property
    def examples_per_second(self) -> float:
        """Of this attempt's training, without start-up, compilation, evaluation and saving; 0 if none was measured."""
        return self.examples / self.seconds if self.seconds else 0.0

    def read(self, step: int) -> Report:
        """Returns the report of the steps since the last one, up to `step`. A collective."""
        results = self._device_loop.read()
        if self.latest is not None:
            self.evaluation |= self.latest.evaluation | self.latest.final
        before, self._spent = self._spent, self._clock()
        *spent, compiling = (now - then for now, then in zip(self._spent, before, strict=True))
        # The time of a call that compiles, like the first one, says nothing about the rate.
        timed = self.latest is not None and not compiling
        known = [self._stop_requests.pending, self._save_failed()]  # by this rank alone, until here
        table = self._ranks.gather([*known, *(spent if timed else [0.0] * len(spent))])
        request, save_failed, seconds, waited, elapsed, _ = table.max(axis=0).tolist()
        per_epoch = self._order.steps_per_epoch
        report = Report(
            Position(step, self._total, epoch=max(1, -(-step // per_epoch)), epochs=-(-self._total // per_epoch)),
            results,
            Interval(
                steps=step - self._last_step,
                examples=self._order.examples_before(step) - self._order.examples_before(self._last_step),
                seconds=seconds,
                waiting_for_data=waited,
                elapsed=elapsed,
                collective_wait=tuple(table[:, -1].tolist()),
            ),
            request=StopReason(int(request)),
            save_failed=bool(save_failed),
        )
        self._last_step = step
        if timed:
            self.examples += report.interval.examples
            self.seconds += report.interval.seconds
        self.latest = report
        return report

    def metrics(self) -> dict[str, float]:
        """The latest training metrics ('train/<name>') and the latest values of each evaluation ('<split>/<name>')."""
        if self.latest is None:
            return dict(self.evaluation)
        training = {f"train/{name}": value for name, value in self.latest.results.metrics.items()}
        return self.evaluation | self.latest.evaluation | self.latest.final | training

    def _clock(self) -> tuple[float, ...]:
        """Seconds so far: training; of these, waiting for data; all but compilation; in collectives; compilation."""
        seconds = self._goodput.seconds()
        return (
            seconds["stepping"] + seconds["data"],
            seconds["data"],
            sum(seconds.values()) - seconds["compilation"],
            self._device_loop.train_step.collective_wait.waited(),
            seconds["compilation"],
        )
