"""The progress line: its speed and what is left, after intervals of any length and with evaluations between them."""

import io

import pytest

from trainer.lifecycle.stop_requests import StopReason
from trainer.observe import console
from trainer.observe.report import Interval, Position, Report
from trainer.step.results import StepResults


@pytest.fixture
def lines(monkeypatch):
    """Shows intervals of a run of 1,000 steps, (steps, seconds, seconds with what is between); returns the lines."""
    monkeypatch.setattr(console, "_SECONDS_BETWEEN_LINES", 0.0)

    def show(*intervals, step=0):
        out = io.StringIO()
        shown = console.Console(out)
        for steps, seconds, elapsed in intervals:
            step += steps
            interval = Interval(steps, 32 * steps, seconds, 0.0, elapsed, (0.0,))
            shown.progress(Report(Position(step, 1000, 1, 1), StepResults({}, {}, {}, True), interval, StopReason.NONE))
        return out.getvalue().splitlines()

    return show


def test_speed_and_what_is_left_are_of_what_was_measured(lines):
    """Nothing is known of a call that compiles, the first or after layers were unfrozen."""
    first, second, third = lines((1, 0.0, 0.0), (99, 9.9, 9.9), (1, 0.0, 0.0), step=500)
    assert "examples/s" not in first and "ETA" not in first
    assert "320 examples/s" in second and "ETA 0:00:40" in second
    assert "320 examples/s" in third and "ETA 0:00:40" in third


def test_a_short_interval_weighs_little(lines):
    """After an evaluation the first batches are there already."""
    assert "324 examples/s" in lines((100, 10.0, 10.0), (1, 0.001, 0.001))[-1]


def test_evaluations_belong_to_what_is_left(lines):
    *_, last = lines((100, 10.0, 10.0), (100, 10.0, 30.0))
    assert "320 examples/s" in last and "ETA 0:02:40" in last  # 800 steps at 40 s for 200
