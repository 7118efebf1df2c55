"""What a person sees of a run: a live line in a terminal, a line every few seconds anywhere else."""

import datetime
import time
from collections.abc import Mapping
from typing import TextIO

import rich.console
import rich.live
import rich.text

from trainer.reports import Report

_SECONDS_BETWEEN_LINES = 5.0


class Console:
    """Prints to standard output, or to another `terminal`. Nothing of a run depends on it."""

    def __init__(self, terminal: TextIO | None = None) -> None:
        self._terminal = terminal
        self._out = rich.console.Console(file=terminal, highlight=False, soft_wrap=True)
        self._live: rich.live.Live | None = None
        self._printed = 0.0
        self._rate = self._steps_per_second = 0.0

    def say(self, line: str) -> None:
        """Prints one line of its own, above the live line."""
        self._out.print(rich.text.Text(line))

    def fact(self, name: str, value: str) -> None:
        """Prints one of the facts that a run starts and ends with."""
        self._out.print(rich.text.Text.assemble((f"{name:<9}", "bold"), value))

    def progress(self, report: Report) -> None:
        """Shows how far the run is."""
        if report.seconds > 0:
            self._rate = _smoothed(self._rate, report.examples / report.seconds)
            self._steps_per_second = _smoothed(self._steps_per_second, report.steps / report.seconds)
        if self._out.is_terminal:
            if self._live is None:
                # Prints of user code go above the live line; but what a cluster's libraries print is not shown at all.
                ours = self._terminal is None
                self._live = rich.live.Live(
                    console=self._out, auto_refresh=False, transient=True, redirect_stdout=ours, redirect_stderr=ours
                )
                self._live.start()
            self._live.update(rich.text.Text(self._line(report), overflow="ellipsis", no_wrap=True), refresh=True)
        elif time.monotonic() - self._printed >= _SECONDS_BETWEEN_LINES or report.step == report.total_steps:
            self._printed = time.monotonic()
            self.say(self._line(report))

    def evaluated(self, report: Report, split: str, results: Mapping[str, float]) -> None:
        """Prints what an evaluation found, beside the training metrics of the same moment."""
        self.say(
            f"step {report.step:,}  epoch {report.epoch}/{report.epochs}  "
            f"train {_numbers(report.metrics)}  {split} {_numbers(results)}"
        )

    def close(self) -> None:
        """Takes the live line away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _line(self, report: Report) -> str:
        parts = [
            f"step {report.step:,}/{report.total_steps:,}",
            f"epoch {report.epoch}/{report.epochs}",
            _numbers(report.metrics),
        ]
        if self._rate:
            parts.append(f"{self._rate:,.0f} examples/s")
        if report.seconds > 0:
            parts.append(f"data {report.waiting / report.seconds:.0%}")
        if self._steps_per_second and report.step < report.total_steps:
            left = round((report.total_steps - report.step) / self._steps_per_second)
            parts.append(f"ETA {datetime.timedelta(seconds=left)}")
        return "  ".join(part for part in parts if part)


def _smoothed(before: float, now: float) -> float:
    return 0.8 * before + 0.2 * now if before else now


def _numbers(values: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:.4g}" for name, value in values.items())
