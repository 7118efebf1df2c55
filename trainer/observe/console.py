"""What a run prints: a live progress line in a terminal, a line every few seconds anywhere else. Keeps no log."""

import datetime
import time
from collections.abc import Mapping
from typing import TextIO

import rich.console
import rich.live
import rich.text

from trainer.observe.report import Report

_SECONDS_BETWEEN_LINES = 5.0


class Console:
    """Prints the progress of a run, and changes nothing about it.

    Args:
      terminal: where to print; None: standard output.
    """

    def __init__(self, terminal: TextIO | None = None) -> None:
        self._terminal = terminal
        self._out = rich.console.Console(file=terminal, highlight=False, soft_wrap=True)
        self._live: rich.live.Live | None = None
        self._printed = 0.0
        self._recent = _Pace(forget=0.2)  # for the speed
        self._attempt = _Pace(forget=0.0)  # for the ETA, to which evaluations and saves belong

    def say(self, line: str) -> None:
        """Prints one line, above the live line."""
        self._out.print(rich.text.Text(line))

    def fact(self, name: str, value: str) -> None:
        """Prints one of the named facts that a run starts and ends with."""
        self._out.print(rich.text.Text.assemble((f"{name:<9}", "bold"), value))

    def progress(self, report: Report) -> None:
        """Shows how far the run is: on the live line, or on a line of its own every 5 seconds."""
        if report.interval.seconds > 0:
            self._recent.add(report.interval.examples, report.interval.seconds)
            self._attempt.add(report.interval.steps, report.interval.elapsed)
        if self._out.is_terminal:
            if self._live is None:
                # Prints of user code go above the live line; with another `terminal`, standard output goes to a log.
                ours = self._terminal is None
                self._live = rich.live.Live(
                    console=self._out, auto_refresh=False, transient=True, redirect_stdout=ours, redirect_stderr=ours
                )
                self._live.start()
            self._live.update(rich.text.Text(self._line(report), overflow="ellipsis", no_wrap=True), refresh=True)
        elif time.monotonic() - self._printed >= _SECONDS_BETWEEN_LINES or report.step == report.position.total_steps:
            self._printed = time.monotonic()
            self.say(self._line(report))

    def evaluated(self, report: Report, split: str, results: Mapping[str, float]) -> None:
        """Prints the results of an evaluation beside the training metrics at the same step."""
        self.say(
            f"step {report.step:,}  epoch {report.position.epoch}/{report.position.epochs}  "
            f"train {_numbers(report.results.metrics)}  {split} {_numbers(results)}"
        )

    def close(self) -> None:
        """Removes the live line."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _line(self, report: Report) -> str:
        parts = [
            f"step {report.step:,}/{report.position.total_steps:,}",
            f"epoch {report.position.epoch}/{report.position.epochs}",
            _numbers(report.results.metrics),
        ]
        if self._recent.per_second:
            parts.append(f"{self._recent.per_second:,.0f} examples/s")
        if report.interval.seconds > 0:
            parts.append(f"data {report.interval.waiting_for_data / report.interval.seconds:.0%}")
        if self._attempt.per_second and report.step < report.position.total_steps:
            left = round((report.position.total_steps - report.step) / self._attempt.per_second)
            parts.append(f"ETA {datetime.timedelta(seconds=left)}")
        return "  ".join(part for part in parts if part)


class _Pace:
    """How many of something there are per second, where what was before counts less with each interval.

    Args:
      forget: the share that an interval takes from the weight of those before it.
    """

    def __init__(self, forget: float):
        self._kept, self._number, self._seconds = 1.0 - forget, 0.0, 0.0

    def add(self, number: int, seconds: float) -> None:
        """Adds an interval."""
        self._number, self._seconds = self._kept * self._number + number, self._kept * self._seconds + seconds

    @property
    def per_second(self) -> float:
        """0 before the first interval."""
        return self._number / self._seconds if self._seconds else 0.0


def _numbers(values: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:.4g}" for name, value in values.items())
